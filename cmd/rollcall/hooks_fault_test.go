//go:build faults

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rollcall "rollcall/client/go"

	"rollcall/internal/childtest"
	"rollcall/internal/redistest"
	"rollcall/internal/running"
)

// An app records the hooks that it is called with.
type app struct {
	*httptest.Server
	mu    sync.Mutex
	hooks []string // "tom on", "tom off 2"
}

func newApp(t *testing.T) *app {
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var in struct {
			PeerID    string
			CloseCode int
		}
		if err == nil {
			err = json.Unmarshal(b, &in)
		}
		if err != nil {
			t.Error(err)
		}
		h := in.PeerID + " on"
		if strings.HasSuffix(r.URL.Path, "/_clientOffline") {
			h = fmt.Sprint(in.PeerID, " off ", in.CloseCode)
		}
		a.mu.Lock()
		a.hooks = append(a.hooks, h)
		a.mu.Unlock()
	}))
	t.Cleanup(a.Close)
	return a
}

// sent returns the hooks of a peer, each time once: they may come more than once.
func (a *app) sent(peer string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for _, h := range a.hooks {
		if rest, ok := strings.CutPrefix(h, peer+" "); ok {
			list = append(list, rest)
		}
	}
	return strings.Join(slices.Compact(list), ", ")
}

func (a *app) await(t *testing.T, peer, want string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); a.sent(peer) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the app was sent %q of %s, want %q", a.sent(peer), peer, want)
		}
	}
}

// A process is a rollcall serve.
type process struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	done   chan struct{}
	client *rollcall.Client
}

func serve(t *testing.T, a *app, dir, store string) *process {
	t.Helper()
	return serveWith(t, dir, store, "--set", "hooks.url="+a.URL)
}

func serveWith(t *testing.T, dir, store string, more ...string) *process {
	t.Helper()
	running.Remove(dir)
	args := append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", dir, "--set", "gateway.beat=500ms", "--set", "gateway.node_lease=3s",
		"--set", "gateway.grace=3s", "--set", "presence.grace=3s",
	}, more...)
	if store != "" {
		args = append(args, "--store", store)
	}
	p := &process{t: t, dir: dir, cmd: exec.Command("rollcall", args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID=app", "LEANCLOUD_APP_KEY=app-key-of-the-test", "LEANCLOUD_APP_MASTER_KEY=master-key-of-the-test", "LEANCLOUD_APP_HOOK_KEY=hook-key-of-the-test")
	p.cmd.Stderr = t.Output()
	wait, err := childtest.Start(p.cmd)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.signal(syscall.SIGKILL) })
	var at running.Server
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if at, err = running.Read(dir); err == nil && at.PID == p.cmd.Process.Pid {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not start")
		}
	}
	p.client, err = rollcall.New(rollcall.Config{URL: "http://" + at.Listen, App: "app", MasterKey: "master-key-of-the-test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	return p
}

func (p *process) signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	<-p.done
}

// present keeps a peer online through p; away ends that without a logout if p is gone by then.
func (p *process) present(peer, device string) (away func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.client.Present(ctx, rollcall.Presence{Peer: peer, Device: device}) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// lastSeen waits until a peer is offline and returns when it was last seen.
func (p *process) lastSeen(peer string) time.Time {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got, err := p.client.Get(p.t.Context(), peer)
		if err == nil && got.Status == rollcall.Offline {
			return time.UnixMilli(got.LastSeen)
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is %+v, %v; want offline", peer, got, err)
		}
	}
}

// connected is how long clients are connected before their node dies: longer than a heartbeat may
// be late.
const connected = 6 * time.Second

// TestFaultNodesThatDieOweTheirHooks: a node is killed, or stopped, and its client never returns,
// or returns to another node. Of what the app was sent online it is sent offline, in the order in
// which it happened, and last_seen is when the node was alive.
func TestFaultNodesThatDieOweTheirHooks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		redis   bool
		sig     syscall.Signal
		returns bool // to another node, or to the next run
		again   bool // the node starts again, on its disk
		want    string
	}{
		{"embedded, killed, gone", false, syscall.SIGKILL, false, true, "on, off 2"},
		{"embedded, killed, back", false, syscall.SIGKILL, true, true, "on, off 3, on, off 1"},
		{"embedded, stopped, gone", false, syscall.SIGTERM, false, true, "on, off 2"},
		{"embedded, stopped, back", false, syscall.SIGTERM, true, true, "on, off 2, on, off 1"},
		{"redis, killed with its disk, gone", true, syscall.SIGKILL, false, false, "on, off 2"},
		{"redis, killed with its disk, back", true, syscall.SIGKILL, true, false, "on, off 2, on, off 1"},
		{"redis, killed, restarted, gone", true, syscall.SIGKILL, false, true, "on, off 2"},
		{"redis, killed, restarted, back", true, syscall.SIGKILL, true, true, "on, off 2, on, off 1"},
		{"redis, stopped, gone", true, syscall.SIGTERM, false, false, "on, off 2"},
		{"redis, stopped, back", true, syscall.SIGTERM, true, false, "on, off 2, on, off 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			store := ""
			if tt.redis {
				store = "redis://" + redistest.Run(t).Addr
			}
			one := serve(t, a, t.TempDir(), store)
			other := one
			if tt.redis {
				other = serve(t, a, t.TempDir(), store)
			}
			login := time.Now()
			away := one.present("tom", "phone")
			defer away()
			a.await(t, "tom", "on")
			time.Sleep(connected)
			killed := time.Now()
			one.signal(tt.sig)
			away()
			if tt.again {
				other = serve(t, a, one.dir, store)
			} else if err := os.RemoveAll(one.dir); err != nil {
				t.Fatal(err)
			}
			if tt.returns {
				away := other.present("tom", "phone")
				a.await(t, "tom", tt.want[:strings.LastIndex(tt.want, ",")])
				away() // logs out
			}
			a.await(t, "tom", tt.want)
			seen := other.lastSeen("tom")
			if !tt.returns && (seen.Before(login.Add(connected/2)) || seen.After(killed.Add(5*time.Second))) {
				t.Errorf("tom was last seen %v after the login; the node was alive until %v after it", seen.Sub(login), killed.Sub(login))
			}
			time.Sleep(5 * time.Second) // longer than any lease
			if got := a.sent("tom"); got != tt.want {
				t.Errorf("the app was sent %q, want %q", got, tt.want)
			}
		})
	}
}
