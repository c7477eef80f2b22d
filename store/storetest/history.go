package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"rollcall/presence"
)

// A model is the store as one would write it on a napkin.
type model map[presence.Key]presence.State

func (m model) update(keys []presence.Key, merge presence.Merge) {
	for i, k := range keys {
		st := m[k]
		st.Sessions, st.EndAlls = slices.Clone(st.Sessions), slices.Clone(st.EndAlls)
		st.Slots, st.Deliveries = slices.Clone(st.Slots), slices.Clone(st.Deliveries)
		if merge(i, &st) == presence.Same {
			continue
		}
		if st.Forgotten() {
			delete(m, k)
			continue
		}
		m[k] = st
	}
}

// A step is one thing that happens in a history.
type step struct {
	kind    string
	pass    time.Duration
	reports []presence.Report // At and Incarnation are relative to the time of the step
	peers   []string
	node    presence.NodeID
}

// A draw makes choices; rapid and a seed both can.
type draw func(n int, what string) int

var leasesDrawn = []time.Duration{0, 2 * time.Second, 45 * time.Second, 2 * time.Minute, 3 * time.Hour}

func drawStep(d draw, restarts bool) step {
	peer := func() string { return fmt.Sprint("p", d(6, "peer")) }
	node := func() presence.NodeID { return presence.NodeID(fmt.Sprint("n", d(3, "node"))) }
	kinds := 12
	if restarts {
		kinds++
	}
	switch k := d(kinds, "step"); {
	case k < 5:
		s := step{kind: "report"}
		for range 1 + d(5, "reports") {
			r := presence.Report{
				App: presence.AppID(fmt.Sprint("app", d(2, "app"))), Peer: presence.PeerID(peer()),
				Kind: presence.Kind(1 + d(3, "kind")), At: presence.Millis(-d(3, "late") * 700), Lease: leasesDrawn[d(len(leasesDrawn), "lease")],
				Cause: presence.Cause(d(5, "cause")), Hold: time.Duration(d(2, "hold")) * time.Second,
			}
			switch d(3, "source") {
			case 0:
				r.Source, r.Tag = presence.SourceLeanCloud, []string{"", "web"}[d(2, "tag")]
			case 1:
				r.Source, r.Session, r.Node = presence.SourceGateway, presence.SessionID(fmt.Sprint("s", d(3, "session"))), node()
			case 2:
				r.Source, r.Session = "emqx", presence.SessionID(fmt.Sprint("s", d(3, "session")))
				r.Incarnation = presence.Millis(-d(4, "incarnation") * 500)
				if d(5, "end-all") == 0 {
					r.Kind, r.Session, r.Incarnation = presence.KindEndAll, []presence.SessionID{"", "s", "s1"}[d(3, "prefix")], 0
				}
			}
			s.reports = append(s.reports, r)
		}
		return s
	case k < 7:
		return step{kind: "pass", pass: []time.Duration{1e6, 900e6, 10e9, 50e9, 11 * time.Minute, 4 * time.Hour, 26 * time.Hour}[d(7, "time")]}
	case k < 9:
		return step{kind: "sweep"}
	case k == 9:
		return step{kind: "erase", peers: []string{peer()}}
	case k == 10:
		return step{kind: []string{"end node", "hang"}[d(2, "node step")], node: node()}
	case k == 11:
		return step{kind: "jump", pass: []time.Duration{8 * 24 * time.Hour, -2 * time.Second}[d(2, "jump")]}
	}
	if d(4, "restart") > 0 {
		return step{kind: "sweep"}
	}
	return step{kind: "restart"}
}

// A player plays a history on a store and on the model.
type player struct {
	ctx   context.Context
	h     Harness
	now   presence.Millis
	model model
}

func (p *player) play(s step) error {
	switch s.kind {
	case "pass", "jump":
		p.now = p.now.Add(s.pass)
		return nil
	case "report":
		return p.report(s.reports)
	case "sweep":
		return p.sweep()
	case "erase":
		return p.both([]presence.Key{{App: "app0", Peer: presence.PeerID(s.peers[0])}}, func(_ int, st *presence.State) presence.Effect {
			if st.Forgotten() {
				return presence.Same
			}
			*st = presence.State{Rev: st.Rev}
			return presence.Shown
		})
	case "end node":
		return p.endNode(s.node)
	case "hang":
		return p.hang(s.node)
	case "restart":
		p.h.Store = p.h.Reopen(p.now)
	}
	return nil
}

// both runs an update on the store and on the model.
func (p *player) both(keys []presence.Key, merge presence.Merge) error {
	p.model.update(keys, merge)
	return p.h.Store.Update(p.ctx, keys, p.now, merge)
}

func (p *player) report(relative []presence.Report) error {
	keys := make([]presence.Key, len(relative))
	reports := slices.Clone(relative)
	for i := range reports {
		r := &reports[i]
		r.At += p.now
		if r.Incarnation != 0 {
			r.Incarnation += p.now
		}
		keys[i] = r.Key()
	}
	return p.both(keys, func(i int, st *presence.State) presence.Effect {
		_, e := st.Apply(&reports[i], p.now, &p.h.Rules)
		return e
	})
}

func (p *player) sweep() error {
	expire := func(_ int, st *presence.State) presence.Effect {
		_, e := st.Expire(p.now, &p.h.Rules)
		return e
	}
	// How many times each is due: a lease may end together with the memory of it.
	expected := map[presence.Key]int{}
	for {
		var due []presence.Key
		for k, st := range p.model {
			if d := st.Deadline(&p.h.Rules); d != 0 && d <= p.now {
				due = append(due, k)
				expected[k]++
			}
		}
		if len(due) == 0 {
			break
		}
		p.model.update(due, expire)
	}
	for range 1000 {
		keys, err := p.h.Store.Due(p.ctx, p.now, 3)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			expected[k]--
		}
		if err := p.h.Store.Update(p.ctx, keys, p.now, expire); err != nil {
			return err
		}
	}
	for k, n := range expected {
		if n != 0 {
			return fmt.Errorf("%v was due %d times less than it should have been", k, n)
		}
	}
	return nil
}

func (p *player) endNode(node presence.NodeID) error {
	// No report so far is later than the end of the node.
	p.now = p.now.Add(presence.NodeLease + p.h.Rules.Ahead)
	end := func(_ int, st *presence.State) presence.Effect {
		_, e := st.EndNode(presence.LostNode{Node: node, At: p.now - 1000, Seen: p.now - 4000}, p.now, &p.h.Rules)
		return e
	}
	on := map[presence.Key]bool{}
	var all []presence.Key
	for k, st := range p.model {
		if st.On(node) {
			on[k] = true
			all = append(all, k)
		}
	}
	p.model.update(all, end)
	for {
		keys, err := p.h.Store.OnNode(p.ctx, node, 2)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			if !on[k] {
				return fmt.Errorf("%v is on node %s, and should not be", k, node)
			}
			delete(on, k)
		}
		if err := p.h.Store.Update(p.ctx, keys, p.now, end); err != nil {
			return err
		}
	}
	if len(on) > 0 {
		return fmt.Errorf("%v were not found on node %s", on, node)
	}
	return nil
}

// hang has the sessions of a node hang on it.
func (p *player) hang(node presence.NodeID) error {
	keys, err := p.h.Store.OnNode(p.ctx, node, 1000)
	if err != nil || len(keys) == 0 {
		return err
	}
	return p.both(keys, func(_ int, st *presence.State) presence.Effect { return st.Hang(node, p.now) })
}

// check compares all that the store answers with the model.
func (p *player) check() error {
	for _, id := range []presence.AppID{"app0", "app1"} {
		var (
			ids  [][]byte
			keys []presence.Key
			list []presence.PeerID
			want presence.Counts
		)
		for i := range 7 {
			peer := fmt.Sprint("p", i)
			ids = append(ids, []byte(peer))
			keys = append(keys, presence.Key{App: id, Peer: presence.PeerID(peer)})
		}
		out := make([]presence.Status, len(ids))
		if _, err := p.h.Store.Statuses(p.ctx, id, ids, p.now, out); err != nil {
			return err
		}
		sums := make([]presence.Summary, len(ids))
		if _, err := p.h.Store.Summaries(p.ctx, keys, sums); err != nil {
			return err
		}
		for i, k := range keys {
			m := p.model[k]
			if err := p.same(k, m); err != nil {
				return err
			}
			st := m.Summary().At(p.now, &p.h.Rules).Status
			if out[i] != st {
				return fmt.Errorf("%v is %v, want %v", k, out[i], st)
			}
			if got := sums[i].At(p.now, &p.h.Rules).Status; got != st {
				return fmt.Errorf("the summary of %v is %v, want %v", k, got, st)
			}
			if st == presence.Online {
				list = append(list, k.Peer)
			}
			if m.Status == presence.Online {
				want.Online++
			}
			if m.Status != presence.Unknown {
				want.Known++
			}
		}
		if err := p.sameList(id, list); err != nil {
			return err
		}
		got, err := p.h.Store.Counts(p.ctx, id, p.now)
		if err != nil {
			return err
		}
		if got.Online != want.Online || got.Known != want.Known {
			return fmt.Errorf("counts of %s are %+v, want %+v", id, got, want)
		}
	}
	return nil
}

func (p *player) same(k presence.Key, want presence.State) error {
	var got presence.State
	if err := p.h.Store.Load(p.ctx, k, &got); err != nil {
		return err
	}
	want.Rev = got.Rev
	if want.Forgotten() {
		want = presence.State{}
		got.Rev = 0
	} else {
		packed := want.Pack(nil)
		want = presence.State{}
		if err := want.Unpack(packed); err != nil {
			return err
		}
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("the state of %v differs (-want +got):\n%s", k, diff)
	}
	return nil
}

func (p *player) sameList(id presence.AppID, want []presence.PeerID) error {
	var got []presence.PeerID
	for cursor := ""; ; {
		peers, next, err := p.h.Store.List(p.ctx, id, cursor, 2, p.now)
		if err != nil {
			return err
		}
		got = append(got, peers...)
		if next == "" {
			break
		}
		cursor = next
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("listed are %v, want %v", got, want)
	}
	return nil
}

func histories(b *bench) {
	p := &player{ctx: b.ctx, h: b.Harness, now: b.now, model: model{}}
	defer func() { b.Store = p.h.Store }()
	rapid.Check(bubbled{b.T}, func(t *rapid.T) {
		p.wipe(t)
		d := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			s := drawStep(d, p.h.Reopen != nil)
			if err := p.play(s); err != nil {
				t.Fatalf("%s: %v", s.kind, err)
			}
			if err := p.check(); err != nil {
				t.Fatalf("after %s: %v", s.kind, err)
			}
		}
	})
}

// wipe erases whatever the last history left, so that one store serves many.
func (p *player) wipe(t *rapid.T) {
	p.model = model{}
	var keys []presence.Key
	for a := range 2 {
		for i := range 7 {
			keys = append(keys, presence.Key{App: presence.AppID(fmt.Sprint("app", a)), Peer: presence.PeerID(fmt.Sprint("p", i))})
		}
	}
	err := p.h.Store.Update(p.ctx, keys, p.now, func(_ int, st *presence.State) presence.Effect {
		*st = presence.State{Rev: st.Rev}
		return presence.Shown
	})
	if err != nil {
		t.Fatalf("wipe: %v", err)
	}
}

// anyOrder judges named sessions by a model that knows nothing of states: of all the words about a
// session the greatest counts, unless an end-all is later.
func anyOrder(b *bench) {
	round := 0
	rapid.Check(bubbled{b.T}, func(t *rapid.T) {
		round++
		peer := fmt.Sprint("order", round)
		var reports []presence.Report
		// Of the source.
		clock := rapid.SampledFrom([]presence.Millis{0, 12_000, 3_600_000}).Draw(t, "clock")
		for range rapid.IntRange(1, 8).Draw(t, "reports") {
			r := b.on(peer, fmt.Sprint("s", rapid.IntRange(0, 2).Draw(t, "session")))
			r.Kind = presence.Kind(rapid.IntRange(1, 2).Draw(t, "kind"))
			r.At = b.now - presence.Millis(1000*rapid.IntRange(0, 5).Draw(t, "ago")) + clock
			r.Lease, r.Seq = hour, uint64(rapid.IntRange(0, 2).Draw(t, "seq"))
			if rapid.IntRange(0, 3).Draw(t, "end-all") == 0 {
				r.Kind, r.Session = presence.KindEndAll, rapid.SampledFrom([]presence.SessionID{"", "s", "s1"}).Draw(t, "prefix")
			}
			if !b.Rules.Admit(&r, b.now) {
				t.Fatal("stale")
			}
			reports = append(reports, r)
		}
		want := presence.Offline
		latest := map[presence.SessionID]presence.Report{}
		for _, r := range reports {
			if r.Kind == presence.KindEndAll {
				continue
			}
			l, ok := latest[r.Session]
			if c := cmp.Or(cmp.Compare(r.At, l.At), cmp.Compare(r.Seq, l.Seq)); !ok || c > 0 || c == 0 && r.Kind == presence.KindOnline {
				latest[r.Session] = r
			}
		}
		for _, l := range latest {
			over := slices.ContainsFunc(reports, func(r presence.Report) bool {
				return r.Kind == presence.KindEndAll && strings.HasPrefix(string(l.Session), string(r.Session)) && l.At < r.At
			})
			if l.Kind == presence.KindOnline && !over {
				want = presence.Online
			}
		}
		twice := append(slices.Clone(reports), reports...)
		for _, order := range [][]presence.Report{twice, rapid.Permutation(twice).Draw(t, "order")} {
			b.erase(keyOf(peer))
			for len(order) > 0 {
				n := rapid.IntRange(1, len(order)).Draw(t, "batch")
				if _, err := b.tryReport(order[:n]...); err != nil {
					t.Fatal(err)
				}
				order = order[n:]
			}
			out := make([]presence.Status, 1)
			if _, err := b.Store.Statuses(b.ctx, app, [][]byte{[]byte(peer)}, b.now, out); err != nil {
				t.Fatal(err)
			}
			if out[0] != want {
				t.Fatalf("%s is %v, want %v", peer, out[0], want)
			}
		}
	})
}

func restart(b *bench) { b.restarts(b.Reopen) }

func kill(b *bench) { b.restarts(b.Kill) }

func (b *bench) restarts(again func(presence.Millis) presence.Store) {
	peers := names("p", 300)
	var last uint64
	for round := range 4 {
		b.onlineAll(peers)
		b.now++
		b.report(b.off(peers[round], "1"))
		b.erase(keyOf("erased"), keyOf(peers[10+round]))
		b.report(b.on("erased", "1"))
		last = b.summary("erased").Rev
		b.erase(keyOf("erased"))
		before := b.load(keyOf(peers[50]))
		want, err := b.Store.Counts(b.ctx, app, b.now)
		b.must(err)

		b.Store = again(b.now)

		b.is(presence.Offline, peers[round])
		b.is(presence.Unknown, peers[10+round], "erased")
		b.is(presence.Online, peers[50:]...)
		b.counts(want)
		if diff := gocmp.Diff(before, b.load(keyOf(peers[50])), cmpopts.EquateEmpty()); diff != "" {
			b.Errorf("a state changed over the restart:\n%s", diff)
		}
		b.report(b.on("erased", "1"))
		if rev := b.summary("erased").Rev; rev <= last {
			b.Errorf("rev %d follows %d over a restart", rev, last)
		}
		b.now++
	}
	b.pass(25 * hour)
	b.sweep(100)
	b.is(presence.Offline, peers[50:]...)
}
