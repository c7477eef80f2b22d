package redistest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Server is one redis-server and its directory. Kill and Start may alternate; the address stays.
type Server struct {
	Addr string
	Dir  string

	tls  *TLS // nil when it speaks plainly
	port int
	args []string
	p    *process
}

// New makes a server on a free port, with more arguments for redis-server, and starts it. It keeps
// nothing on disk unless the arguments say otherwise. The caller calls Close.
func New(args ...string) (*Server, error) { return (*TLS)(nil).New(args...) }

func newOn(k *TLS, port int, args ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, fmt.Errorf("make a directory for redis: %w", err)
	}
	s := &Server{Addr: loopback(port), Dir: dir, tls: k, port: port, args: args}
	if err := s.Start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Run starts a server that ends with the test.
func Run(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := New(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts the server again on its port and directory, and waits until it answers. More
// arguments count for this time only.
func (s *Server) Start(more ...string) error {
	var args []string
	for _, setting := range s.tls.port(s.port) {
		name, value, _ := strings.Cut(setting, " ")
		args = append(args, "--"+name, value)
	}
	args = append(args, "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no",
		"--enable-debug-command", "local", "--loglevel", "warning", "--repl-diskless-sync-delay", "0")
	args = append(append(args, s.args...), more...)
	p, err := start(binary(), args...)
	if err != nil {
		return err
	}
	s.p = p
	err = until(Patience, func() error {
		if !p.running() {
			return fmt.Errorf("%s ended: %s", binary(), p.out)
		}
		_, err := s.Try("PING")
		if err != nil && (strings.Contains(err.Error(), "NOAUTH") || strings.Contains(err.Error(), "MASTERDOWN")) {
			err = nil
		}
		return err
	})
	if err != nil {
		p.kill()
		return fmt.Errorf("start %s on %s: %w", binary(), s.Addr, err)
	}
	return nil
}

// Kill ends the server by SIGKILL and returns when it is gone.
func (s *Server) Kill() { s.p.kill() }

// Freeze stops the process where it stands: its connections stay open and silent.
func (s *Server) Freeze() { suspend(s.p.cmd.Process) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { resume(s.p.cmd.Process) }

// Running reports whether the process lives.
func (s *Server) Running() bool { return s.p.running() }

// Pid returns the process id, for reading its CPU time.
func (s *Server) Pid() int { return s.p.cmd.Process.Pid }

// Close kills the server and removes its directory.
func (s *Server) Close() {
	if s.p != nil {
		s.p.kill()
	}
	_ = os.RemoveAll(s.Dir)
}

// Try runs one command on a connection of its own.
func (s *Server) Try(args ...string) (any, error) {
	c, err := s.tls.dial(s.Addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

// Do runs one command and fails the test when it fails.
func (s *Server) Do(t testing.TB, args ...string) any {
	t.Helper()
	v, err := s.Try(args...)
	if err != nil {
		t.Fatalf("redis %s: %v", s.Addr, err)
	}
	return v
}

// Info returns one field of INFO.
func (s *Server) Info(t testing.TB, section, field string) string {
	t.Helper()
	text, _ := s.Do(t, "INFO", section).(string)
	return infoField(text, field)
}

// Errors returns how many errors of a kind, such as "ASK", the server has answered.
func (s *Server) Errors(t testing.TB, kind string) int {
	t.Helper()
	n, _ := strconv.Atoi(strings.TrimPrefix(s.Info(t, "errorstats", "errorstat_"+kind), "count="))
	return n
}

func infoField(text, field string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

// CPU returns how much processor time the server has used.
func (s *Server) CPU(t testing.TB) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, f := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(s.Info(t, "cpu", f), 64)
		if err != nil {
			t.Fatalf("read %s: %v", f, err)
		}
		sum += time.Duration(v * float64(time.Second))
	}
	return sum
}
