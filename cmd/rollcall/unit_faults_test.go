//go:build faults && linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/running"
)

// built returns this program built as a release, with the flags of deploy/dist.sh.
func built(t *testing.T, release string) string {
	t.Helper()
	return buildIn(t, "../..", release)
}

// buildIn builds the program of the tree at root as a release.
func buildIn(t *testing.T, root, release string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollcall-"+release)
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X rollcall/server.Release="+release, "-o", file, "./cmd/rollcall")
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", release, err, b)
	}
	return file
}

// A unit runs one program after the other as systemd does with the units of deploy/systemd: it
// holds the listening socket, waits until a program says that it is ready, and stops one with
// SIGTERM before it starts the next. Without a socket the program listens for itself.
type unit struct {
	t             *testing.T
	dir           string
	listen, admin string
	socket        *os.File
	notified      *net.UnixConn
	args          []string
	cmd           *exec.Cmd
	gone          chan struct{}
}

func newUnit(t *testing.T, activated bool, args ...string) *unit {
	t.Helper()
	u := &unit{t: t, dir: t.TempDir(), args: args, listen: fmt.Sprint("127.0.0.1:", freePort(t)), admin: fmt.Sprint("127.0.0.1:", freePort(t))}
	if activated {
		l, err := net.Listen("tcp", u.listen)
		if err != nil {
			t.Fatal(err)
		}
		u.socket, err = l.(*net.TCPListener).File()
		_ = l.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = u.socket.Close() })
	}
	var err error
	u.notified, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(u.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.kill()
		_ = u.notified.Close()
	})
	return u
}

func (u *unit) address() string { return "http://" + u.listen }

// keys are those of the app trial.
var keys = []string{
	"LEANCLOUD_APP_ID=trial", "LEANCLOUD_APP_KEY=an-app-key-to-try-things", "LEANCLOUD_APP_MASTER_KEY=a-master-key-to-try-things",
	"LEANCLOUD_APP_HOOK_KEY=a-hook-key-to-try-things",
}

// start starts a program and returns once it is ready, or why it is not.
func (u *unit) start(program string) error {
	for u.says("") { // what the one before said last
	}
	data := filepath.Join(u.dir, "data")
	running.Remove(data)
	args := append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, program, "serve", "--listen", u.listen, "--admin", u.admin, "--data", data}, u.args...)
	// A busy machine cuts no request under way.
	args = append(args, "--set", "http.stop_timeout=30s")
	u.cmd, u.gone = exec.Command("/bin/sh", args...), make(chan struct{})
	u.cmd.Env = append(append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(u.dir, "notify")), keys...)
	if u.socket != nil {
		u.cmd.Env = append(u.cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES=listen")
		u.cmd.ExtraFiles = []*os.File{u.socket}
	}
	log, err := os.OpenFile(filepath.Join(u.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	u.cmd.Stderr = log
	wait, err := childtest.Start(u.cmd)
	if err != nil {
		return err
	}
	gone := u.gone
	go func() {
		_ = wait()
		close(gone)
	}()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		if u.ready() {
			return nil
		}
		select {
		case <-gone:
			return fmt.Errorf("%s ended before it was ready\n%s", program, u.log())
		default:
		}
	}
	return fmt.Errorf("%s does not get ready\n%s", program, u.log())
}

// ready reports whether the program has said that it is, or answers that it is: a release before
// systemd was spoken to says nothing.
func (u *unit) ready() bool {
	if u.says("READY=1") {
		return true
	}
	res, err := client.Get("http://" + u.admin + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == 200
}

// says reads what a program says to its service manager next, and reports whether that has text.
func (u *unit) says(text string) bool {
	b := make([]byte, 100)
	_ = u.notified.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := u.notified.Read(b)
	return err == nil && strings.Contains(string(b[:n]), text)
}

// stop ends the program as systemd does.
func (u *unit) stop() {
	u.t.Helper()
	_ = u.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-u.gone:
	case <-time.After(45 * time.Second): // TimeoutStopSec=
		u.t.Errorf("the program does not stop\n%s", u.log())
		u.kill()
	}
}

func (u *unit) kill() {
	if u.cmd != nil {
		_ = u.cmd.Process.Kill()
		<-u.gone
	}
}

// restart has program in the place of what runs, and returns how long neither was ready.
func (u *unit) restart(program string) time.Duration {
	u.t.Helper()
	begun := time.Now()
	u.stop()
	if err := u.start(program); err != nil {
		u.t.Fatal(err)
	}
	return time.Since(begun)
}

// log returns the end of the log.
func (u *unit) log() string {
	b, _ := os.ReadFile(filepath.Join(u.dir, "log"))
	return string(b[max(0, len(b)-4000):])
}
