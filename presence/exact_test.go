package presence_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/presence"
)

// feed applies hooks spread evenly over less than a window, from at on, and returns when the last
// came.
func feed(st *presence.State, hooks []byte, tag string, at presence.Millis, rules *presence.Rules) presence.Millis {
	step := rules.Window / time.Duration(len(hooks)+1)
	for i, h := range hooks {
		r := presence.Report{App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Tag: tag, Kind: presence.KindOffline, At: at.Add(time.Duration(i) * step)}
		switch h {
		case '+':
			r.Kind = presence.KindOnline
		case 'k':
			r.Cause = presence.CauseReplaced
		}
		st.Apply(&r, r.At, rules)
	}
	return at.Add(time.Duration(len(hooks)) * step)
}

// orders calls fn with every order of the hooks in left, a count by kind.
func orders(left map[byte]int, fn func([]byte)) {
	var walk func([]byte)
	walk = func(played []byte) {
		more := false
		for _, h := range []byte("+-k") {
			if left[h] > 0 {
				more = true
				left[h]--
				walk(append(played, h))
				left[h]++
			}
		}
		if !more {
			fn(slices.Clone(played))
		}
	}
	walk(nil)
}

// Rule 4.5: within the window every order of the hooks of one or several devices gives the truth,
// when nothing is lost. All histories of up to twelve logins and logouts, from nothing and from one
// and two open sessions.
func TestSlotSumIsExactInEveryOrder(t *testing.T) {
	rules := presence.DefaultRules()
	played := 0
	for base := range 3 {
		for n := 1; n <= 12; n++ {
			for offs := 0; offs <= n; offs++ {
				truth := base + n - 2*offs // logins less logouts
				if truth < 0 {
					continue // not a history: more left than were there
				}
				orders(map[byte]int{'+': n - offs, '-': offs}, func(hooks []byte) {
					played++
					var st presence.State
					at := t0
					if base > 0 {
						feed(&st, []byte(strings.Repeat("+", base)), "", at, &rules)
						at = at.Add(time.Minute)
					}
					feed(&st, hooks, "", at, &rules)
					if got := st.Status == presence.Online; got != (truth > 0) {
						t.Fatalf("%d open, then %s: online %v, but %d are open", base, hooks, got, truth)
					}
				})
			}
		}
	}
	if played < 10_000 {
		t.Fatalf("only %d histories were played", played)
	}
}

// taggedTruths calls fn with the hooks of every history of up to n logins and logouts of one tag: a
// login while one is open ends it with a replaced offline.
func taggedTruths(n int, open bool, fn func(hooks map[byte]int, open bool)) {
	var walk func(left int, open bool, hooks map[byte]int)
	walk = func(left int, open bool, hooks map[byte]int) {
		fn(hooks, open)
		if left == 0 {
			return
		}
		hooks['+']++
		if open {
			hooks['k']++
		}
		walk(left-1, true, hooks)
		if hooks['+']--; open {
			hooks['k']--
			hooks['-']++
			walk(left-1, false, hooks)
			hooks['-']--
		}
	}
	walk(n, open, map[byte]int{})
}

// Rule 4.5: a tag is one device; every order of its hooks gives the truth, and after the quiet one
// hook decides.
func TestTaggedSlotIsExactInEveryOrder(t *testing.T) {
	rules := presence.DefaultRules()
	played := 0
	for _, base := range []bool{false, true} {
		taggedTruths(6, base, func(hooks map[byte]int, open bool) {
			orders(hooks, func(order []byte) {
				played++
				var st presence.State
				at := t0
				if base {
					feed(&st, []byte("+"), "phone", at, &rules)
					at = at.Add(time.Minute)
				}
				end := feed(&st, order, "phone", at, &rules)
				if got := st.Status == presence.Online; got != open {
					t.Fatalf("open before %v, then %s: online %v, in truth %v", base, order, got, open)
				}
				next := "+"
				if open {
					next = "-"
				}
				feed(&st, []byte(next), "phone", end.Add(rules.Window+time.Second), &rules)
				if got := st.Status == presence.Online; got == open {
					t.Fatalf("open before %v, then %s, quiet, %s: still online %v", base, order, next, got)
				}
			})
		})
	}
	if played < 1000 {
		t.Fatalf("only %d histories were played", played)
	}
}

// A stay is one connection of a device.
type stay struct {
	start, end presence.Millis
	cause      presence.Cause
}

// drawStays draws what one device does. A connection that died may be reported as ended long after
// the next began.
func drawStays(t *rapid.T, rules *presence.Rules, dying bool, most int) []stay {
	var all []stay
	at := t0
	for range rapid.IntRange(0, most).Draw(t, "stays") {
		s := stay{start: at.Add(time.Duration(rapid.IntRange(1, 60_000).Draw(t, "away")) * time.Millisecond), cause: presence.CauseLogout}
		s.end = s.start.Add(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "stays for")) * time.Millisecond)
		at = s.end
		if dying && rapid.Bool().Draw(t, "dies") {
			most := int((rules.Detect - 2*rules.Window) / time.Millisecond)
			s.end, s.cause = s.end.Add(time.Duration(rapid.IntRange(0, most).Draw(t, "unnoticed for"))*time.Millisecond), presence.CauseLost
		}
		all = append(all, s)
	}
	return all
}

type timedHook struct {
	at presence.Millis
	r  presence.Report
}

// drawHooks returns the hooks of stays, each less than a window late.
func drawHooks(t *rapid.T, rules *presence.Rules, tag string, stays []stay) []timedHook {
	var hooks []timedHook
	add := func(at presence.Millis, kind presence.Kind, cause presence.Cause) {
		at = at.Add(time.Duration(rapid.IntRange(0, int(rules.Window/time.Millisecond)-1).Draw(t, "late")) * time.Millisecond)
		hooks = append(hooks, timedHook{at, presence.Report{
			App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Tag: tag, Kind: kind, Cause: cause, At: at, ID: fmt.Sprint(tag, len(hooks)),
		}})
	}
	for _, s := range stays {
		add(s.start, presence.KindOnline, presence.CauseUnknown)
		add(s.end, presence.KindOffline, s.cause)
	}
	return hooks
}

// checkPlayed plays hooks, some of them delivered twice under one id, and compares the answer with
// the truth wherever nothing has begun or ended for a window.
func checkPlayed(t *rapid.T, rules *presence.Rules, stays []stay, hooks []timedHook) {
	slices.SortStableFunc(hooks, func(a, b timedHook) int { return int(a.at - b.at) })
	var (
		st    presence.State
		turns []presence.Millis
	)
	for _, s := range stays {
		turns = append(turns, s.start, s.end)
	}
	slices.Sort(turns)
	for _, turn := range turns {
		at := turn.Add(rules.Window)
		if slices.ContainsFunc(turns, func(o presence.Millis) bool { return o > turn && o <= at }) {
			continue // not quiet yet
		}
		for len(hooks) > 0 && hooks[0].at <= at {
			apply(t, &st, hooks[0].r, hooks[0].at, rules)
			if rapid.IntRange(0, 9).Draw(t, "twice") == 0 {
				if o := apply(t, &st, hooks[0].r, hooks[0].at, rules); o.Verdict != presence.Double {
					t.Fatalf("delivered twice under one id: %v", o.Verdict)
				}
			}
			hooks = hooks[1:]
		}
		is := slices.ContainsFunc(stays, func(s stay) bool { return s.start <= at && at < s.end })
		if got := st.Status == presence.Online; got != is {
			t.Fatalf("%v after the start: online %v, in truth %v\n%+v", at.Sub(t0), got, is, st.Slots)
		}
	}
}

// Rule 4.5 over days: one device whose connections die and are reported late is never shown
// wrongly.
func TestSlotSumIsExactForOneDevice(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		stays := drawStays(t, &rules, true, 30)
		checkPlayed(t, &rules, stays, drawHooks(t, &rules, "", stays))
	})
}

// Rule 4.5: several devices, within the time for which more than the known number are believed.
func TestSlotSumIsExactForSeveralDevices(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		var (
			stays []stay
			hooks []timedHook
		)
		for d := range rapid.IntRange(2, 4).Draw(t, "devices") {
			one := drawStays(t, &rules, false, 5)
			for i := range hooks {
				hooks[i].r.ID = fmt.Sprint("h", d, i)
			}
			stays = append(stays, one...)
			hooks = append(hooks, drawHooks(t, &rules, "", one)...)
		}
		for i := range hooks {
			hooks[i].r.ID = fmt.Sprint("h", i)
		}
		checkPlayed(t, &rules, stays, hooks)
	})
}

// Rule 4.5: devices with tags, for any time.
func TestSlotSumIsExactForTaggedDevices(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		var (
			stays []stay
			hooks []timedHook
		)
		for d := range rapid.IntRange(1, 3).Draw(t, "devices") {
			one := drawStays(t, &rules, false, 15)
			stays = append(stays, one...)
			hooks = append(hooks, drawHooks(t, &rules, fmt.Sprint("device", d), one)...)
		}
		checkPlayed(t, &rules, stays, hooks)
	})
}

// Rule 4.5: the policy last shows the hook that came last, whatever came before.
func TestSlotLastIsTheLastHook(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		var st presence.State
		at := t0
		for range rapid.IntRange(1, 20).Draw(t, "hooks") {
			at += presence.Millis(rapid.IntRange(0, 20_000).Draw(t, "gap"))
			r := presence.Report{
				App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Policy: presence.PolicyLast, At: at,
				Kind: rapid.SampledFrom([]presence.Kind{presence.KindOnline, presence.KindOffline}).Draw(t, "kind"),
				Tag:  rapid.SampledFrom([]string{"", "default", "phone"}).Draw(t, "tag"),
			}
			apply(t, &st, r, at, &rules)
			if got := st.Status == presence.Online; got != (r.Kind == presence.KindOnline) {
				t.Fatalf("after %v: online %v", r.Kind, got)
			}
		}
	})
}

// What is learned of an offline peer survives, and is unlearned when the number is not reached for
// a week.
func TestSlotLearnsDevices(t *testing.T) {
	learn := "+@0 +@100 -@1000 -@1001"
	_, st := play(t, learn, presence.PolicySum)
	if len(st.Slots) != 1 || st.Slots[0].Devices != 2 || st.Status != presence.Offline {
		t.Fatalf("an offline that finds nothing open after a session was given up: %+v", st.Slots)
	}
	for _, c := range []struct{ name, hooks, want string }{
		{"two are believed for ever", " +@2000 +@2001 -@90000 -@90001", "1110"},
		{"a third is given up", " +@2000 +@2001 +@2002 -@90000 -@90001", "11110"},
		{"a week without two, and one is known again", " +@605802 +@605900 -@607000", "110"},
	} {
		if got, _ := play(t, learn+c.hooks, presence.PolicySum); got[4:] != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got[4:], c.want)
		}
	}
	if _, st := play(t, "+@0 -@5", presence.PolicySum); len(st.Slots) != 0 {
		t.Errorf("nothing but defaults is known of the offline peer, and yet: %+v", st.Slots)
	}
}

// A storm of hooks of one peer leaves a bounded state.
func TestSlotIsBounded(t *testing.T) {
	rules := presence.DefaultRules()
	for _, hooks := range []string{strings.Repeat("-", 1000), strings.Repeat("+", 1000), strings.Repeat("k", 1000), strings.Repeat("+-k", 1000)} {
		for _, tag := range []string{"", "phone"} {
			var st presence.State
			feed(&st, []byte(hooks), tag, t0, &rules)
			s := &st.Slots[0]
			if len(s.Early) > 64 || len(s.Extra) > 64 {
				t.Errorf("%.3s… tag %q: %d early, %d extra", hooks, tag, len(s.Early), len(s.Extra))
			}
			if n := len(st.Pack(nil)); n > 600 {
				t.Errorf("%.3s… tag %q: packs to %d bytes", hooks, tag, n)
			}
		}
	}
	// All but one of a thousand lost logouts are given up at last.
	var st presence.State
	at := feed(&st, []byte(strings.Repeat("+", 1000)), "", t0, &rules)
	feed(&st, []byte("+-"), "", at.Add(rules.Detect+time.Minute), &rules)
	if n := st.Slots[0].Count(at.Add(rules.Detect + 2*time.Minute)); n != 1 {
		t.Errorf("%d sessions are still believed, want 1", n)
	}
}
