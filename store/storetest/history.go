package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"rollcall/presence"
)

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
