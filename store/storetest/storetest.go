package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
)

// A Harness is a store under test.
type Harness struct {
	// Store is empty and open. Run closes it.
	Store presence.Store
	// Rules are those that the store was opened with; the zero value is presence.DefaultRules.
	Rules presence.Rules
	// Now is where time starts; zero is an hour of 2026. A store whose backing has a clock of its
	// own gives that clock's.
	Now presence.Millis
	// Reopen closes Store and opens it again on what it left. Every store of Run has it; one of
	// RunVolatile has none.
	Reopen func(now presence.Millis) presence.Store
	// Kill is Reopen without a chance to say goodbye. Every store of Run has it; one of RunVolatile
	// has none.
	Kill func(now presence.Millis) presence.Store
	// Shared: other processes write to what is behind the store, so the leases of nodes run on
	// while Store is closed.
	Shared bool
}

// Run tests the store that open makes. open is called once a test.
func Run(t *testing.T, open func(t testing.TB) Harness) {
	t.Helper()
	run(t, append(slices.Clone(laws), lasting...), func(t *testing.T) Harness {
		h := open(t)
		if h.Reopen == nil || h.Kill == nil {
			t.Fatal("the harness cannot end the store and open it again, so that what it keeps goes untested; a store that keeps nothing is for RunVolatile")
		}
		return h
	})
}

// RunVolatile tests a store that keeps nothing when it is closed.
func RunVolatile(t *testing.T, open func(t testing.TB) Harness) {
	t.Helper()
	run(t, laws, func(t *testing.T) Harness {
		h := open(t)
		if h.Reopen != nil || h.Kill != nil {
			t.Fatal("the store can be opened again; it is for Run")
		}
		return h
	})
}

// RunInFakeTime is RunVolatile in fake time, see [synctest]: open and the store must block on
// nothing outside.
func RunInFakeTime(t *testing.T, open func(t testing.TB) Harness) {
	t.Helper()
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { l.test(newBench(t, open(t))) })
		})
	}
}

func run(t *testing.T, laws []law, open func(t *testing.T) Harness) {
	t.Helper()
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) { l.test(newBench(t, open(t))) })
	}
}

type law struct {
	name string
	test func(b *bench)
}

// The laws of every store.
var laws = []law{
	{"a peer nobody has reported is unknown", unknown},
	{"a batch is answered in order", batchInOrder},
	{"a batch of ten thousand is one call", bigBatch},
	{"states of ten thousand are one call", bigLoads},
	{"updates of one peer in one batch apply in order", repeatsInBatch},
	{"two apps never meet", appsApart},
	{"ids may be any bytes", anyBytes},
	{"ids nobody could report are unknown", longIDs},
	{"an update that changes nothing writes nothing", sameWritesNothing},
	{"a state comes back as it was kept", statesComeBack},
	{"a big state comes back as it was kept", bigStates},
	{"revisions only rise", revsRise},
	{"revisions rise over erasing", revsRiseOverErase},
	{"revisions rise when the clock goes back", revsRiseOverClock},
	{"no update of 64 writers is lost", noLostUpdate},
	{"a batch is visible when update returns", readYourWrites},
	{"a forgotten state is removed", forgottenRemoved},
	{"leases are judged at the time of the question", judgedAtRead},
	{"peers come due at their deadline, not before", dueAtDeadline},
	{"what is due comes again until it is settled", dueUntilSettled},
	{"due keeps to its limit and loses nothing", dueInParts},
	{"time may jump", dueOverJumps},
	{"a renewed lease is not due", renewedNotDue},
	{"many reports make one due peer", dueOnce},
	{"the memory of offline peers ends", offlineMemoryEnds},
	{"a word about reach outlives the peer", reachOutlivesThePeer},
	{"listing returns everyone online once", listOnce},
	{"a listing outlives growth, changes and erasing", listUnderChange},
	{"a cursor that is none is an error", badCursor},
	{"a walk passes every peer", walkAll},
	{"a walk outlives growth", walkUnderChange},
	{"counts follow every change", countsFollow},
	{"today counts a peer once", todayOnce},
	{"a node lives while it beats", nodeBeats},
	{"a lost node's peers are found until they are ended", nodeEnds},
	{"a drained node says so", nodeDrained},
	{"a session that comes to hang on its node is found with it", hangsLater},
	{"a lost node's last heartbeat is known", lastHeartbeat},
	{"a node that sends no heartbeat leases nothing", silentNode},
	{"sessions hang on their node from its first heartbeat on", firstHeartbeat},
	{"listeners hear what is shown", listeners},
	{"a listener that stopped receives nothing", listenerStops},
	{"a closed store is unavailable", closed},
	{"a context that is over is an error", contextOver},
	{"a merge that refuses changes nothing", mergeRefuses},
	{"any order of reports ends in the same state", anyOrder},
	{"histories agree with the model", histories},
}

// The laws of a store that is there again after its end.
var lasting = []law{
	{"a restart loses nothing", restart},
	{"a kill loses nothing acknowledged", kill},
	{"restored nodes have the grace", restoredNodes},
	{"a drained node stays drained over a restart", drainedOverRestart},
	{"a drained node stays drained over a kill", drainedOverKill},
	{"the last heartbeats are known after a restart", heartbeatOverRestart},
	{"the last heartbeats are known after a kill", heartbeatOverKill},
	{"which nodes send heartbeats is known after a restart", silentOverRestart},
	{"which nodes send heartbeats is known after a kill", silentOverKill},
}

// A bench is a store with the time at which the test stands and the short forms that make tests
// readable.
type bench struct {
	*testing.T
	Harness
	ctx context.Context
	now presence.Millis
}

// A bubbled test may run in a bubble of synctest, where rapid must not ask it for its deadline.
type bubbled struct{ *testing.T }

const app presence.AppID = "app"

func newBench(t *testing.T, h Harness) *bench {
	if h.Rules == (presence.Rules{}) {
		h.Rules = presence.DefaultRules()
	}
	if h.Now == 0 {
		h.Now = presence.MillisOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	}
	b := &bench{T: t, Harness: h, ctx: t.Context(), now: h.Now}
	t.Cleanup(func() {
		if err := b.Store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// pass moves time on.
func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// report applies reports in one update, as the service does.
func (b *bench) report(reports ...presence.Report) []presence.Outcome {
	b.Helper()
	outs, err := b.tryReport(reports...)
	b.must(err)
	return outs
}

func (b *bench) tryReport(reports ...presence.Report) ([]presence.Outcome, error) {
	keys := make([]presence.Key, len(reports))
	outs := make([]presence.Outcome, len(reports))
	for i := range reports {
		keys[i] = reports[i].Key()
	}
	now := b.now
	err := b.Store.Update(b.ctx, keys, now, func(i int, st *presence.State) (e presence.Effect) {
		outs[i], e = st.Apply(&reports[i], now, &b.Rules)
		return e
	})
	return outs, err
}

// on, off and touch are reports of session s of a peer, said now.
func (b *bench) on(peer, s string) presence.Report  { return b.word(presence.KindOnline, peer, s) }
func (b *bench) off(peer, s string) presence.Report { return b.word(presence.KindOffline, peer, s) }
func (b *bench) touch(peer, s string) presence.Report {
	return b.word(presence.KindTouch, peer, s)
}

func (b *bench) word(kind presence.Kind, peer, session string) presence.Report {
	r := presence.Report{
		App: app, Peer: presence.PeerID(peer), Source: presence.SourceAPI, Session: presence.SessionID(session),
		Kind: kind, At: b.now, Lease: time.Minute,
	}
	if kind == presence.KindOffline {
		r.Cause = presence.CauseLogout
	}
	return r
}

// is checks what peers of app are now, one word each.
func (b *bench) is(want presence.Status, peers ...string) {
	b.Helper()
	b.isIn(app, want, peers...)
}

func (b *bench) isIn(id presence.AppID, want presence.Status, peers ...string) {
	b.Helper()
	for i, got := range b.statuses(id, peers...) {
		if got != want {
			b.Errorf("%q is %v, want %v", cut(peers[i]), got, want)
		}
	}
}

// answered checks that an answer came and is of now: the store is in reach.
func (b *bench) answered(age time.Duration, err error) {
	b.Helper()
	if b.must(err); age != 0 {
		b.Errorf("the answer of a store in reach is %v old", age)
	}
}

func (b *bench) statuses(id presence.AppID, peers ...string) []presence.Status {
	b.Helper()
	ids := make([][]byte, len(peers))
	for i, p := range peers {
		ids[i] = []byte(p)
	}
	out := make([]presence.Status, len(peers))
	for i := range out {
		out[i] = 99 // every element is to be set
	}
	b.answered(b.Store.Statuses(b.ctx, id, ids, b.now, out))
	return out
}

func (b *bench) load(key presence.Key) presence.State {
	b.Helper()
	st := presence.State{Rev: 99, Status: presence.Online, Sessions: []presence.Session{{ID: "left over"}}}
	b.must(b.Store.Load(b.ctx, key, &st))
	return st
}

func (b *bench) loads(keys ...presence.Key) []presence.State {
	b.Helper()
	out := make([]presence.State, len(keys))
	for i := range out {
		out[i] = presence.State{Rev: 99, Status: presence.Online, Sessions: []presence.Session{{ID: "left over"}}}
	}
	b.must(b.Store.Loads(b.ctx, keys, out))
	return out
}

func (b *bench) summary(peer string) presence.Summary {
	b.Helper()
	out := []presence.Summary{{Rev: 99}}
	b.answered(b.Store.Summaries(b.ctx, []presence.Key{keyOf(peer)}, out))
	return out[0]
}

// due returns all that is due now, limit at a time; it settles nothing.
func (b *bench) due(limit int) []presence.Key {
	b.Helper()
	keys, err := b.Store.Due(b.ctx, b.now, limit)
	b.must(err)
	if len(keys) > limit {
		b.Fatalf("%d peers are due, the limit was %d", len(keys), limit)
	}
	return keys
}

// sweep settles all that is due and returns its keys.
func (b *bench) sweep(limit int) []presence.Key {
	b.Helper()
	var all []presence.Key
	for range 1 << 20 {
		keys := b.due(limit)
		if len(keys) == 0 {
			return all
		}
		all = append(all, keys...)
		b.must(b.Store.Update(b.ctx, keys, b.now, func(_ int, st *presence.State) presence.Effect {
			_, e := st.Expire(b.now, &b.Rules)
			return e
		}))
	}
	b.Fatal("the sweep does not end")
	return nil
}

func (b *bench) list(limit int) []string {
	b.Helper()
	var all []string
	for cursor := ""; ; {
		peers, next, err := b.Store.List(b.ctx, app, cursor, limit, b.now)
		b.must(err)
		if len(peers) > limit {
			b.Fatalf("a page of %d peers, the limit was %d", len(peers), limit)
		}
		for _, p := range peers {
			all = append(all, string(p))
		}
		if next == "" {
			return all
		}
		cursor = next
	}
}

func (b *bench) counts(want presence.Counts) {
	b.Helper()
	got, err := b.Store.Counts(b.ctx, app, b.now)
	b.must(err)
	if got != want {
		b.Errorf("counts are %+v, want %+v", got, want)
	}
}

func (b *bench) erase(keys ...presence.Key) {
	b.Helper()
	b.must(b.Store.Update(b.ctx, keys, b.now, func(_ int, st *presence.State) presence.Effect {
		if st.Forgotten() {
			return presence.Same
		}
		*st = presence.State{Rev: st.Rev}
		return presence.Shown
	}))
}

func keyOf(peer string) presence.Key { return presence.Key{App: app, Peer: presence.PeerID(peer)} }

func names(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return all
}

// cut keeps long ids out of failures.
func cut(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s… (%d bytes)", s[:40], len(s))
	}
	return s
}
