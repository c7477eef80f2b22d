package outagetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/outage"
	"rollcall/store/outagetest"
	"rollcall/watch"
)

const app = presence.AppID("app")

func wall() presence.Millis { return presence.Millis(time.Now().UnixMilli()) }

// dice are drawn by many goroutines.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// pause waits for up to ms milliseconds, now and then.
func (d *dice) pause(ms int) {
	if d != nil && d.IntN(3) == 0 {
		time.Sleep(time.Duration(d.IntN(ms*1000)) * time.Microsecond)
	}
}

// A world is three nodes on one embedded store, in fake time.
type world struct {
	t     *testing.T
	rand  *dice
	rules presence.Rules
	below *embedded.Store
	peers []presence.Key

	stopped atomic.Bool
	healed  atomic.Bool  // no answer is lost any more
	lost    atomic.Int64 // how often the store came back with less
	kept    [][]byte
	nodes   [outagetest.Nodes]*node
	mu      sync.Mutex
	acked   []outage.Record
	running sync.WaitGroup
}

func (w *world) packed(k presence.Key) []byte {
	var st presence.State
	if err := w.below.Load(context.Background(), k, &st); err != nil {
		w.t.Error(err)
	}
	if st.Rev == 0 {
		return nil
	}
	return st.Pack(nil)
}

func newWorld(t *testing.T, s *outagetest.Schedule) *world {
	rules := presence.DefaultRules()
	rules.Replay = presence.ReplayWithin
	cfg := embedded.DefaultConfig()
	cfg.MaxMemory = 64 << 20
	below, err := embedded.Open(cfg, embedded.Deps{Rules: rules}, wall())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rand: &dice{r: rand.New(rand.NewPCG(s.Seed, 2))}, rules: rules, below: below}
	for p := range s.Peers {
		w.peers = append(w.peers, presence.Key{App: app, Peer: presence.PeerID(fmt.Sprint("p", p))})
	}
	w.kept = make([][]byte, len(w.peers))
	for i := range w.nodes {
		w.nodes[i] = &node{w: w, number: i, queue: &memory{rand: w.rand, slow: 1 + 999*w.rand.IntN(2)}}
		w.nodes[i].start()
	}
	return w
}

func (n *node) start() {
	n.notified = map[presence.PeerID]presence.Status{}
	sw := outagetest.NewSwitch(n.w.below, n.w.rules)
	wrapped, err := outage.Wrap(shaky{sw, n.w}, outage.Config{
		Queue: n.queue, Journal: time.Minute, Rules: n.w.rules, Stale: time.Hour, Now: wall, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.store = store{outagetest.Wrapped{Store: wrapped, Switch: sw}, n.w}
	n.turn()
	n.seenAt = n.w.lost.Load()
	n.svc = presence.NewService(n.store, presence.DefaultConfig())
	n.ctx, n.stop = context.WithCancel(context.WithValue(context.Background(), replaying{}, true))
	n.hub = watch.New(watch.DefaultConfig(), watch.Deps{Service: n.svc, Source: n.store, Now: wall})
	n.stopped.Go(n.watchman)
	n.stopped.Go(n.follow)
}

func (n *node) kill() {
	n.stop()
	n.hub.Close(watch.ReasonShutdown)
	n.stopped.Wait()
}

// watchman is what a store does when it can be reached.
func (n *node) watchman() {
	was := false
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(time.Duration(30+n.w.rand.IntN(200)) * time.Millisecond):
		}
		if n.store.Age() > 0 {
			was = true
			continue
		}
		if was {
			n.store.Again()
			was = false
			n.store.Signal(nil)
		}
		if lost := n.w.lost.Load(); lost != n.seenAt {
			if n.store.Reassert(n.ctx, time.Duration(n.away.Load())+time.Second) != nil {
				continue
			}
			n.seenAt = lost
		}
		n.store.Drain(n.ctx)
	}
}

// follow keeps what the watcher of all peers was last notified of.
func (n *node) follow() {
	ctx := n.ctx
	var peers []presence.PeerID
	for _, k := range n.w.peers {
		peers = append(peers, k.Peer)
	}
	for ctx.Err() == nil {
		wt, err := n.hub.Watch(ctx, ask.View{App: app, Viewer: ask.Public}, peers, presence.DetailFull, "")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for {
			b, err := wt.Next(ctx)
			if err != nil {
				break
			}
			n.notifiedMu.Lock()
			for _, u := range b.Updates {
				n.notified[u.Peer] = u.Status
			}
			n.notifiedMu.Unlock()
		}
		wt.Close(watch.ReasonGone)
	}
}

// play does what a schedule says, and waits until it is over.
func (w *world) play(s *outagetest.Schedule) {
	begun := time.Now()
	for i, step := range s.Steps {
		time.Sleep(time.Until(begun.Add(step.At)))
		// No two at once.
		time.Sleep(time.Until(begun.Add(step.At + time.Duration(i)*time.Millisecond)))
		n := w.nodes[step.Node]
		switch step.Do {
		case outagetest.Hook:
			r := step.Report
			r.App, r.Peer, r.At, r.ID = app, w.peers[step.Peer].Peer, wall(), fmt.Sprint(s.Seed, "/", i)
			now := wall()
			w.running.Go(func() { // the disk may be slow
				reports := []presence.Report{r}
				if err := n.svc.Report(context.Background(), reports, now, make([]presence.Outcome, 1)); err != nil {
					w.t.Errorf("%v: %v", step, err)
					return
				}
				w.mu.Lock()
				w.acked = append(w.acked, outage.Record{Received: now, Report: reports[0]})
				w.mu.Unlock()
			})
		case outagetest.Cut:
			n.cut.Store(true)
			n.turn(w.some()...)
		case outagetest.Join:
			n.cut.Store(false)
			n.turn()
		case outagetest.Stop:
			w.stopped.Store(true)
			w.turn()
		case outagetest.Start:
			w.stopped.Store(false)
			w.turn()
		case outagetest.Kill:
			w.running.Wait()
			n.kill()
			n.start()
		case outagetest.Keep:
			for i, k := range w.peers {
				w.kept[i] = w.packed(k)
			}
		case outagetest.Lose:
			w.lose()
		}
	}
	w.running.Wait()
	w.stopped.Store(false)
	w.healed.Store(true)
	for _, n := range w.nodes {
		n.cut.Store(false)
	}
	w.turn()
	time.Sleep(s.Quiet)
}

func (w *world) turn() {
	for _, n := range w.nodes {
		n.turn(w.some()...)
	}
}

// some draws the peers that a node knows when it is cut off.
func (w *world) some() (known []presence.Key) {
	for _, k := range w.peers {
		if w.rand.IntN(4) > 0 {
			known = append(known, k)
		}
	}
	return known
}

func (w *world) lose() {
	err := w.below.Update(context.Background(), w.peers, wall(), func(i int, st *presence.State) presence.Effect {
		rev := st.Rev
		*st = presence.State{}
		if len(w.kept[i]) > 0 {
			if err := st.Unpack(w.kept[i]); err != nil {
				w.t.Error(err)
			}
		}
		st.Rev = rev
		return presence.Shown
	})
	if err != nil {
		w.t.Error(err)
	}
	w.lost.Add(1)
}

// check holds every node to the reference.
func (w *world) check(s *outagetest.Schedule) {
	slices.SortStableFunc(w.acked, func(a, b outage.Record) int { return int(a.Received - b.Received) })
	ref := outagetest.NewReference(w.rules)
	for _, r := range w.acked {
		ref.Acknowledged(r.Report, r.Received)
	}
	for _, n := range w.nodes {
		if n.store.Overlaid() || n.store.Waiting() > 0 {
			w.t.Errorf("node %d: %d reports wait, overlaid is %v", n.number, n.store.Waiting(), n.store.Overlaid())
		}
		for _, k := range w.peers {
			var sum [1]presence.Summary
			age, err := n.store.Summaries(context.Background(), []presence.Key{k}, sum[:])
			sum[0] = sum[0].At(n.svc.Leases(wall()), n.svc.Rules())
			want := ref.Status(k.Peer, wall())
			if err != nil || age != 0 || sum[0].Status != want {
				w.t.Errorf("node %d: %s is %v (age %v, %v), want %v\n%s", n.number, k.Peer, sum[0].Status, age, err, want, ref.Story(k.Peer))
			}
			n.notifiedMu.Lock()
			if got := n.notified[k.Peer]; got != want {
				w.t.Errorf("node %d: the watcher's last update of %s is %v, want %v\n%s", n.number, k.Peer, got, want, ref.Story(k.Peer))
			}
			n.notifiedMu.Unlock()
		}
	}
	if w.t.Failed() {
		w.t.Logf("%v", s)
	}
}

func play(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		s := outagetest.Draw(seed, outagetest.Options{Peers: 5, Hooks: 60, Length: 2 * time.Minute, Kills: true, Losses: true})
		w := newWorld(t, &s)
		w.play(&s)
		w.check(&s)
		for _, n := range w.nodes {
			n.kill()
		}
		if err := w.below.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestThreeNodesAgreeAfterAnOutage plays drawn schedules in fake time: first those of the seeds
// that once found a fault.
func TestThreeNodesAgreeAfterAnOutage(t *testing.T) {
	found, err := os.ReadFile("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(found)) {
		number, _, _ := strings.Cut(line, " ")
		seed, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprint("found ", seed), func(t *testing.T) { play(t, seed) })
	}
	playAll(t, 0, 200)
}

// playAll plays the seeds of a range, up to the first that finds a fault.
func playAll(t *testing.T, from, to uint64) {
	for seed := from; seed < to && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, seed) })
	}
}
