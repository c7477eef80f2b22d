package outagetest_test

import (
	"context"
	"errors"
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

	"rollcall/internal/spool"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/outage"
	"rollcall/store/outagetest"
	"rollcall/watch"
)

const app = presence.AppID("app")

func wall() presence.Millis { return presence.Millis(time.Now().UnixMilli()) }

var errCut = fmt.Errorf("%w: cut", presence.ErrUnavailable)

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
	if d.IntN(3) == 0 {
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
	lost    atomic.Int64 // how often the store came back with less
	kept    [][]byte
	nodes   [outagetest.Nodes]*node
	mu      sync.Mutex
	acked   []outage.Record
	running sync.WaitGroup
}

// A node is a process: a service over a switched store, and a watcher of all peers.
type node struct {
	w       *world
	number  int
	cut     atomic.Bool
	queue   *memory // survives a kill
	box     *outage.Box
	svc     *presence.Service
	hub     *watch.Hub
	since   atomic.Pointer[time.Time] // cut
	cache   map[presence.Key][]byte
	mu      sync.Mutex
	ears    []func([]presence.Key)
	seenAt  int64 // losses seen
	stop    chan struct{}
	stopped sync.WaitGroup

	toldMu sync.Mutex
	told   map[presence.PeerID]presence.Status
}

func (n *node) away() bool { return n.cut.Load() || n.w.stopped.Load() }

// memory is a spool that is not on disk.
type memory struct {
	rand  *dice
	slow  int // ms that the disk may take
	mu    sync.Mutex
	head  int64
	queue [][]byte
}

func (m *memory) Append(records [][]byte) error {
	m.rand.pause(m.slow)
	m.mu.Lock()
	m.queue = append(m.queue, records...)
	m.mu.Unlock()
	m.rand.pause(m.slow) // it may be read before it is synced
	return nil
}

func (m *memory) Peek(after int64, n int) (records [][]byte, from int64, ends []int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from = max(after, m.head)
	for at := from; at < int64(len(m.queue)) && len(records) < n; at++ {
		records, ends = append(records, m.queue[at]), append(ends, at+1)
	}
	return records, from, ends, nil
}

func (m *memory) Advance(_ int, next int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head = next
	return 0, nil
}

func (m *memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) - int(m.head)
}

func (m *memory) Size() (int64, int64) { return 0, 1 << 30 }
func (m *memory) Close() error         { return nil }

var _ outage.Queue = (*spool.Spool)(nil)

// A switched store is the embedded one as a node reaches it.
type switched struct {
	presence.Store
	n *node
}

func (s switched) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	n := s.n
	if n.away() {
		return errCut
	}
	var waits []int
	if n.box.Spooling() {
		waits = n.box.Waits(keys)
	}
	var rest []presence.Key
	var index []int
	for i, k := range keys {
		if !slices.Contains(waits, i) {
			rest, index = append(rest, k), append(index, i)
		}
	}
	if len(rest) > 0 {
		if err := s.Store.Update(ctx, rest, now, func(i int, st *presence.State) presence.Effect { return merge(index[i], st) }); err != nil {
			return err
		}
	}
	switch {
	case len(waits) == 0:
		return nil
	case len(rest) == 0:
		return errCut
	}
	return &presence.PartError{Failed: waits, Err: errCut}
}

func (s switched) state(k presence.Key) (packed []byte, age time.Duration, err error) {
	n := s.n
	l, overlaid := n.box.Layer(k)
	if n.away() {
		age = max(time.Since(*n.since.Load()), time.Millisecond)
		if overlaid && l.Known {
			return nil, age, nil
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		packed, ok := n.cache[k]
		if !ok || overlaid {
			return nil, 0, errCut
		}
		return packed, age, nil
	}
	packed = n.w.packed(k)
	if overlaid {
		packed = outage.Over(packed, l.Records, wall(), &n.w.rules)
	}
	return packed, 0, nil
}

func (s switched) Summaries(_ context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	for i, k := range keys {
		packed, old, err := s.state(k)
		if err != nil {
			return 0, err
		}
		out[i] = presence.PeekSummary(packed)
		if l, ok := s.n.box.Layer(k); ok && old > 0 {
			out[i] = l.Summary
		}
		age = max(age, old)
	}
	return age, nil
}

func (s switched) Listen(fn func([]presence.Key)) func() {
	s.n.mu.Lock()
	s.n.ears = append(s.n.ears, fn)
	s.n.mu.Unlock()
	return s.Store.Listen(fn)
}

func (s switched) Spool(_ context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	return s.n.box.Spool(reports, now, out)
}

func (s switched) Acknowledged(reports []presence.Report, now presence.Millis) {
	s.n.box.Acknowledged(reports, now)
}

func (s switched) OnReturn(func(asOf, now presence.Millis) <-chan struct{}) func() { return func() {} }

func (s switched) Age() time.Duration {
	if s.n.away() {
		return max(time.Since(*s.n.since.Load()), time.Millisecond)
	}
	return 0
}

func (s switched) AgeOf(presence.Key) time.Duration { return s.Age() }

var _ presence.Distant = switched{}

func (s switched) Epoch() uint64 { return uint64(s.n.w.lost.Load()) + 1 }

func (s switched) Horizon(now presence.Millis) uint64 { return uint64(now.Add(-10 * time.Second)) }

// below is what a box sees of the switched store. Its writes fail in the middle of a batch when the node is cut.
type below struct{ n *node }

func (b below) Replay(list []outage.Record) []error {
	n := b.n
	errs := make([]error, len(list))
	for i, r := range list {
		n.w.rand.pause(20) // others come in between
		if n.away() {
			errs[i] = errCut
			continue
		}
		errs[i] = n.w.below.Update(context.Background(), []presence.Key{r.Report.Key()}, wall(), func(_ int, st *presence.State) presence.Effect {
			report := r.Report
			_, e := st.Replay(&report, r.Heard, wall(), &n.w.rules)
			return e
		})
		if n.w.rand.IntN(50) == 0 {
			errs[i] = errCut // the answer is lost: it will be applied twice
		}
	}
	return errs
}

func (b below) Waits(err error) (waits, held bool) {
	return errors.Is(err, errCut) && b.n.w.rand.IntN(2) == 0, false
}

func (b below) Last(key presence.Key) ([]byte, bool) {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	packed, ok := b.n.cache[key]
	return packed, ok
}

func (b below) Signal(keys []presence.Key) {
	b.n.mu.Lock()
	ears := slices.Clone(b.n.ears)
	b.n.mu.Unlock()
	for _, fn := range ears {
		fn(keys)
	}
}

func (b below) Now() presence.Millis { return wall() }

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
	cfg.Rules, cfg.MaxMemory = rules, 64<<20
	below, err := embedded.Open(cfg, wall())
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
	var err error
	n.told, n.cache, n.ears = map[presence.PeerID]presence.Status{}, map[presence.Key][]byte{}, nil
	n.box, err = outage.Open(outage.Config{Queue: n.queue, Journal: time.Minute, Rules: n.w.rules, Log: slog.New(slog.DiscardHandler)}, below{n})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.seenAt = n.w.lost.Load()
	now := time.Now()
	n.since.Store(&now)
	n.svc = presence.NewService(switched{n.w.below, n}, presence.DefaultConfig())
	n.stop = make(chan struct{})
	cfg := watch.DefaultConfig()
	cfg.Now = wall
	n.hub = watch.New(n.svc, cfg)
	n.stopped.Go(n.watchman)
	n.stopped.Go(n.follow)
}

func (n *node) kill() {
	close(n.stop)
	n.hub.Close(watch.ReasonShutdown)
	n.stopped.Wait()
}

// watchman is what a store does when it can be reached.
func (n *node) watchman() {
	was := false
	for {
		select {
		case <-n.stop:
			return
		case <-time.After(time.Duration(30+n.w.rand.IntN(200)) * time.Millisecond):
		}
		if n.away() {
			was = true
			continue
		}
		if was {
			n.box.Again()
			was = false
			below{n}.Signal(nil)
		}
		if lost := n.w.lost.Load(); lost != n.seenAt {
			if n.box.Reassert(time.Since(*n.since.Load())) != nil {
				continue
			}
			n.seenAt = lost
		}
		n.box.Drain(n.stop)
	}
}

// follow keeps what the watcher of all peers was last notified of.
func (n *node) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	n.stopped.Go(func() { <-n.stop; cancel() })
	var peers []presence.PeerID
	for _, k := range n.w.peers {
		peers = append(peers, k.Peer)
	}
	for ctx.Err() == nil {
		wt, err := n.hub.Watch(ctx, app, peers, watch.Full, "")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for {
			b, err := wt.Next(ctx)
			if err != nil {
				break
			}
			n.toldMu.Lock()
			for _, u := range b.Words {
				n.told[u.Peer] = u.Status
			}
			n.toldMu.Unlock()
		}
		wt.Close(watch.ReasonGone)
	}
}

// play does what a schedule says, and waits until it is over.
func (w *world) play(s *outagetest.Schedule) {
	begun := time.Now()
	for i, step := range s.Steps {
		time.Sleep(time.Until(begun.Add(step.At)))
		time.Sleep(time.Until(begun.Add(step.At + time.Duration(i)*time.Millisecond))) // no two at once
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
				w.acked = append(w.acked, outage.Record{Heard: now, Report: reports[0]})
				w.mu.Unlock()
			})
		case outagetest.Cut:
			w.remember(n)
			n.cut.Store(true)
		case outagetest.Join:
			n.cut.Store(false)
		case outagetest.Stop:
			for _, n := range w.nodes {
				w.remember(n)
			}
			w.stopped.Store(true)
		case outagetest.Start:
			w.stopped.Store(false)
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
	for _, n := range w.nodes {
		n.cut.Store(false)
	}
	time.Sleep(s.Quiet)
}

// remember has a node that is about to be cut off know some of the peers as they are.
func (w *world) remember(n *node) {
	if n.away() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.since.Store(&now)
	n.cache = map[presence.Key][]byte{}
	for _, k := range w.peers {
		if w.rand.IntN(4) > 0 {
			n.cache[k] = w.packed(k)
		}
	}
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
	slices.SortStableFunc(w.acked, func(a, b outage.Record) int { return int(a.Heard - b.Heard) })
	ref := outagetest.NewReference(w.rules)
	for _, r := range w.acked {
		ref.Acknowledged(r.Report, r.Heard)
	}
	for _, n := range w.nodes {
		if n.box.Overlaid() || n.box.Waiting() > 0 {
			w.t.Errorf("node %d: %d reports wait, overlaid is %v", n.number, n.box.Waiting(), n.box.Overlaid())
		}
		for _, k := range w.peers {
			var sum [1]presence.Summary
			age, err := n.svc.Summaries(context.Background(), []presence.Key{k}, wall(), sum[:])
			want := ref.Status(k.Peer, wall())
			if err != nil || age != 0 || sum[0].Status != want {
				w.t.Errorf("node %d: %s is %v (age %v, %v), want %v\n%s", n.number, k.Peer, sum[0].Status, age, err, want, ref.Told(k.Peer))
			}
			n.toldMu.Lock()
			if got := n.told[k.Peer]; got != want {
				w.t.Errorf("node %d: the watcher's last update of %s is %v, want %v\n%s", n.number, k.Peer, got, want, ref.Told(k.Peer))
			}
			n.toldMu.Unlock()
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

// TestThreeNodesAgreeAfterAnOutage plays drawn schedules in fake time: first those of the seeds that once found a fault.
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
