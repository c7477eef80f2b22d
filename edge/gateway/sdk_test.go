//go:build unix

package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/npmtest"
)

// These tests run LeanCloud's own SDKs from npm under Node against the built binary.

const sdkDir = "../../docs/leancloud-check"

// appKeys are the keys of the app under test, as LeanEngine's environment names them.
var appKeys = []string{
	"LEANCLOUD_APP_ID=" + appID, "LEANCLOUD_APP_KEY=testAppKey0000000000001",
	"LEANCLOUD_APP_MASTER_KEY=" + masterKey, "LEANCLOUD_APP_HOOK_KEY=testHookKey000000000001",
}

// A process is a rollcall binary that runs.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	wait func() error
	addr string // of its first run; empty before
	env  []string
	data string
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall-gateway")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "rollcall")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", name, "rollcall/cmd/rollcall").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

// startProcess runs rollcall on a port that stays the same over restarts.
func startProcess(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{t: t, env: env, data: t.TempDir()}
	p.start()
	t.Cleanup(func() {
		if t.Failed() && p.cmd != nil { // its stacks say what it was doing
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			p.end(syscall.SIGQUIT)
			return
		}
		p.end(syscall.SIGKILL)
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	name, err := built()
	if err != nil {
		p.t.Fatal(err)
	}
	listen := p.addr
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	p.cmd = exec.Command(name, "serve", "--listen", listen, "--admin", "127.0.0.1:0", "--data", p.data)
	p.cmd.Env = append(append(os.Environ(), appKeys...), p.env...)
	p.cmd.Env = append(p.cmd.Env, "ROLLCALL_LOG_LEVEL=warn", "ROLLCALL_PROXIES=127.0.0.0/8")
	p.cmd.Stderr = os.Stderr
	if p.wait, err = childtest.Start(p.cmd); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !p.answers(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("rollcall, asked to listen on %s, does not answer on %q", listen, p.addr)
		}
	}
}

// answers reports whether p serves, and notes where.
func (p *process) answers() bool {
	if p.addr == "" {
		b, err := os.ReadFile(filepath.Join(p.data, "running.json"))
		var running struct{ Listen string }
		if err != nil || json.Unmarshal(b, &running) != nil {
			return false
		}
		p.addr = running.Listen
	}
	resp, err := http.Get("http://" + p.addr + "/v1/route")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// end sends sig and waits until the process is gone.
func (p *process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.wait() // a killed process has no good exit
	p.cmd = nil
	http.DefaultClient.CloseIdleConnections()
}

// node runs a script of the checks against p.
func (p *process) node(ctx context.Context, script string, env []string, args ...string) *exec.Cmd {
	p.t.Helper()
	return runNode(ctx, p.t, script, append([]string{"ROLLCALL_URL=http://" + p.addr}, env...), args...)
}

// runNode runs a script of the checks.
func runNode(ctx context.Context, t *testing.T, script string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	npmtest.Install(t, sdkDir)
	cmd := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	cmd.Dir = sdkDir
	cmd.Env = append(append(os.Environ(), appKeys...), env...)
	return cmd
}

func TestRealSDKsLogInAskAndLogOut(t *testing.T) {
	for _, tt := range []struct{ name, server, client string }{
		{"as it comes", "", ""},
		{"with login signatures required", "ROLLCALL_RTM_SIGNATURES=true", "CHECK_SIGNATURES=required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startProcess(t, tt.server)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			out, err := p.node(ctx, "check.js", []string{tt.client}).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "all 20 checks passed") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The JavaScript SDK before 3.5 speaks a subprotocol of its own name, in the frames of its
// successors.
func TestTheFirstSDKsSubprotocol(t *testing.T) {
	p := startProcess(t)
	old := p.stay([]string{"SDK_VERSION=3"}, "tom", "jerry")
	if got := fmt.Sprint(old.ping("tom", "jerry", "eve")); got != "[tom jerry]" {
		t.Errorf("online are %s", got)
	}
	fmt.Fprintln(old.in, "close")
	old.expect("it is closed", func(l stayed) bool { return l.Event == "closed" })
}

// The proxy stands for a custom domain: it passes the request on under another host, and says by
// which one it came.
func TestRealSDKsThroughAProxy(t *testing.T) {
	p := startProcess(t)
	target := &url.URL{Scheme: "http", Host: p.addr}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}})
	t.Cleanup(proxy.Close)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := p.node(ctx, "check.js", []string{"ROLLCALL_URL=" + proxy.URL}).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all 20 checks passed") {
		t.Errorf("%v\n%s", err, out)
	}
	resp, err := http.Get(proxy.URL + "/v1/route")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var route struct{ Server string }
	if err := json.NewDecoder(resp.Body).Decode(&route); err != nil {
		t.Fatal(err)
	}
	if want := "ws" + strings.TrimPrefix(proxy.URL, "http") + "/rtm"; route.Server != want {
		t.Errorf("the route leads to %s, past the proxy at %s", route.Server, want)
	}
}

// A stayer is an SDK that is logged in and prints what happens to it.
type stayer struct {
	t     *testing.T
	in    io.Writer
	lines chan stayed
}

type stayed struct {
	Client    string   `json:"client"`
	Event     string   `json:"event"`
	Ping      []string `json:"ping"`
	Failed    string   `json:"failed"`
	Message   string   `json:"message"`
	Unhandled string   `json:"unhandled"`
	Payload   struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	} `json:"payload"`
}

func (p *process) stay(env []string, ids ...string) *stayer {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := p.node(ctx, "stay.js", env, ids...)
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	wait, err := childtest.Start(cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	s := &stayer{t: p.t, in: in, lines: make(chan stayed, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var l stayed
			if json.Unmarshal(sc.Bytes(), &l) == nil {
				s.lines <- l
			}
		}
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
		_ = wait() // killed
	})
	for range ids {
		s.expect("open", func(l stayed) bool { return l.Event == "open" })
	}
	return s
}

// expect reads lines until one is what is wanted.
func (s *stayer) expect(what string, want func(stayed) bool) stayed {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case l := <-s.lines:
			if want(l) {
				return l
			}
			if l.Unhandled != "" || l.Failed != "" || l.Event == "reconnecterror" {
				s.t.Fatalf("waiting for %s came %+v", what, l)
			}
		case <-deadline:
			s.t.Fatalf("%v went by without: %s", patience, what)
		}
	}
}

func (s *stayer) ping(ids ...string) []string {
	s.t.Helper()
	fmt.Fprintln(s.in, "ping "+strings.Join(ids, " "))
	return s.expect("the answer to a ping", func(l stayed) bool { return l.Ping != nil }).Ping
}

// Signatures are required, so what lets the clients back in is the token alone: JS sends nothing
// else.
func TestRealSDKsComeBackAfterARestart(t *testing.T) {
	for _, version := range []string{"5", "4"} {
		for _, tt := range []struct {
			name string
			sig  syscall.Signal
		}{{"killed", syscall.SIGKILL}, {"stopped", syscall.SIGTERM}} {
			t.Run(version+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				p := startProcess(t, "ROLLCALL_RTM_SIGNATURES=true")
				s := p.stay([]string{"CHECK_SIGNATURES=required", "TAG=Mobile", "SDK_VERSION=" + version}, "tom", "jerry")
				p.end(tt.sig)
				s.expect("the SDK notices", func(l stayed) bool { return l.Event == "disconnect" && l.Client == "" })
				p.start()
				for range 2 {
					s.expect("a client is back", func(l stayed) bool { return l.Event == "reconnect" && l.Client != "" })
				}
				if got := s.ping("tom", "jerry", "eve"); strings.Join(got, " ") != "tom jerry" {
					t.Errorf("online are %v after the restart, want tom and jerry", got)
				}
			})
		}
	}
}
