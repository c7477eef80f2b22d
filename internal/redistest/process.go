package redistest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"rollcall/internal/childtest"
)

// binary is the server that is started, as Redis, as a node of a Cluster and as a Sentinel. Valkey
// can take its place.
func binary() string {
	if b := os.Getenv("ROLLCALL_TEST_REDIS"); b != "" {
		return b
	}
	return "redis-server"
}

// A process is one child and what it printed.
type process struct {
	cmd  *exec.Cmd
	out  *tail
	done chan struct{}
}

func start(bin string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(bin, args...), out: &tail{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	wait, err := childtest.Start(p.cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	go func() {
		_ = wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process, also one that is stopped, and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// tail keeps the last of what a child printed, to be shown when it did not start.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() > 1<<16 {
		t.buf.Reset()
	}
	return t.buf.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// The ports of servers: below the range that the kernel gives to clients and to listeners on port
// 0, so that none of them takes the port of a server that is down for a while.
const lowPort, highPort = 10_000, 32_000

// freePorts returns n free ports on loopback, drawn at random: other test processes draw theirs at
// the same time.
func freePorts(n int) ([]int, error) {
	var (
		ports []int
		held  []io.Closer
	)
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for tries := 0; len(ports) < n; tries++ {
		l, err := net.Listen("tcp", loopback(lowPort+rand.IntN(highPort-lowPort)))
		if err != nil {
			if tries < 1000 {
				continue
			}
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// until calls ok every few milliseconds until it returns nil or the time is over.
func until(limit time.Duration, ok func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
