package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is the server.
type process struct {
	cmd         *exec.Cmd
	addr, admin string
	done        chan struct{}
	err         error
}

func launch(ctx context.Context, dir string) (*process, error) {
	p := &process{done: make(chan struct{})}
	for _, address := range []*string{&p.addr, &p.admin} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*address = l.Addr().String()
		_ = l.Close()
	}
	args := []string{*program, "serve", "--listen", p.addr, "--admin", p.admin, "--data", filepath.Join(dir, "data")}
	if *profiled {
		args = append(args, "--profiling")
		fmt.Printf("http://%s/debug/pprof/\n", p.admin)
	}
	if runtime.NumCPU() > 1 {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY="+appKey, "LEANCLOUD_APP_MASTER_KEY="+masterKey,
		"LEANCLOUD_APP_HOOK_KEY="+hookKey, "ROLLCALL_LOG_LEVEL=warn")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	for range 400 {
		if err := p.ended(); err != nil {
			return nil, err
		}
		if answers("http://"+p.admin+"/readyz") == nil {
			return p, nil
		}
		wait(ctx, 50*time.Millisecond)
	}
	p.stop()
	return nil, errors.New("the server is not ready after 20 s")
}

func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("the server ended: %w", p.err)
	default:
		return nil
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// memory is what the server has resident.
func (p *process) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu is the time on a core that the server has used.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	// Ticks, of which Linux has a hundred in a second.
	return time.Duration(user+system) * 10 * time.Millisecond
}

func answers(url string) error {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// waited is how long the threads of the server that are there now were ready to run and had no
// core.
func (p *process) waited() (total time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			total += time.Duration(n)
		}
	}
	return total
}
