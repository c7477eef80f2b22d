package examples_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	rollcall "rollcall/client/go"
	"rollcall/internal/childtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app       = "example"
	appKey    = "app-key-of-the-example"
	hookKey   = "hook-key-of-the-example"
	masterKey = "master-key-of-the-example"

	patience = 60 * time.Second // far beyond any wait but a lease
)

// A process is a child that says where it listens.
type process struct {
	cmd     *exec.Cmd
	wait    func() error
	address string
}

// run starts a command and waits until a line of its output matches where, whose first group is the
// address.
func run(t *testing.T, cmd *exec.Cmd, where string) *process {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	p := &process{cmd: cmd}
	if p.wait, err = childtest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		pattern := regexp.MustCompile(where)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			} else {
				t.Logf("%s: %s", filepath.Base(cmd.Path), lines.Text())
			}
		}
	}()
	wait := p.wait
	p.wait = func() error { <-done; return wait() }
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	select {
	case p.address = <-found:
	case <-done:
		t.Fatalf("%s ended before it listened", cmd.Path)
	case <-time.After(patience):
		t.Fatalf("%s does not say where it listens", cmd.Path)
	}
	return p
}

// end sends a signal and waits for the end; only the first call does.
func (p *process) end(s syscall.Signal) error {
	if p.wait == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(s)
	wait := p.wait
	p.wait = nil
	return wait()
}

// A world is a rollcall and a chat server beside it.
type world struct {
	*testing.T
	client *rollcall.Client
	server *process
	serve  func(listen string) *process
	start  func(listen string) *process // the chat server
}

// each runs test for each of the two examples.
func each(t *testing.T, lease time.Duration, test func(w *world)) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "../cmd/rollcall", "./chatserver-go").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, command := range map[string]func(t *testing.T) *exec.Cmd{
		"go": func(*testing.T) *exec.Cmd { return exec.Command(filepath.Join(bin, "chatserver-go")) },
		"js": func(t *testing.T) *exec.Cmd { return exec.Command("node", filepath.Join(install(t), "chatserver.js")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(listen string) *process {
				cmd := exec.Command(filepath.Join(bin, "rollcall"), "serve", "--data", "", "--listen", listen, "--admin", "127.0.0.1:0")
				cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+app, "LEANCLOUD_APP_KEY="+appKey, "LEANCLOUD_APP_HOOK_KEY="+hookKey, "LEANCLOUD_APP_MASTER_KEY="+masterKey)
				return run(t, cmd, `^ *apps +(http\S+)`)
			}
			server := serve("127.0.0.1:0")
			url := server.address
			client, err := rollcall.New(rollcall.Config{URL: url, App: app, MasterKey: masterKey})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			test(&world{T: t, client: client, server: server, serve: serve, start: func(listen string) *process {
				cmd := command(t)
				cmd.Env = append(os.Environ(), "ROLLCALL_URL="+url, "ROLLCALL_APP="+app, "ROLLCALL_HOOK_KEY="+hookKey, "CHAT_LISTEN="+listen,
					fmt.Sprintf("CHAT_LEASE=%ds", int(lease.Seconds())))
				return run(t, cmd, `listens on (\S+)$`)
			}})
		})
	}
}

// install copies the example in JavaScript and installs it as its README says.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	client, err := filepath.Abs("../client/js")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS("chatserver-js"))
	}
	var pkg []byte
	if err == nil {
		pkg, err = os.ReadFile(filepath.Join(dir, "package.json"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "package.json"), bytes.ReplaceAll(pkg, []byte("../../client/js"), []byte(client)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "install", "--offline", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	return dir
}

// join connects a user to the chat and waits for the welcome.
func (w *world) join(address, name string) net.Conn {
	w.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintln(conn, name)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "* welcome, "+name+"\n" {
		w.Fatalf("the chat says %q to %s: %v", line, name, err)
	}
	return conn
}

// expect waits until peers are what want says, as "tom=online ann=offline".
func (w *world) expect(want string) {
	w.Helper()
	var peers []string
	for _, one := range strings.Fields(want) {
		peers = append(peers, strings.Split(one, "=")[0])
	}
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		answer, err := w.client.Query(w.Context(), peers...)
		if err != nil {
			w.Fatal(err)
		}
		var list []string
		for _, p := range answer {
			list = append(list, p.ID+"="+string(p.Status))
		}
		if got = strings.Join(list, " "); got == want {
			return
		}
	}
	w.Fatalf("they are %s, want %s", got, want)
}

// sessions returns how many sessions of a peer are open.
func (w *world) sessions(peer string) (open int) {
	w.Helper()
	why, err := w.client.Why(w.Context(), peer)
	var all struct{ Sessions []struct{ Open bool } }
	if err == nil {
		err = json.Unmarshal(why.All, &all)
	}
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range all.Sessions {
		if s.Open {
			open++
		}
	}
	return open
}

func TestAChatServerReportsItsConnections(t *testing.T) {
	each(t, 30*time.Second, func(w *world) {
		chat := w.start("127.0.0.1:0")
		w.expect("tom=unknown ann=unknown")
		tom, ann := w.join(chat.address, "tom"), w.join(chat.address, "ann")
		w.expect("tom=online ann=online")
		_, _ = fmt.Fprintln(tom, "/quit")
		w.expect("tom=offline ann=online")
		second := w.join(chat.address, "ann")
		for w.sessions("ann") != 2 {
			time.Sleep(10 * time.Millisecond)
		}
		_ = ann.Close()
		for w.sessions("ann") != 1 {
			time.Sleep(10 * time.Millisecond)
		}
		w.expect("ann=online")
		// A drain: the server ends, and those on it have the grace to come back.
		if err := chat.end(syscall.SIGTERM); err != nil {
			w.Fatalf("the chat server ended with %v", err)
		}
		_ = second.Close()
		w.expect("ann=online")
		chat = w.start(chat.address)
		w.join(chat.address, "ann")
		w.expect("ann=online")
	})
}
