//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"rollcall/internal/childtest"
	"rollcall/internal/redistest"
)

func TestMain(m *testing.M) {
	testscript.Main(tight{m}, map[string]func(){"rollcall": main})
}

// tight are tests that fail when they leave goroutines behind.
type tight struct{ *testing.M }

func (m tight) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts drives the real binary. Beside testscript's own commands the scripts use:
//
//	serve NAME [ARG...]    start a server on free ports, wait until it is ready, write what it
//	                       prints to NAME.out and NAME.err, set $NAME_APPS and $NAME_ADMIN
//	signal NAME SIG CODE   send SIG and check that it ends with CODE within seconds ("killed" when
//	                       the signal ends it)
//	send NAME SIG          send SIG and go on
//	hang URL               begin a request to URL and never end it
//	listen NAME            take a port for the time of the script and set $NAME to its address
//	redis ACTION           start a Redis at $REDIS, kill it, freeze it or thaw it
//	product NAME FILE      start a backend that has those in FILE online, and set $NAME to its URL
//	until COMMAND [ARG...] run COMMAND until it succeeds, for some seconds
func TestScripts(t *testing.T) {
	// Who runs the tests under nohup has SIGHUP ignored, and so would the servers started here. A
	// signal that is caught is as usual again in a child.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[redisKey{}] = new(*redistest.Server)
			e.Values[serversKey{}] = &servers{byName: map[string]*served{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveScript, "signal": signalScript, "listen": listenScript, "send": sendScript, "hang": hangScript, "until": untilScript,
			"redis": redisScript, "product": productScript,
		},
	})
}

// patience bounds every wait of a script. Reaching it is a failure, so it only has to be long
// enough for a busy machine.
const patience = 30 * time.Second

type serversKey struct{}

type servers struct{ byName map[string]*served }

type served struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// lastLine is what a server prints last before it waits for a signal.
const lastLine = "Ctrl-C stops it."

func serveScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve NAME [ARG...]")
	}
	name := args[0]
	line := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args[1:]...)
	path, err := exec.LookPath("rollcall")
	ts.Check(err)
	cmd := exec.Command(path, line...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	for _, v := range []string{"ROLLCALL_CONFIG", "ROLLCALL_DATA", "ROLLCALL_LOG_LEVEL", "LEANCLOUD_APP_ID", "LEANCLOUD_APP_KEY", "LEANCLOUD_APP_MASTER_KEY", "LEANCLOUD_APP_HOOK_KEY", "LEANCLOUD_APP_PORT", "SSL_CERT_FILE"} {
		if value := ts.Getenv(v); value != "" {
			cmd.Env = append(cmd.Env, v+"="+value)
		}
	}
	stderr, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	wait, err := childtest.Start(cmd)
	ts.Check(err)
	s := &served{cmd: cmd, done: make(chan struct{})}
	ts.Value(serversKey{}).(*servers).byName[name] = s
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-s.done
	})
	out := newTee(stdout, ts.MkAbs(name+".out"))
	go func() {
		<-out.closed
		s.err = wait()
		stderr.Close()
		close(s.done)
	}()
	select {
	case <-out.ready:
		ts.Setenv(name+"_APPS", out.field("apps"))
		ts.Setenv(name+"_ADMIN", strings.TrimPrefix(out.field("operators"), "http://"))
	case <-s.done:
		text, _ := os.ReadFile(ts.MkAbs(name + ".err"))
		ts.Fatalf("server %s ended before it was ready: %v\n%s", name, s.err, text)
	case <-time.After(patience):
		ts.Fatalf("server %s is not ready after %v", name, patience)
	}
}

// A tee copies what a server prints to a file and watches for the last line of its welcome.
type tee struct {
	ready, closed chan struct{}
	mu            sync.Mutex
	lines         []string
}

func newTee(r io.Reader, file string) *tee {
	t := &tee{ready: make(chan struct{}), closed: make(chan struct{})}
	go func() {
		defer close(t.closed)
		f, err := os.Create(file)
		if err != nil {
			return
		}
		defer f.Close()
		once := sync.OnceFunc(func() { close(t.ready) })
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(f, s.Text())
			t.mu.Lock()
			t.lines = append(t.lines, s.Text())
			t.mu.Unlock()
			if s.Text() == lastLine {
				once()
			}
		}
	}()
	return t
}

// field returns the word after name in the welcome.
func (t *tee) field(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		if f := strings.Fields(l); len(f) > 1 && f[0] == name {
			return f[1]
		}
	}
	return ""
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}

func signalScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME INT|TERM|KILL CODE|killed")
	}
	s := ts.Value(serversKey{}).(*servers).byName[args[0]]
	if s == nil {
		ts.Fatalf("no server %s", args[0])
	}
	ts.Check(s.cmd.Process.Signal(signals[args[1]]))
	select {
	case <-s.done:
	case <-time.After(patience):
		ts.Fatalf("server %s has not ended %v after SIG%s", args[0], patience, args[1])
	}
	got := "0"
	var ee *exec.ExitError
	if errors.As(s.err, &ee) {
		if got = strconv.Itoa(ee.ExitCode()); ee.ExitCode() < 0 {
			got = "killed"
		}
	}
	if got != args[2] {
		ts.Fatalf("server %s ended with %s, want %s", args[0], got, args[2])
	}
}

func sendScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: send NAME SIG")
	}
	s := ts.Value(serversKey{}).(*servers).byName[args[0]]
	if s == nil {
		ts.Fatalf("no server %s", args[0])
	}
	ts.Check(s.cmd.Process.Signal(signals[args[1]]))
}

func hangScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hang URL")
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(args[0], "http://"))
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	head := "POST /1.1/functions/getOnOffStatus HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n\r\n"
	_, err = io.WriteString(c, head)
	ts.Check(err)
	// The server asks for the body when the request is under way.
	_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 100")))
	ts.Check(err)
}

func listenScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

func untilScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND [ARG...]")
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s still fails after %v: %v", strings.Join(args, " "), patience, err)
		}
	}
}
