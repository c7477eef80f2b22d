package watch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

// A checker reads one stream and holds it to the promise of a watch: the snapshot is complete and
// comes first, versions rise, a version has one meaning, no update is false by more than the bound,
// and none is of peers that were not asked for.
type checker struct {
	name    string
	ledger  *ledger
	peers   map[presence.PeerID]bool
	known   map[presence.PeerID]*watch.Update
	token   string
	detail  presence.Detail
	started bool // this stream has sent its snapshot or resume
	words   int
}

// A ledger is what all streams are held to: one meaning of each version of each peer, and what was
// true when.
type ledger struct {
	testing.TB
	*presence.Service
	store   presence.Store
	tick    presence.Millis
	mu      sync.Mutex
	meaning map[string]presence.Status
	history map[presence.PeerID][]truth
	late    map[presence.Status]presence.Millis // how late a word was at most
}

// A truth is what a peer is from a moment on until the next truth; its lease may end meanwhile.
type truth struct {
	at  presence.Millis
	sum presence.Summary
}

const (
	longestHold = 9_000 // ms; of all that the play reports
	sweepEvery  = 500
)

// write reports r and keeps what is true then.
func (l *ledger) write(r presence.Report, at presence.Millis) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx := context.Background()
	if err := l.Report(ctx, []presence.Report{r}, at, make([]presence.Outcome, 1)); err != nil {
		l.Error(err)
	}
	var sum [1]presence.Summary
	if _, err := l.store.Summaries(ctx, []presence.Key{{App: app, Peer: r.Peer}}, sum[:]); err != nil {
		l.Error(err)
	}
	l.history[r.Peer] = append(l.history[r.Peer], truth{at, sum[0].At(l.Leases(at), l.Rules())})
}

// bound returns how long an update with status may come after it was last true: for a tick, and an
// online also while its loss is not swept or is held.
func (l *ledger) bound(status presence.Status) presence.Millis {
	if status == presence.Online {
		return l.tick + sweepEvery + longestHold
	}
	return l.tick
}

// lateness returns how long ago at status was last true of peer; false says that it never was. The
// caller holds mu.
func (l *ledger) lateness(peer presence.PeerID, status presence.Status, at presence.Millis) (presence.Millis, bool) {
	rules := l.Rules()
	all := l.history[peer]
	end := at // of the truth that is looked at
	for i := len(all) - 1; i >= 0; i-- {
		t := all[i]
		switch {
		case t.sum.At(end, rules).Status == status: // up to the end
			return at - end, true
		case t.sum.Status == status && t.sum.Until > t.at && t.sum.Until <= end:
			// Until its lease was over.
			return at - t.sum.Until, true
		}
		end = t.at
	}
	return at - end, status == presence.Unknown
}

// hold tries w, received at, for how long it has not been true. The caller holds mu.
func (l *ledger) hold(name string, w *watch.Update, at presence.Millis) {
	late, ever := l.lateness(w.Peer, w.Status, at)
	if !ever || late > l.bound(w.Status) {
		l.Errorf("%s: %s was sent as %v, which was last true %d ms ago (ever: %v)", name, w.Peer, w.Status, late, ever)
	}
	l.late[w.Status] = max(l.late[w.Status], late)
}

func (l *ledger) enter(name string, w *watch.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold(name, w, now())
	if w.Version == 0 {
		return // no source has reported the peer
	}
	key := fmt.Sprint(w.Peer, " ", w.Version)
	if was, ok := l.meaning[key]; ok && was != w.Status {
		l.Errorf("%s: version %d of %s means %v here and %v there", name, w.Version, w.Peer, w.Status, was)
	}
	l.meaning[key] = w.Status
}

func (c *checker) take(b watch.Batch) {
	switch {
	case b.Kind == watch.Snapshot && c.token == "" || b.Kind == watch.Resume && c.token != "" || c.started:
	case b.Kind == watch.Snapshot:
		c.ledger.Errorf("%s: a token of this very hub was answered by a snapshot", c.name)
	default:
		c.ledger.Errorf("%s: the stream begins with a %v", c.name, b.Kind)
	}
	for _, w := range b.Updates {
		c.words++
		if !c.peers[w.Peer] {
			c.ledger.Errorf("%s: received %s, which it did not ask for", c.name, w.Peer)
		}
		was := c.known[w.Peer]
		if was != nil && (w.Version < was.Version || b.Kind == watch.Change && c.started && w.Version == was.Version && w != was) {
			c.ledger.Errorf("%s: %s goes from version %d to %d", c.name, w.Peer, was.Version, w.Version)
		}
		c.ledger.enter(c.name, w)
		c.known[w.Peer] = w
	}
	if !b.More && !c.started {
		c.started = true
		if len(c.known) != len(c.peers) {
			c.ledger.Errorf("%s: the snapshot has %d of %d peers", c.name, len(c.known), len(c.peers))
		}
	}
	if !b.Token.IsZero() {
		c.token = b.Token.String()
	}
}

// The promise of a watch: whatever the reader does, every word is in order, and when it is quiet
// the last word is right. Two hubs over one store stand for two nodes. Time is the bubble's, so the
// minutes are played in seconds.
func TestWatchPromise(t *testing.T) {
	const watchers, peers, changes = 200, 200, 50_000
	synctest.Test(t, func(t *testing.T) { promise(t, watchers, peers, changes) })
}

func promise(t *testing.T, watchers, peers, changes int) {
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	s := presence.NewService(st, presence.DefaultConfig())
	cfg := watch.DefaultConfig()
	cfg.Buffer = 4 << 10 // so that snapshots and bursts come in parts
	deps := watch.Deps{Service: s, Source: st, Tokens: testTokens()}
	hubs := []*watch.Hub{watch.New(cfg, deps), watch.New(cfg, deps)}
	ids := make([]presence.PeerID, peers)
	for i := range ids {
		ids[i] = presence.PeerID(fmt.Sprintf("peer-%04d", i))
	}
	l := &ledger{
		TB: t, Service: s, store: st, tick: presence.Millis(cfg.Tick.Milliseconds()), meaning: map[string]presence.Status{},
		history: map[presence.PeerID][]truth{}, late: map[presence.Status]presence.Millis{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	quiet := make(chan struct{}) // closed when no more is written
	var readers, writers sync.WaitGroup
	checkers := make([]*checker, watchers)
	for i := range checkers {
		mine := append([]presence.PeerID{}, ids...)
		rand.Shuffle(len(mine), func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
		mine = mine[:1+rand.IntN(len(mine))]
		detail := presence.Detail(i / 8 % 2)
		c := &checker{detail: detail, name: fmt.Sprint("watcher ", i), ledger: l, peers: map[presence.PeerID]bool{}, known: map[presence.PeerID]*watch.Update{}}
		for _, p := range mine {
			c.peers[p] = true
		}
		checkers[i] = c
		readers.Go(func() { c.follow(ctx, hubs[i%len(hubs)], mine, reader(i/2%4), quiet) })
	}
	for w := range 4 {
		writers.Go(func() {
			for range changes / 4 {
				time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
				l.play(ids[rand.IntN(peers)], w)
			}
		})
	}
	sweeping := make(chan struct{})
	go func() {
		defer close(sweeping)
		for ctx.Err() == nil {
			time.Sleep(sweepEvery * time.Millisecond)
			if _, err := s.Sweep(context.Background(), now()); err != nil {
				t.Error(err)
			}
		}
	}()
	writers.Wait()
	close(quiet)
	time.Sleep(time.Minute) // every lease and every hold is over
	cancel()
	readers.Wait()
	<-sweeping
	judge(t, l, checkers)
	words := 0
	for _, c := range checkers {
		words += c.words
	}
	sum := hubs[0].Stats()
	if sum.Resumes == 0 || sum.Holds == 0 || sum.Hidden == 0 || sum.Changes == 0 {
		t.Errorf("the play left something out: %+v", sum)
	}
	t.Logf("%d changes, %d words to %d watchers, at most %d ms late when offline, %d ms when online", changes, words, watchers,
		l.late[presence.Offline], l.late[presence.Online])
	for _, h := range hubs {
		h.Close(watch.ReasonShutdown)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// play has writer change peer.
func (l *ledger) play(peer presence.PeerID, writer int) {
	at := now()
	r := presence.Report{
		App: app, Peer: peer, Source: presence.SourceAPI, Session: presence.SessionID(fmt.Sprint(writer)), Kind: presence.KindOnline,
		At: at, Incarnation: at, Lease: 5 * time.Second,
	}
	switch rand.IntN(4) {
	case 0:
		r.Kind, r.Cause = presence.KindOffline, presence.CauseLogout
	case 1:
		r.Kind, r.Cause, r.Hold = presence.KindOffline, presence.CauseLost, time.Duration(rand.IntN(longestHold/1000+1))*time.Second
	}
	l.write(r, at)
}

// reader is how a watcher behaves.
type reader int

const (
	prompt   reader = iota
	slow            // takes one batch now and then
	stopped         // takes nothing until all is over
	restless        // leaves after every few batches and comes back with its token
)

func (c *checker) follow(ctx context.Context, hub *watch.Hub, peers []presence.PeerID, how reader, quiet <-chan struct{}) {
	for ctx.Err() == nil {
		w, err := hub.Watch(ctx, view, peers, c.detail, c.token)
		if err != nil {
			if ctx.Err() == nil {
				c.ledger.Error(err)
			}
			return
		}
		c.started = false
		c.read(ctx, w, how, quiet)
		w.Close(watch.ReasonGone)
	}
}

// read takes batches until ctx ends or the reader has had enough.
func (c *checker) read(ctx context.Context, w *watch.Watcher, how reader, quiet <-chan struct{}) {
	came := time.Now()
	for {
		b, err := w.Next(ctx)
		switch {
		case errors.Is(err, context.Canceled):
			return
		case err != nil:
			c.ledger.Error(err)
			return
		}
		c.take(b)
		if closed(quiet) {
			continue
		}
		switch {
		case how == restless && c.started && time.Since(came) > time.Second:
			return
		case how == stopped && c.started:
			pause(quiet, time.Minute)
		case how == slow:
			pause(quiet, time.Second)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause waits for d, or until it is quiet.
func pause(quiet <-chan struct{}, d time.Duration) {
	select {
	case <-quiet:
	case <-time.After(d):
	}
}

// judge holds every watcher's last words to the truth.
func judge(t *testing.T, l *ledger, checkers []*checker) {
	t.Helper()
	for _, c := range checkers {
		keys := make([]presence.Key, 0, len(c.peers))
		for p := range c.peers {
			keys = append(keys, presence.Key{App: app, Peer: p})
		}
		sums := make([]presence.Summary, len(keys))
		if _, err := l.store.Summaries(context.Background(), keys, sums); err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			got := c.known[k.Peer]
			if got == nil || got.Status != sums[i].Status {
				t.Errorf("%s: its last word of %s is %v, the truth is %v", c.name, k.Peer, got, sums[i].Status)
			}
		}
	}
}
