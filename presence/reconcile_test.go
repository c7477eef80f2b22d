package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// said returns the reports of a story about sessions of source "im": +id, -id and ~id (a touch) at
// seconds, -* for an end-all.
func said(t tb, story string) (reports []presence.Report) {
	t.Helper()
	for _, word := range strings.Fields(story) {
		body, when, _ := strings.Cut(word, "@")
		var seconds float64
		if _, err := fmt.Sscan(when, &seconds); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		r := presence.Report{
			App: "a", Peer: "tom", Source: "im", Session: presence.SessionID(body[1:]), At: t0.Add(time.Duration(seconds * float64(time.Second))),
			Kind: map[byte]presence.Kind{'+': presence.KindOnline, '-': presence.KindOffline, '~': presence.KindTouch}[body[0]], Lease: time.Hour,
		}
		if body == "-*" {
			r.Session, r.Kind = "", presence.KindEndAll
		}
		if r.Kind == presence.KindOffline || r.Kind == presence.KindEndAll {
			r.Lease, r.Cause = 0, presence.CauseLogout
		}
		reports = append(reports, r)
	}
	return reports
}

// found reads an answer: "no", "yes", or the ids of sessions.
func found(text string) *presence.Found {
	f := &presence.Found{Online: text != "no", Listed: text != "no" && text != "yes"}
	if f.Listed {
		for _, id := range strings.Fields(text) {
			f.Sessions = append(f.Sessions, presence.FoundSession{ID: presence.SessionID(id), Platform: "ios", Since: t0.Add(time.Second)})
		}
	}
	return f
}

func openIDs(st *presence.State, now presence.Millis) string {
	var ids []string
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(now) {
			ids = append(ids, string(s.ID))
		}
	}
	return strings.Join(ids, " ")
}

// An answer of a source whose events name sessions, asked at 100 s and at most 10 s old.
func TestAnswersOfNamedSessions(t *testing.T) {
	rules := presence.DefaultRules()
	const half = "+a@-2000"
	for _, c := range []struct {
		name, before, answer, after string // after: events that come later
		find                        presence.Finding
		open                        string
		reports                     int
	}{
		{"it agrees", "+a@0", "a", "", presence.FindingAgrees, "a", 0},
		{"it agrees that there is none", "+a@0 -a@50", "no", "", presence.FindingAgrees, "", 0},
		{"it agrees on a peer that is not known", "", "no", "", presence.FindingAgrees, "", 0},
		{"yes agrees", "+a@0 +b@1", "yes", "", presence.FindingAgrees, "a b", 0},
		{"half of the lease is over", half, "a", "", presence.FindingAgrees, "a", 1},
		{"half of the lease is over, and it says yes", half + " +b@-2500", "yes", "", presence.FindingAgrees, "a b", 1},
		{"a lost logout", "+a@0", "no", "", presence.FindingGhost, "", 1},
		{"one of two", "+a@0 +b@1", "b", "", presence.FindingSessions, "b", 2},
		{"a logout on its way", "+a@0", "no", "-a@95", presence.FindingGhost, "", 1},
		{"a login on its way", "+a@0", "no", "+b@95", presence.FindingGhost, "b", 1},
		{"a login in the quiet", "+a@91", "no", "", presence.FindingUnsure, "a", 0},
		{"one of two in the quiet", "+a@0 +b@91", "no", "", presence.FindingSessions, "b", 1},
		{"a lost login", "", "a", "", presence.FindingMissed, "a", 1},
		{"a lost login, and its logout", "", "a", "-a@110", presence.FindingMissed, "", 1},
		{"a lost login beside another", "+a@0", "a b", "", presence.FindingSessions, "a b", 2},
		{"an id that is used again", "+a@0 -a@50", "a", "", presence.FindingMissed, "a", 1},
		{"a logout in the quiet", "+a@0 -a@91", "a", "", presence.FindingUnsure, "", 0},
		{"an end-all in the quiet", "+a@0 -*@91", "a", "", presence.FindingUnsure, "", 0},
		{"an end-all in the quiet, and a session that was not known", "+a@0 -*@91", "b", "", presence.FindingUnsure, "", 0},
		{"another session than was known", "+a@0", "b", "", presence.FindingSessions, "b", 2},
		{"yes, and no session is known", "", "yes", "", presence.FindingMissed, "!found", 1},
		{"yes, and the last session ended", "+a@0 -a@50", "yes", "", presence.FindingMissed, "!found", 1},
		{"yes, and it ended in the quiet", "+a@0 -a@91", "yes", "", presence.FindingUnsure, "", 0},
		{"yes, and an end-all in the quiet", "+a@0 -*@91", "yes", "", presence.FindingUnsure, "", 0},
		{"what was found gives way to a login", "", "yes", "+a@110", presence.FindingMissed, "a", 1},
		{"and to a logout", "", "yes", "-a@110", presence.FindingMissed, "", 1},
		{"and to both", "", "yes", "-a@112 +a@110", presence.FindingMissed, "", 1},
		{"but not to what is older", "", "yes", "-a@80", presence.FindingMissed, "!found", 1},
		{"a list ends what was found", "+!found@0", "a", "", presence.FindingSessions, "a", 2},
		{"the clock of the source is behind", "+a@75", "no", "", presence.FindingUnsure, "a", 0},
	} {
		var st presence.State
		now := t0.Add(101 * time.Second)
		for _, r := range said(t, c.before) {
			apply(t, &st, r, now, &rules)
		}
		asked := presence.Asked{App: "a", Source: "im", At: t0.Add(100 * time.Second), Quiet: 10 * time.Second, Lease: time.Hour}
		if strings.Contains(c.name, "clock") {
			asked.Date = t0.Add(80 * time.Second)
		}
		before := fmt.Sprintf("%+v", st)
		reports, find := asked.Reports("tom", found(c.answer), &st, now, &rules)
		if after := fmt.Sprintf("%+v", st); after != before {
			t.Errorf("%s: the state was changed", c.name)
		}
		for _, r := range append(reports, said(t, c.after)...) {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			apply(t, &st, r, now, &rules)
			st = *repacked(t, &st)
		}
		if got := openIDs(&st, now); find != c.find || got != c.open || len(reports) != c.reports {
			t.Errorf("%s: %v, open are %q, %d reports; want %v, %q and %d", c.name, find, got, len(reports), c.find, c.open, c.reports)
		}
		if again, find := asked.Reports("tom", found(c.answer), &st, now, &rules); c.after == "" && find != presence.FindingUnsure && (find != presence.FindingAgrees && c.find != presence.FindingSessions || len(again) > 0) {
			t.Errorf("%s, again: %v with %d reports", c.name, find, len(again))
		}
	}
}

// An answer touches a session as what it is: with its incarnation, and its node.
func TestAnswersKeepWhatASessionIs(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	r := said(t, "+a@0")[0]
	r.Incarnation, r.Node, r.Lease = t0-5, "im:a:n1", 0
	apply(t, &st, r, t0, &rules)
	asked := presence.Asked{App: "a", Source: "im", At: t0.Add(100 * time.Second), Quiet: 10 * time.Second}
	reports, _ := asked.Reports("tom", found("a b"), &st, asked.At, &rules)
	for _, r := range reports {
		apply(t, &st, r, asked.At, &rules)
	}
	if s := st.Sessions[0]; s.Incarnation != t0-5 || s.Node != "im:a:n1" || s.Until < asked.At.Add(8*24*time.Hour) || s.At != t0.Add(90*time.Second) {
		t.Errorf("%+v", s)
	}
	if s := st.Sessions[1]; s.Start != t0.Add(time.Second) || s.Device != "ios" || s.Until != s.At.Add(rules.Lease) {
		t.Errorf("%+v", s)
	}
	// The end of one incarnation is final: what is there now is another.
	r.Kind = presence.KindOffline
	apply(t, &st, r, t0, &rules)
	asked.At = t0.Add(1000 * time.Second)
	reports, find := asked.Reports("tom", found("a b"), &st, asked.At, &rules)
	for _, r := range reports {
		apply(t, &st, r, asked.At, &rules)
	}
	if got := openIDs(&st, asked.At); find != presence.FindingSessions || got != "a b" {
		t.Errorf("%v, open are %q", find, got)
	}
}

// What no event could name is left out, and the rest of the answer counts.
func TestAnswersThatCannotBeReports(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	asked := presence.Asked{App: "a", Source: "im", At: t0.Add(100 * time.Second), Quiet: 10 * time.Second}
	f := found("a " + strings.Repeat("x", presence.MaxName+1))
	reports, find := asked.Reports("tom", f, &st, asked.At, &rules)
	if len(reports) != 1 || find != presence.FindingMissed || reports[0].Session != "a" {
		t.Errorf("%v: %+v", find, reports)
	}
}

// Of a source that names no sessions an answer is a count, and one that agrees is no report.
func TestAnswersOfCountedSources(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		hooks, answer string
		find          presence.Finding
		count         int // -9: no report
	}{
		{"+@0", "yes", presence.FindingAgrees, -9},
		{"+@0", "a", presence.FindingAgrees, -9},
		{"+@0", "a b", presence.FindingSessions, 2},
		{"+@0", "no", presence.FindingGhost, 0},
		{"+@80", "no", presence.FindingUnsure, -9},
		{"+@0 -@1", "yes", presence.FindingMissed, -1},
		{"+@0 -@1", "a b c", presence.FindingMissed, 3},
		{"+@-305000", "yes", presence.FindingAgrees, -1}, // half of the lease is over
		{"", "no", presence.FindingAgrees, -9},
		{"", "yes", presence.FindingMissed, -1},
	} {
		_, st := play(t, c.hooks, presence.PolicySum)
		asked := presence.Asked{App: "a", Source: presence.SourceLeanCloud, At: t0.Add(100 * time.Second), Quiet: 30 * time.Second, Counted: true}
		reports, find := asked.Reports("tom", found(c.answer), &st, asked.At, &rules)
		count := -9
		for _, r := range reports {
			if count = r.Count; r.Validate() != nil || r.Kind != presence.KindCount {
				t.Errorf("%+v", r)
			}
		}
		if find != c.find || count != c.count {
			t.Errorf("%q, then %q: %v with %d, want %v with %d", c.hooks, c.answer, find, count, c.find, c.count)
		}
	}
}

// A source of which some events name sessions and some do not holds nothing when it says so.
func TestAnswersEndSessionsAndSlots(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		session, hook float64 // when they came; asked at 100
		answer        string
		find          presence.Finding
		want          presence.Status
	}{
		{0, 0, "no", presence.FindingGhost, presence.Offline},
		{0, 80, "no", presence.FindingSessions, presence.Online},
		{95, 0, "no", presence.FindingSessions, presence.Online},
		{95, 80, "no", presence.FindingUnsure, presence.Online},
		{0, 0, "yes", presence.FindingAgrees, presence.Online},
		{-1, 0, "no", presence.FindingGhost, presence.Offline},
		{-1, 0, "yes", presence.FindingAgrees, presence.Online},
		{0, -1, "no", presence.FindingGhost, presence.Offline},
	} {
		for _, counted := range []bool{false, true} {
			var st presence.State
			asked := presence.Asked{App: "a", Source: "im", At: t0.Add(100 * time.Second), Quiet: 10 * time.Second, Counted: counted}
			if c.session >= 0 {
				apply(t, &st, said(t, fmt.Sprintf("+a@%g", c.session))[0], asked.At, &rules)
			}
			if c.hook >= 0 {
				r := hook(t, fmt.Sprintf("+@%g", c.hook), presence.PolicySum)
				r.Source = "im"
				apply(t, &st, r, r.At, &rules)
			}
			reports, find := asked.Reports("tom", found(c.answer), &st, asked.At, &rules)
			for _, r := range reports {
				apply(t, &st, r, asked.At, &rules)
			}
			if find != c.find || st.Status != c.want {
				t.Errorf("%+v, counted %v: %v, %v", c, counted, find, st.Status)
			}
		}
	}
}
