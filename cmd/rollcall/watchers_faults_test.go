//go:build faults && linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rollcall "rollcall/client/go"
	"rollcall/internal/childtest"
	"rollcall/presence"
)

// A public is who watches and who is present by the client libraries, over all their connections.
type public struct {
	t     *testing.T
	ctx   context.Context
	http  *rollcall.Client
	still map[string]string // peers whose status no report changes

	mu    sync.Mutex
	seen  map[string]map[string]string // by watcher: what each of its peers was last
	extra []string                     // changes that no report caused
	all   sync.WaitGroup
}

// newPublic begins to watch and to be present at url, until the test ends. Peers of moving are
// changed by reports, those of still are not; sockets are present all the time.
func newPublic(t *testing.T, url string, still map[string]string, moving, sockets []string) *public {
	t.Helper()
	c, err := rollcall.New(rollcall.Config{URL: url, App: "trial", MasterKey: "a-master-key-to-try-things"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &public{t: t, ctx: ctx, http: c, still: still, seen: map[string]map[string]string{}}
	t.Cleanup(func() {
		cancel()
		w.all.Wait()
		c.Close()
	})
	w.present(sockets)
	var stand []string
	for p := range still {
		stand = append(stand, p)
	}
	for i := range 20 {
		w.follow(fmt.Sprint("stream ", i), append(stand[:len(stand):len(stand)], moving...))
	}
	w.sockets(url, 20, append(stand, moving...))
	return w
}

// present keeps peers online, each by a socket of its own, and returns when they are.
func (w *public) present(peers []string) {
	var up sync.WaitGroup
	for _, p := range peers {
		up.Add(1)
		first := sync.OnceFunc(up.Done)
		w.all.Go(func() {
			err := w.http.Present(w.ctx, rollcall.Presence{Peer: p, Device: "phone", Changed: func(bool) { first() }})
			if err != nil {
				w.t.Error(err)
				first()
			}
		})
	}
	up.Wait()
}

// update notes what a watcher was notified of.
func (w *public) update(watcher, peer, status, cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[watcher] == nil {
		w.seen[watcher] = map[string]string{}
	}
	w.seen[watcher][peer] = status
	if want, is := w.still[peer]; is && status != want {
		w.extra = append(w.extra, fmt.Sprintf("%s %s: %s is %s %s", time.Now().Format("05.000"), watcher, peer, status, cause))
	}
}

// follow watches peers over a stream.
func (w *public) follow(watcher string, peers []string) {
	w.all.Go(func() {
		err := w.http.Watch(w.ctx, peers, func(p rollcall.Peer) { w.update(watcher, p.ID, string(p.Status), p.Cause) })
		if err != nil {
			w.t.Errorf("%s: %v", watcher, err)
		}
	})
}

const socketWatchers = `
import { Rollcall } from CLIENT;
const [url, n, ...peers] = process.argv.slice(2);
for (let i = 0; i < n; i++) {
  const r = new Rollcall({ url, app: 'trial', key: 'an-app-key-to-try-things', transport: 'socket' });
  r.watch(peers, ({ peer, status }) => console.log(i, peer, status)).done.catch((err) => console.log(i, 'failed', String(err)));
}
`

// sockets has the JavaScript client watch peers over n sockets.
func (w *public) sockets(url string, n int, peers []string) {
	w.t.Helper()
	js, err := filepath.Abs("../../client/js/rollcall.js")
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "watch.mjs")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(socketWatchers, "CLIENT", fmt.Sprintf("%q", js))), 0o600); err != nil {
		w.t.Fatal(err)
	}
	c := exec.Command("node", append([]string{file, url, fmt.Sprint(n)}, peers...)...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	wait, err := childtest.Start(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.all.Go(func() {
		<-w.ctx.Done()
		_ = c.Process.Kill()
	})
	w.all.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f := strings.SplitN(lines.Text(), " ", 3)
			if len(f) != 3 || f[1] == "failed" {
				w.t.Errorf("socket %s", lines.Text())
				continue
			}
			w.update("socket "+f[0], f[1], f[2], "")
		}
		_ = wait()
	})
}

// agree waits until every watcher was last notified of what is so.
func (w *public) agree(want map[string]string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		wrong := w.differences(want)
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("watchers do not agree:\n%s", strings.Join(wrong[:min(len(wrong), 20)], "\n"))
		}
	}
}

const watchers = 40

func (w *public) differences(want map[string]string) (wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) < watchers {
		return []string{fmt.Sprintf("%d of %d watchers have been notified", len(w.seen), watchers)}
	}
	for watcher, last := range w.seen {
		for p, status := range want {
			if last[p] != status {
				wrong = append(wrong, fmt.Sprintf("%s: %s is %q, want %s", watcher, p, last[p], status))
			}
		}
	}
	return wrong
}

// check reports changes that no report caused.
func (w *public) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.extra); n > 0 {
		w.t.Errorf("%d changes that no report caused:\n%s", n, strings.Join(w.extra[:min(n, 20)], "\n"))
	}
}

// statuses returns what the peers of a load are, as watchers are notified.
func (l *load) statuses(peers []presence.PeerID) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := map[string]string{}
	for _, p := range peers {
		online, reported := l.want[p]
		switch {
		case online:
			want[string(p)] = "online"
		case reported:
			want[string(p)] = "offline"
		default:
			want[string(p)] = "unknown"
		}
	}
	return want
}
