//go:build faults

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rollcall "rollcall/client/go"

	"rollcall/internal/redistest"
)

// A backend keeps a copy of who is online, as docs/changes-out.md says.
type backend struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	down     bool
	from     *process // that it lists from
	status   map[string]string
	versions map[string]uint64
	whys     []string
	changes  int
}

func newReceivingBackend(t *testing.T) *backend {
	b := &backend{t: t, status: map[string]string{}, versions: map[string]uint64{}}
	b.Server = httptest.NewServer(http.HandlerFunc(b.take))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	var in struct {
		Changes []struct {
			Peer, Status string
			Version      uint64
		}
		ListAgain bool `json:"list_again"`
		Why       string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		b.t.Errorf("%v: %.200s", err, body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || b.from == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if in.ListAgain {
		page, err := b.from.client.List(r.Context(), "", 1000)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b.whys = append(b.whys, in.Why)
		for peer := range b.status {
			b.status[peer] = "offline"
		}
		for _, peer := range page.Peers {
			b.status[peer] = "online"
		}
	}
	b.changes += len(in.Changes)
	for _, c := range in.Changes {
		if c.Version > b.versions[c.Peer] {
			b.versions[c.Peer], b.status[c.Peer] = c.Version, c.Status
		}
	}
}

// online returns who is online, by the copy.
func (b *backend) online() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for peer, status := range b.status {
		if status == "online" {
			list = append(list, peer)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// awaitCopy waits until the copy is what p lists.
func (b *backend) awaitCopy(p *process) {
	b.t.Helper()
	got, want := "", "?"
	for deadline := time.Now().Add(time.Minute); got != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the backend has\n%s online, want\n%s", got, want)
		}
		page, err := p.client.List(b.t.Context(), "", 1000)
		if err != nil {
			b.t.Fatal(err)
		}
		slices.Sort(page.Peers)
		got, want = b.online(), strings.Join(page.Peers, " ")
	}
}

// TestFaultChangesSurviveKills: whichever node is killed when, right after it has acknowledged a
// report or before, while the backend takes changes or not, what the backend has is who is online;
// and it never has to list again.
func TestFaultChangesSurviveKills(t *testing.T) {
	for name, nodes := range map[string]int{"disk": 1, "redis": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := ""
			if nodes > 1 {
				store = "redis://" + redistest.Run(t).Addr
			}
			b := newReceivingBackend(t)
			dirs, running := make([]string, nodes), make([]*process, nodes)
			start := func(i int) {
				running[i] = serveWith(t, dirs[i], store, "--config", filepath.Join(dirs[i], "rollcall.yaml"))
				b.mu.Lock()
				b.from = running[i]
				b.mu.Unlock()
			}
			for i := range dirs {
				dirs[i] = t.TempDir()
				settings := fmt.Sprintf("changes: [{id: crm, url: %q, secret: secret-of-the-receiver}]\n", b.URL)
				if err := os.WriteFile(filepath.Join(dirs[i], "rollcall.yaml"), []byte(settings), 0o600); err != nil {
					t.Fatal(err)
				}
				start(i)
			}
			rng := rand.New(rand.NewPCG(12, uint64(nodes)))
			report := func(i int) error {
				e := rollcall.Event{Peer: fmt.Sprint("p", rng.IntN(60)), Session: "1", State: "online"}
				if rng.IntN(2) == 0 {
					e.State, e.Why = "offline", "logout"
				}
				_, err := running[i].client.Report(t.Context(), e)
				return err
			}
			for range 8 {
				b.mu.Lock()
				b.down = rng.IntN(3) == 0
				b.mu.Unlock()
				for range 40 {
					if err := report(rng.IntN(nodes)); err != nil {
						t.Fatal(err)
					}
				}
				i := rng.IntN(nodes)
				running[i].signal(syscall.SIGKILL)
				for n := range nodes {
					if n != i {
						for range 10 {
							if err := report(n); err != nil {
								t.Fatal(err)
							}
						}
						b.mu.Lock()
						b.down, b.from = false, running[n]
						b.mu.Unlock()
						if rng.IntN(2) == 0 {
							b.awaitCopy(running[n]) // by the survivor
						}
					}
				}
				start(i)
			}
			b.mu.Lock()
			b.down = false
			b.mu.Unlock()
			b.awaitCopy(running[0])
			if len(b.whys) != 1 || b.changes < 20 {
				t.Errorf("%d changes were sent, and the backend listed because of %q", b.changes, b.whys)
			}
		})
	}
}

// TestFaultChangesOutliveTheirRedis: while Redis is gone nothing is sent and nothing is lost; when
// it comes back with what it had, the changes of that time are sent, and when it comes back empty
// the backend is sent that it must list again.
func TestFaultChangesOutliveTheirRedis(t *testing.T) {
	redis := redistest.Run(t, "--appendonly", "yes", "--appendfsync", "always")
	b := newReceivingBackend(t)
	dir := t.TempDir()
	settings := fmt.Sprintf("changes: [{id: crm, url: %q, secret: secret-of-the-receiver}]\n", b.URL)
	if err := os.WriteFile(filepath.Join(dir, "rollcall.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serveWith(t, dir, "redis://"+redis.Addr, "--config", filepath.Join(dir, "rollcall.yaml"))
	b.mu.Lock()
	b.from = p
	b.mu.Unlock()
	report := func(peer, state string) {
		t.Helper()
		if _, err := p.client.Report(t.Context(), rollcall.Event{Peer: peer, Session: "1", State: state, Why: map[string]string{"offline": "logout"}[state]}); err != nil {
			t.Fatal(err)
		}
	}
	report("ann", "online")
	report("bob", "online")
	b.awaitCopy(p)
	redis.Kill()
	report("ann", "offline")
	report("cat", "online")
	time.Sleep(2 * time.Second)
	if got := b.online(); got != "ann bob" {
		t.Errorf("without Redis the backend has %q online", got)
	}
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	b.awaitOnline("bob cat")
	b.awaitCopy(p)
	redis.Kill()
	if err := os.RemoveAll(filepath.Join(redis.Dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	report("dan", "online")
	b.awaitOnline("bob cat dan") // the node says again what Redis may have lost
	b.awaitCopy(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	// The cursor was lost with the rest: nothing was ever sent, as far as Redis knows.
	if last := b.whys[len(b.whys)-1]; len(b.whys) < 2 || last != "store" && last != "first" {
		t.Errorf("the backend listed because of %q", b.whys)
	}
}

func (b *backend) awaitOnline(want string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); b.online() != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the backend has %q online, want %q", b.online(), want)
		}
	}
}
