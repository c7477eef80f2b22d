package presence_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/presence"
)

func shared() *presence.Rules {
	rules := presence.DefaultRules()
	rules.Replay = presence.ReplayWithin
	return &rules
}

func alone() *presence.Rules {
	rules := presence.DefaultRules()
	return &rules
}

// hooksOf draws hooks of one peer in order of receipt.
func hooksOf(t *rapid.T, n int, from presence.Millis) (list []presence.Report) {
	tags := rapid.SampledFrom([][]string{{""}, {"phone"}, {"", "phone", "pad"}}).Draw(t, "tags")
	policy := rapid.SampledFrom([]presence.Policy{presence.PolicySum, presence.PolicySum, presence.PolicyLast}).Draw(t, "policy")
	gaps := rapid.SampledFrom([]int{3, 30, 200}).Draw(t, "gaps")
	at := from
	for i := range n {
		at = at.Add(time.Duration(1+rapid.IntRange(0, gaps*1000).Draw(t, "gap")) * time.Millisecond)
		r := presence.Report{
			App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Tag: rapid.SampledFrom(tags).Draw(t, "tag"), Policy: policy,
			Kind: presence.KindOnline, At: at, ID: fmt.Sprint(at, i), Lease: 7 * 24 * time.Hour,
		}
		if rapid.Bool().Draw(t, "offline") {
			r.Kind, r.Lease = presence.KindOffline, 0
			r.Cause = rapid.SampledFrom([]presence.Cause{presence.CauseUnknown, presence.CauseLogout, presence.CauseLost, presence.CauseReplaced, presence.CauseKicked}).Draw(t, "cause")
			r.Hold = rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "hold")
		} else {
			r.Reconnect = rapid.Bool().Draw(t, "again")
		}
		list = append(list, r)
	}
	return list
}

// shown is what answers show of st. When a peer with several slots turned depends on the order in
// which they come, as it does for sessions.
func shown(st *presence.State, now presence.Millis, single bool) string {
	s := st.Summary()
	text := fmt.Sprintf("%v until %d, seen %d;", s.Status, s.Until, s.LastSeen-t0)
	if single {
		text += fmt.Sprintf(" since %d, %v, hold %v;", s.Since-t0, s.Cause, s.Hold)
	}
	for i := range st.Slots {
		if n := st.Slots[i].Count(now); n > 0 {
			text += fmt.Sprintf(" %q %d", st.Slots[i].Tag, n)
		}
	}
	return text
}

// merge changes st as a store does, which keeps it packed and throws away what a merge without an
// effect made of it.
func merge(t tb, st *presence.State, fn func(*presence.State) presence.Effect) {
	t.Helper()
	next := repack(t, st)
	if fn(&next) != presence.Same {
		*st = next
	}
}

// Whatever node delivers its hooks first: the answer is that of the same hooks in order of receipt.
// A delivery may come twice.
func TestLateHooksCountAtTheirTime(t *testing.T) {
	rules := shared()
	rapid.Check(t, func(t *rapid.T) {
		before := hooksOf(t, rapid.IntRange(0, 3).Draw(t, "before"), t0)
		from := t0.Add(20 * time.Minute)
		hooks := hooksOf(t, rapid.IntRange(1, 12).Draw(t, "hooks"), from)
		for i := range hooks {
			hooks[i].Policy = append(before, hooks...)[0].Policy
		}
		now := hooks[len(hooks)-1].At.Add(time.Second)
		var want, got presence.State
		single := !slices.ContainsFunc(append(before, hooks...), func(r presence.Report) bool { return r.Tag != hooks[0].Tag })
		assumed := single && rapid.Bool().Draw(t, "assumed")
		if assumed {
			want, got = presence.Assume(t0.Add(-time.Hour), rules), presence.Assume(t0.Add(-time.Hour), rules)
		}
		for _, r := range append(slices.Clone(before), hooks...) {
			merge(t, &want, func(st *presence.State) presence.Effect { _, e := st.Apply(&r, r.At, rules); return e })
		}
		for _, r := range before {
			merge(t, &got, func(st *presence.State) presence.Effect { _, e := st.Apply(&r, r.At, rules); return e })
		}
		nodes := make([][]presence.Report, 3)
		for _, r := range hooks {
			n := rapid.IntRange(0, 2).Draw(t, "node")
			nodes[n] = append(nodes[n], r)
		}
		for _, n := range rapid.Permutation([]int{0, 1, 2}).Draw(t, "order") {
			for _, r := range nodes[n] {
				for range 1 + rapid.IntRange(0, 1).Draw(t, "twice") {
					merge(t, &got, func(st *presence.State) presence.Effect { _, e := st.Replay(&r, r.At, now, rules); return e })
				}
			}
		}
		if w, g := shown(&want, now, single && !assumed), shown(&got, now, single && !assumed); w != g {
			t.Fatalf("in order of receipt: %s\nnode by node:        %s\n%+v", w, g, got.Histories)
		}
	})
}

// countsOf turns some of hooks, which are of one untagged slot, into answers of the product.
func countsOf(t *rapid.T, hooks []presence.Report) {
	for i := range hooks {
		if r := &hooks[i]; rapid.IntRange(0, 2).Draw(t, "count") == 0 {
			*r = presence.Report{
				App: r.App, Peer: r.Peer, Source: r.Source, Policy: r.Policy, Kind: presence.KindCount, Cause: presence.CauseReconciled, At: r.At, ID: r.ID,
				Count: rapid.IntRange(-1, 3).Draw(t, "n"), Quiet: time.Duration(rapid.IntRange(0, 40).Draw(t, "quiet")) * time.Second, Lease: 7 * 24 * time.Hour,
			}
		}
	}
}

// unseen is when a peer was seen last: an answer that was overturned is a sign of it all the same.
var unseen = regexp.MustCompile(` seen [-0-9]+;`)

// An answer that changed something is counted at its time, too, and so are the hooks from before it
// that come later. One that agreed leaves no trace: a later answer puts right what late hooks made
// of it.
func TestLateHooksCountBeforeAnswers(t *testing.T) {
	rules := shared()
	counted, overturned := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		hooks := hooksOf(t, rapid.IntRange(2, 14).Draw(t, "hooks"), t0.Add(20*time.Minute))
		for i := range hooks {
			hooks[i].Tag = ""
		}
		countsOf(t, hooks)
		now := hooks[len(hooks)-1].At.Add(time.Second)
		nodes := make([][]presence.Report, 3)
		for _, r := range hooks {
			n := rapid.IntRange(0, 2).Draw(t, "node")
			nodes[n] = append(nodes[n], r)
		}
		var want, got presence.State
		kept := map[string]bool{}
		for _, n := range rapid.Permutation([]int{0, 1, 2}).Draw(t, "order") {
			for _, r := range nodes[n] {
				for range 1 + rapid.IntRange(0, 1).Draw(t, "twice") {
					merge(t, &got, func(st *presence.State) presence.Effect {
						o, e := st.Replay(&r, r.At, now, rules)
						kept[r.ID] = kept[r.ID] || o.Verdict == presence.Taken
						return e
					})
				}
			}
		}
		for _, r := range hooks {
			if r.Kind == presence.KindCount && !kept[r.ID] {
				continue
			}
			merge(t, &want, func(st *presence.State) presence.Effect {
				o, e := st.Apply(&r, r.At, rules)
				if r.Kind == presence.KindCount {
					if counted++; o.Verdict != presence.Taken {
						overturned++
					}
				}
				return e
			})
		}
		w, g := unseen.ReplaceAllString(shown(&want, now, true), ""), unseen.ReplaceAllString(shown(&got, now, true), "")
		if w != g {
			t.Fatalf("in order of receipt: %s\nnode by node:        %s\n%+v", w, g, got.Histories)
		}
		last := presence.Report{
			App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Policy: hooks[0].Policy, Kind: presence.KindCount, Cause: presence.CauseReconciled,
			At: now.Add(time.Minute), ID: "last", Count: rapid.IntRange(-1, 1).Draw(t, "last"), Quiet: 30 * time.Second,
		}
		merge(t, &got, func(st *presence.State) presence.Effect { _, e := st.Apply(&last, last.At, rules); return e })
		if online := got.Status == presence.Online; online != (last.Count != 0) {
			t.Fatalf("after the answer %d the peer is %v", last.Count, got.Status)
		}
	})
	if counted < 20 || overturned == 0 {
		t.Errorf("%d answers were counted, of which late hooks overturned %d: the histories are too tame", counted, overturned)
	}
}

// Of a peer with tags an answer settles what late hooks and older answers have made of it, in
// whatever order they came.
func TestAnswersSettleTags(t *testing.T) {
	for name, rules := range map[string]*presence.Rules{"shared": shared(), "alone": alone()} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				hooks := hooksOf(t, rapid.IntRange(1, 14).Draw(t, "hooks"), t0.Add(20*time.Minute))
				tags := slices.Clone(hooks)
				countsOf(t, hooks)
				for i := range hooks {
					if hooks[i].Kind != presence.KindCount {
						hooks[i] = tags[i]
					}
				}
				now := hooks[len(hooks)-1].At.Add(time.Minute)
				var st presence.State
				for _, r := range rapid.Permutation(hooks).Draw(t, "order") {
					merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Replay(&r, r.At, now, rules); return e })
				}
				for k, n := range rapid.SliceOfN(rapid.IntRange(-1, 1), 1, 3).Draw(t, "answers") {
					asked := presence.Asked{
						App: "a", Source: presence.SourceLeanCloud, At: now.Add(time.Duration(k) * time.Hour), Quiet: 30 * time.Second,
						Counted: true, Policy: hooks[0].Policy,
					}
					reports, find := asked.Reports("tom", &presence.Found{Online: n != 0, Listed: n > 0, Sessions: make([]presence.FoundSession, max(n, 0))}, &st, asked.At, rules)
					for _, r := range reports {
						merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Apply(&r, asked.At, rules); return e })
					}
					if online := st.Status == presence.Online; find == presence.FindingUnsure || online != (n != 0) {
						t.Fatalf("the answer %d is %v, and the peer %v: %+v", n, find, st.Status, st.Slots)
					}
				}
			})
		})
	}
}

// A report after a node was away for long: histories that were written by a replay stay whole for
// as long as others may replay theirs.
func TestHistoriesWaitForTheOtherNodes(t *testing.T) {
	rules := shared()
	var st presence.State
	back := t0.Add(2 * time.Hour)
	replay := func(word string, now presence.Millis) {
		r := hook(t, word, presence.PolicySum)
		r.ID = word
		merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Replay(&r, r.At, now, rules); return e })
	}
	// What one node has of two hours.
	for _, word := range []string{"+phone@0", "-phone@60", "-phone@1860"} {
		replay(word, back)
	}
	live := hook(t, "+pad@7200", presence.PolicySum)
	live.ID = "live"
	merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Apply(&live, live.At, rules); return e })
	for _, word := range []string{"+phone@120", "+phone@1900"} { // and the other
		replay(word, back.Add(time.Minute))
	}
	n := 0
	for i := range st.Slots {
		n += st.Slots[i].Count(back)
	}
	if st.Status != presence.Online || n != 2 {
		t.Errorf("%d open, %+v", n, st)
	}
}

// What is not needed is not written: a state without late hooks in sight is the one that earlier
// releases read.
func TestHistoriesEnd(t *testing.T) {
	rules := shared()
	var st presence.State
	for i := range 300 {
		r := hook(t, fmt.Sprintf("+@%d", i), presence.PolicySum)
		r.ID = fmt.Sprint(i)
		merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Apply(&r, r.At, rules); return e })
	}
	if n := len(st.Histories[0].Hooks); n != 128 || len(st.Deliveries) != 0 {
		t.Errorf("%d hooks and %d ids are kept", n, len(st.Deliveries))
	}
	if b := st.Pack(nil); b[8]>>4 != 2 {
		t.Errorf("packed in format %d", b[8]>>4)
	}
	r := presence.Report{App: "a", Peer: "tom", Source: presence.SourceAPI, Session: "s", Kind: presence.KindOnline, At: t0.Add(time.Hour)}
	merge(t, &st, func(st *presence.State) presence.Effect { _, e := st.Apply(&r, r.At, rules); return e })
	if b := st.Pack(nil); b[8]>>4 != 1 || len(st.Histories) != 0 {
		t.Errorf("packed in format %d with %d histories", b[8]>>4, len(st.Histories))
	}
	var one presence.State
	rules.Replay = 0
	r = hook(t, "+@0", presence.PolicySum)
	r.ID = "x"
	one.Apply(&r, r.At, rules)
	if b := one.Pack(nil); b[8]>>4 != 1 {
		t.Errorf("where no hook comes late a state is packed in format %d", b[8]>>4)
	}
}
