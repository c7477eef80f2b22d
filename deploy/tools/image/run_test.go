//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// within names, in the environment of this test binary, the root in which it is to become the
// program that its arguments name.
const within = "IMAGE_TEST_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(within); root != "" {
		fmt.Fprintln(os.Stderr, become(root, os.Args[1:]))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// become replaces this process, which has a mount namespace of its own, by a program under a root
// that cannot be written to, as the user of the image. It returns only when it fails.
func become(root string, args []string) error {
	os.Unsetenv(within)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"keep mounts private", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"bind the root", func() error { return syscall.Mount(root, root, "", syscall.MS_BIND, "") }},
		{"bind the data", func() error { return syscall.Mount(root+"/data", root+"/data", "", syscall.MS_BIND, "") }},
		{"make the root read-only", func() error {
			return syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
		}},
		{"change the root", func() error { return syscall.Chroot(root) }},
		{"go to the data", func() error { return os.Chdir("/data") }},
		{"leave all groups", func() error { return syscall.Setgroups(nil) }},
		{"become the group", func() error { return syscall.Setgid(user) }},
		{"become the user", func() error { return syscall.Setuid(user) }},
		{"run", func() error { return syscall.Exec(args[0], args, os.Environ()) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// A container is an image that has been unpacked. As root it is run as a runtime runs it: under its
// own root, read-only but for /data, as its own user. Otherwise its program runs in this machine's
// root, as this user.
type container struct {
	root string
	cfg  v1.Config
}

func (c *container) command(args []string, more ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append([]string{within + "=" + c.root}, c.cfg.Env...), more...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd = exec.Command(filepath.Join(c.root, args[0]), args[1:]...)
		cmd.Dir = filepath.Join(c.root, "data")
		cmd.Env = append(append(cmd.Env, more...), "ROLLCALL_DATA="+cmd.Dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	return cmd
}

func TestTheImageRuns(t *testing.T) {
	r := release{Version: "1.2.3", Time: time.Unix(1764000000, 0).UTC(), Platforms: []string{"linux/" + runtime.GOARCH}, Programs: []string{program(t)}}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := r.write(name); err != nil {
		t.Fatal(err)
	}
	img := opened(t, name)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	// The user has to reach it.
	for dir := root; dir != "/" && os.Getuid() == 0; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	unpack(t, img, root)
	c := &container{root: root, cfg: file.Config}
	if c.cfg.User != "65532:65532" || c.cfg.WorkingDir != "/data" || c.cfg.StopSignal != "SIGTERM" {
		t.Errorf("the image is run as %q in %q and stopped by %q", c.cfg.User, c.cfg.WorkingDir, c.cfg.StopSignal)
	}

	cmd := c.command(append(c.cfg.Entrypoint, c.cfg.Cmd...), "ROLLCALL_LISTEN=127.0.0.1:0", "ROLLCALL_ADMIN=127.0.0.1:0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	app := c.healthy(t, ended, &out)

	socket := upgraded(t, app)
	if os.Getuid() == 0 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err != nil || !strings.Contains(string(b), "Uid:\t65532\t65532\t65532\t65532") {
			t.Errorf("the process runs as another user: %v\n%s", err, b)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := closeCode(t, socket); code != 1012 && code != 1001 {
		t.Errorf("the socket was closed with %d", code)
	}
	select {
	case err := <-ended:
		if err != nil || !strings.HasSuffix(out.String(), "rollcall: stopped\n") {
			t.Errorf("it ended with %v:\n%s", err, out.String())
		}
	case <-time.After(time.Minute):
		t.Error("it has not ended a minute after SIGTERM")
	}
	if b, err := c.command(c.cfg.Healthcheck.Test[1:]).CombinedOutput(); err == nil {
		t.Errorf("the health check of a process that has ended says %q", b)
	}
}

// healthy waits until the image's own health check is content, and returns the address of the app
// listener.
func (c *container) healthy(t *testing.T, ended chan error, out fmt.Stringer) string {
	t.Helper()
	var said []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("it ended with %v:\n%s", err, out)
		default:
		}
		var err error
		if said, err = c.command(c.cfg.Healthcheck.Test[1:]).CombinedOutput(); err == nil {
			var running struct{ Listen string }
			b, err := os.ReadFile(filepath.Join(c.root, "data", "running.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &running); err != nil {
				t.Fatal(err)
			}
			return running.Listen
		}
	}
	t.Fatalf("its health check says %s", said)
	return ""
}

// upgraded opens a WebSocket by hand.
func upgraded(t *testing.T, address string) *bufio.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "GET /v1/socket HTTP/1.1\r\nHost: "+address+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %+v, %v", resp, err)
	}
	return in
}

// closeCode reads frames until the server closes the socket, and returns its reason.
func closeCode(t *testing.T, in *bufio.Reader) int {
	t.Helper()
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		body := make([]byte, head[1]&0x7f) // what a server sends before a hello is short
		if _, err := io.ReadFull(in, body); err != nil {
			t.Fatal(err)
		}
		if head[0]&0x0f == 8 && len(body) >= 2 {
			return int(body[0])<<8 | int(body[1])
		}
	}
}
