package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A child is a process of the run. It leads a group of its own, so that what it starts ends with
// it, and so that a Ctrl-C in the terminal reaches only the driver, which then ends everything in
// order.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with all it printed
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// spawn starts a program. Its environment is always the same: a GOGC or NODE_OPTIONS in a
// shell must not move a figure.
func (r *rig) spawn(name string, env []string, program string, args ...string) (*child, error) {
	log, err := os.CreateTemp(r.dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own handle
	cmd := exec.Command(program, args...)
	for _, key := range []string{"PATH", "HOME"} {
		cmd.Env = append(cmd.Env, key+"="+os.Getenv(key))
	}
	cmd.Env = append(append(cmd.Env, "TMPDIR="+r.dir), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	r.children = append(r.children, c)
	return c, nil
}

// ended returns how a child ended and its last output, nil while it runs.
func (c *child) ended() error {
	select {
	case <-c.done:
		b, _ := os.ReadFile(c.log)
		return fmt.Errorf("%s ended by itself (%v); its last words: %s", c.name, c.err, bytes.TrimSpace(b[max(0, len(b)-2000):]))
	default:
		return nil
	}
}

// stop ends a child and whatever it started, gently at first. It returns when the child is gone.
func (c *child) stop() {
	_ = signalGroup(c.pid(), syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(3 * time.Second):
	}
	// For the stubborn, and for what a gentle end left behind.
	_ = signalGroup(c.pid(), syscall.SIGKILL)
	<-c.done
}

// ready waits until a probe of a child succeeds.
func (c *child) ready(ctx context.Context, probe func(context.Context) error) error {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := probe(ctx)
		// A dead child whose port answers means that another process has the port.
		if gone := c.ended(); gone != nil {
			return gone
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s was not ready within %v: %w", c.name, patience, err)
			}
			return errors.New("stopped")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers200 probes an HTTP server.
func answers200(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}

// onFreePort runs start with a free loopback address, and with another one if the child could not
// have the first: another process may take it between the check and the use.
func (r *rig) onFreePort(ctx context.Context, start func(addr string) (*child, error), probe func(addr string) func(context.Context) error) (*child, string, error) {
	var last error
	for range 3 {
		addr, err := freeAddr()
		if err != nil {
			return nil, "", err
		}
		c, err := start(addr)
		if err != nil {
			return nil, "", err
		}
		if last = c.ready(ctx, probe(addr)); last == nil {
			return c, addr, nil
		}
		c.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", last
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// A hintError carries a line that says what to do about the error.
type hintError struct {
	error
	hint string
}

func (h *hintError) Unwrap() error { return h.error }

const setupHint = "bench/setup.sh installs it; or leave the servers that need it out with -servers"

// need finds a program or says that it is missing.
func need(program, debian string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &hintError{fmt.Errorf("%s is not installed (Debian's package is %s)", program, debian), setupHint}
	}
	return filepath.Abs(path)
}
