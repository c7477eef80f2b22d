package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"

	rollcall "rollcall/client/go"
)

// A holding is what a child process is to hold. It goes through standard input, where no list of
// processes shows its key.
type holding struct{ URL, App, Key, Peer, Device string }

// Hold runs in a child process: it keeps the peer that in describes online until in ends, as it
// does when the parent dies.
func Hold(ctx context.Context, in io.Reader) error {
	r := json.NewDecoder(in)
	var h holding
	if err := r.Decode(&h); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	c, err := rollcall.New(rollcall.Config{URL: h.URL, App: h.App, Key: h.Key})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Present(ctx, rollcall.Presence{Peer: h.Peer, Device: h.Device, Platform: "demo"})
}

// A process holds a peer's socket. Its methods work on nil.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
}

func (d *Demo) spawn(peer string) (*process, error) {
	cmd := d.cfg.Child()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: in, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ends is the point of the demo
	}()
	err = json.NewEncoder(in).Encode(holding{URL: d.cfg.URL, App: d.cfg.App, Key: d.cfg.Key, Peer: peer, Device: peer + "-laptop"})
	if err != nil {
		p.kill()
		return nil, errors.New("the child process ended at once")
	}
	return p, nil
}

// pid returns the id of the process, 0 when it has ended.
func (p *process) pid() int {
	if p == nil {
		return 0
	}
	select {
	case <-p.done:
		return 0
	default:
		return p.cmd.Process.Pid
	}
}

// kill ends the process without a chance to say goodbye, and waits for its end.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}
