package presence_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/presence"
)

// life plays drawn reports of hooks, of sessions and of the sockets of the store called place, one
// each minute or so, into st from at on, and returns when it ended.
func life(t *rapid.T, place string, st *presence.State, at presence.Millis, rules *presence.Rules) presence.Millis {
	sockets := 0
	for range rapid.IntRange(0, 12).Draw(t, "reports") {
		at = at.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "gap")) * time.Second)
		r := presence.Report{
			App: "a", Peer: "tom", At: at,
			Kind:  rapid.SampledFrom([]presence.Kind{presence.KindOnline, presence.KindOffline, presence.KindTouch}).Draw(t, "kind"),
			Lease: rapid.SampledFrom([]time.Duration{0, 30 * time.Minute, 30 * time.Hour}).Draw(t, "lease"),
		}
		switch rapid.IntRange(0, 2).Draw(t, "from") {
		case 0:
			r.Source, r.Tag = presence.SourceLeanCloud, rapid.SampledFrom([]string{"", "phone"}).Draw(t, "tag")
			if rapid.IntRange(0, 4).Draw(t, "count") == 0 {
				r.Kind, r.Tag, r.Cause, r.Quiet = presence.KindCount, "", presence.CauseReconciled, 30*time.Second
				r.Count = rapid.IntRange(-1, 3).Draw(t, "n")
			}
		case 1:
			r.Source, r.Session = presence.SourceAPI, rapid.SampledFrom([]presence.SessionID{"x", "y", presence.SessionFound}).Draw(t, "session")
			if rapid.IntRange(0, 4).Draw(t, "end all") == 0 {
				r.Kind, r.Session = presence.KindEndAll, rapid.SampledFrom([]presence.SessionID{"", "x"}).Draw(t, "prefix")
			}
		default:
			r.Source, r.Lease, r.Node = presence.SourceGateway, 0, "n1"
			if r.Kind != presence.KindOffline {
				sockets++
				r.Kind, r.Session, r.Incarnation = presence.KindOnline, presence.SessionID(fmt.Sprint(place, "-", at, "-", sockets)), at
				break
			}
			open := slices.DeleteFunc(slices.Clone(st.Sessions), func(s presence.Session) bool {
				return s.Source != presence.SourceGateway || s.Ended || !strings.HasPrefix(string(s.ID), place+"-")
			})
			if len(open) == 0 {
				continue
			}
			r.Session, r.Incarnation = open[0].ID, open[0].Incarnation
		}
		apply(t, st, r, at, rules)
		if rapid.IntRange(0, 3).Draw(t, "sweep") == 0 {
			st.Expire(at, rules)
		}
		if rapid.IntRange(0, 9).Draw(t, "node lost") == 0 {
			st.EndNode(presence.LostNode{Node: "n1", At: at, Seen: at}, at, rules)
		}
		st.Rev = presence.NextRev(st.Rev, at)
	}
	return at
}

// exported returns st as a file has it that was written at at.
func exported(t tb, st presence.State, at presence.Millis) presence.State {
	st = repack(t, &st)
	st.Moved(at)
	return repack(t, &st)
}

// joined returns what a store makes of st when the others are joined into it.
func joined(t tb, now presence.Millis, rules *presence.Rules, st presence.State, others ...presence.State) presence.State {
	one := repack(t, &st)
	for i := range others {
		other := repack(t, &others[i])
		one.Join(&other, now, rules)
		one = repack(t, &one)
	}
	return one
}

// answers packs what questions are answered from. The ends of sockets are not in it: of these a
// store remembers only the last. Nor is, unless it is asked for, since when and why the peer is
// what it is: a join of some of the states may show a turn that the others together do not.
func answers(st presence.State, now presence.Millis, turn bool) []byte {
	st.Rev = 0
	if !turn {
		st.Since, st.Cause, st.Hold = 0, presence.CauseUnknown, 0
	}
	st.Sessions = slices.DeleteFunc(slices.Clone(st.Sessions), func(s presence.Session) bool { return !s.Live(now) })
	return st.Pack(nil)
}

func sharedRules() presence.Rules {
	rules := presence.DefaultRules()
	rules.Replay = presence.ReplayWithin
	return rules
}

func bothRules() map[string]presence.Rules {
	counting := sharedRules()
	counting.OnlineTime = true
	return map[string]presence.Rules{"alone": presence.DefaultRules(), "shared": counting}
}

// drawn runs prop over thousands of drawn histories; one takes a millisecond.
func drawn(t *testing.T, prop func(t *rapid.T)) {
	t.Helper()
	for range 20 {
		rapid.Check(t, prop)
	}
}

// The laws of a join, over what several stores made of the life of one peer. One store may go on
// from what another exported.
func TestJoin_is_commutative_associative_and_idempotent(t *testing.T) {
	for name, rules := range bothRules() {
		t.Run(name, func(t *testing.T) {
			drawn(t, func(t *rapid.T) {
				var s [3]presence.State
				now := t0
				for i := range s {
					at := t0
					if i > 0 && rapid.Bool().Draw(t, "goes on") {
						s[i], at = exported(t, s[i-1], now), now
					}
					now = max(now, life(t, fmt.Sprint(i), &s[i], at, &rules))
				}
				for i := range s {
					s[i] = exported(t, s[i], now)
				}
				nothing := presence.State{}
				a, b, c := joined(t, now, &rules, nothing, s[0]), joined(t, now, &rules, nothing, s[1]), joined(t, now, &rules, nothing, s[2])
				ab := joined(t, now, &rules, a, b)
				same := func(law string, x, y presence.State) {
					turn := law != "associative"
					if !bytes.Equal(answers(x, now, turn), answers(y, now, turn)) {
						t.Fatalf("%s:\n%+v\n%+v\n of %+v\nand %+v\nand %+v", law, x, y, a, b, c)
					}
				}
				same("commutative", ab, joined(t, now, &rules, b, a))
				same("idempotent", ab, joined(t, now, &rules, ab, b))
				same("idempotent", ab, joined(t, now, &rules, ab, s[0], s[1], ab))
				same("associative", joined(t, now, &rules, ab, c), joined(t, now, &rules, a, joined(t, now, &rules, b, c)))
			})
		})
	}
}

// Two stores that each received some of the reports about named sessions, joined, are one store
// that received all.
func TestJoin_agrees_with_merging_the_reports(t *testing.T) {
	rules := presence.DefaultRules()
	drawn(t, func(t *rapid.T) {
		now := t0 + 5000
		var a, b, all presence.State
		for range rapid.IntRange(1, 12).Draw(t, "reports") {
			r := drawReport(t, []time.Duration{time.Second, time.Hour})
			r.Node = ""
			if rapid.IntRange(0, 5).Draw(t, "end all") == 0 {
				r.Kind, r.Incarnation, r.Seq, r.Lease = presence.KindEndAll, 0, 0, 0
				r.Session = rapid.SampledFrom([]presence.SessionID{"", "x"}).Draw(t, "prefix")
			}
			to := rapid.IntRange(0, 2).Draw(t, "to")
			if to != 0 {
				apply(t, &a, r, now, &rules)
			}
			if to != 1 {
				apply(t, &b, r, now, &rules)
			}
			apply(t, &all, r, now, &rules)
		}
		got := joined(t, now, &rules, a, b)
		if got.Status != all.Status || got.LastSeen < all.LastSeen || len(got.Sessions) != len(all.Sessions) {
			t.Fatalf("joined\n%+v\ninstead of\n%+v", got, all)
		}
		for i := range got.Sessions {
			x, y := got.Sessions[i], all.Sessions[i]
			x.Start, x.Device, y.Start, y.Device = 0, "", 0, ""
			if x != y {
				t.Fatalf("joined\n%+v\ninstead of\n%+v", x, y)
			}
		}
	})
}

// What a store exported changes no answer of it when it is imported there, within a day.
func TestJoin_of_its_own_past_changes_no_answer(t *testing.T) {
	for name, rules := range bothRules() {
		t.Run(name, func(t *testing.T) {
			drawn(t, func(t *rapid.T) {
				var st presence.State
				at := life(t, "a", &st, t0, &rules)
				past := exported(t, st, at)
				now := life(t, "b", &st, at+1, &rules)
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "hours")) * time.Hour)
				st.Expire(now, &rules)
				was := st.Summary().At(now, &rules)
				got := joined(t, now, &rules, st, past)
				is := got.Summary().At(now, &rules)
				if is.Status != was.Status || is.Since != was.Since || is.Cause != was.Cause || is.LastSeen != was.LastSeen {
					t.Fatalf("its past makes of it\n%+v\n instead of\n%+v\npast %+v", got, st, past)
				}
			})
		})
	}
}

// An empty store that imports answers as the store that exported, but for when the leases of
// sockets end.
func TestJoin_into_nothing_answers_the_same(t *testing.T) {
	for name, rules := range bothRules() {
		t.Run(name, func(t *testing.T) {
			drawn(t, func(t *rapid.T) {
				var st presence.State
				now := life(t, "a", &st, t0, &rules)
				st.Expire(now, &rules)
				was := st.Summary()
				got := joined(t, now, &rules, presence.State{}, exported(t, st, now))
				is := got.Summary()
				was.Rev, was.Until, was.Noded, is.Rev, is.Until = 0, 0, false, 0, 0
				if is != was {
					t.Fatalf("%+v\ninstead of\n%+v", is, was)
				}
			})
		})
	}
}

func TestJoin_an_assumption_gives_way(t *testing.T) {
	rules := presence.DefaultRules()
	word := presence.Assume(t0+5000, &rules)
	var st presence.State
	if e := st.Join(&word, t0+5000, &rules); e != presence.Shown || st.Status != presence.Online {
		t.Fatalf("into nothing: %v, %v", e, st.Status)
	}
	hook := presence.Report{App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Kind: presence.KindOffline, At: t0 + 6000}
	if apply(t, &st, hook, t0+6000, &rules); st.Status != presence.Offline {
		t.Fatalf("after the hook that ends it: %v", st.Status)
	}
	if e := st.Join(&word, t0+7000, &rules); e != presence.Same || st.Status != presence.Offline {
		t.Fatalf("imported again: %v, %v", e, st.Status)
	}
}

// Words of a foreign writer that are read again and again.
func TestJoin_of_assumptions_follows_what_is_read(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	for i, step := range []struct {
		word   presence.State
		status presence.Status
		since  presence.Millis
	}{
		{presence.Assume(t0+1000, &rules), presence.Online, t0 + 1000},
		{presence.Assume(t0+2000, &rules), presence.Online, t0 + 1000},
		{presence.AssumeOffline(t0 + 2500), presence.Offline, t0 + 2500},
		{presence.Assume(t0+2000, &rules), presence.Offline, t0 + 2500},
		{presence.Assume(t0+3000, &rules), presence.Online, t0 + 3000},
	} {
		now := t0 + presence.Millis(i+1)*1000
		st.Join(&step.word, now, &rules)
		if st = repack(t, &st); st.Status != step.status || st.Since != step.since {
			t.Fatalf("after word %d: %+v", i, st)
		}
	}
	login := presence.Report{App: "a", Peer: "tom", Source: "api", Session: "x", Kind: presence.KindOnline, At: t0 + 5000}
	apply(t, &st, login, t0+5000, &rules)
	off := presence.AssumeOffline(t0 + 9000)
	if e := st.Join(&off, t0+9000, &rules); e != presence.Same || st.Status != presence.Online {
		t.Fatalf("the word counts more than a report: %v, %+v", e, st)
	}
}

// An hour after a logout the open hook of an older export is not believed; a day later a session
// of it that is open is dropped before it is joined.
func TestJoin_brings_back_no_session_that_has_ended(t *testing.T) {
	rules := presence.DefaultRules()
	hook := presence.Report{App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Kind: presence.KindOnline, At: t0}
	session := presence.Report{App: "a", Peer: "tom", Source: "api", Session: "x", Kind: presence.KindOnline, At: t0, Lease: 7 * 24 * time.Hour}
	var st presence.State
	apply(t, &st, hook, t0, &rules)
	apply(t, &st, session, t0, &rules)
	past := exported(t, st, t0)
	for _, r := range []*presence.Report{&hook, &session} {
		r.Kind, r.Cause, r.At = presence.KindOffline, presence.CauseLogout, t0+1000
		apply(t, &st, *r, t0+1000, &rules)
	}
	if got := joined(t, t0.Add(time.Hour), &rules, st, past); got.Status != presence.Offline {
		t.Errorf("after an hour: %+v", got)
	}
	now := t0.Add(25 * time.Hour)
	if !past.DropOpen(now) || past.DropOpen(now) {
		t.Error("the open session is not dropped once")
	}
	st.Expire(now, &rules)
	if got := joined(t, now, &rules, st, past); got.Status != presence.Offline || got.Since != t0+1000 {
		t.Errorf("after a day: %+v", got)
	}
}
