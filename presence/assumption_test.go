package presence_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// TestAnAssumptionIsReplacedByTheFirstReport: a foreign word "online" may stand for the session
// that the first hook is about, so it is no session of its own beside it, whatever the hook, tag,
// policy and source.
func TestAnAssumptionIsReplacedByTheFirstReport(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		name, hooks string
		want        string // after each hook: 1 online, 0 offline
	}{
		{"login and logout", "+@0 -@20", "10"},
		{"logout", "-@0", "0"},
		{"logout, then login at once", "-@0 +@1", "01"},
		{"logout and a new run", "-@0 +@20 -@40", "010"},
		{"two logins, two logouts", "+@0 +@20 -@40 -@60", "1110"},
		{"login and logout of a tag", "+phone@0 -phone/logout@20", "10"},
		{"logout of a tag", "-phone/lost@0", "0"},
		{"replaced by a newer login, of a tag", "-phone/replaced@0 +phone@1 -phone/logout@30", "110"},
		{"replaced by a newer login", "-/replaced@0 +@1 -@30", "110"},
		{"login of one tag, logout of another", "+phone@0 -pad@20 -phone@40", "110"},
	} {
		for _, policy := range []presence.Policy{presence.PolicySum, presence.PolicyLast} {
			// The word is read a moment after the hook came.
			st := presence.Assume(t0+30, &rules)
			got := ""
			for _, word := range strings.Fields(c.hooks) {
				r := hook(t, word, policy)
				st.Apply(&r, r.At, &rules)
				got += map[presence.Status]string{presence.Online: "1", presence.Offline: "0"}[st.Status]
				st = repack(t, &st)
			}
			want := c.want
			if policy == presence.PolicyLast && strings.HasPrefix(c.name, "two") {
				want = "1100"
			}
			if policy == presence.PolicyLast && strings.HasPrefix(c.name, "login of one") {
				want = "100"
			}
			if got != want {
				t.Errorf("%s, policy %v: %s, want %s", c.name, policy, got, want)
			}
			for _, s := range st.Slots {
				if s.Assumed() {
					t.Errorf("%s, policy %v: the assumption stands beside reports: %+v", c.name, policy, st.Slots)
				}
			}
		}
	}
	for _, kind := range []presence.Kind{presence.KindOnline, presence.KindOffline, presence.KindTouch} {
		st := presence.Assume(t0, &rules)
		r := sessionReport(t, "on@1")
		r.Kind = kind
		o, _ := st.Apply(&r, r.At, &rules)
		if want := kind == presence.KindOffline; len(st.Slots) != 0 || (st.Status == presence.Offline) != want || o.Turned != want {
			t.Errorf("after a session's %v: %+v, %+v", kind, o, st)
		}
	}
	st := presence.Assume(t0, &rules)
	r := hook(t, "+@3600", presence.PolicySum)
	r.Kind = presence.KindTouch
	if st.Apply(&r, r.At, &rules); st.Status != presence.Online || len(st.Slots) != 1 || st.Slots[0].Until != r.At.Add(rules.Lease) {
		t.Errorf("after a touch of hooks: %+v", st)
	}
	st = presence.Assume(t0, &rules)
	if st.Expire(t0.Add(rules.Lease), &rules); st.Status != presence.Offline || st.Cause != presence.CauseExpired || len(st.Slots) != 0 {
		t.Errorf("after its lease: %+v", st)
	}
	r.Source = presence.SourceRecipe
	if err := r.Validate(); !errors.Is(err, presence.ErrInvalid) {
		t.Errorf("a report whose source is %q is valid", r.Source)
	}
}

// An assumption is named as such in why.
func TestWhyNamesAnAssumption(t *testing.T) {
	rules := presence.DefaultRules()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, t0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	key := presence.Key{App: "a", Peer: "tom"}
	if err := st.Update(t.Context(), []presence.Key{key}, t0, func(_ int, s *presence.State) presence.Effect {
		*s = presence.Assume(t0, &rules)
		return presence.Shown
	}); err != nil {
		t.Fatal(err)
	}
	var state presence.State
	if err := st.Load(t.Context(), key, &state); err != nil {
		t.Fatal(err)
	}
	e := presence.NewService(st, presence.DefaultConfig()).Explain(key, &state, t0.Add(time.Hour))
	if !strings.Contains(e.Why, "assumed until the first report, at most 6 d 23 h more") || len(e.Slots) != 1 || e.Slots[0].Source != "recipe" {
		t.Errorf("%q, %+v", e.Why, e.Slots)
	}
}
