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

// tb is what a test, a benchmark and a drawn property have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// apply merges r as a store does: what is the Same is not kept, what is kept is packed.
func apply(t tb, st *presence.State, r presence.Report, now presence.Millis, rules *presence.Rules) presence.Outcome {
	t.Helper()
	before := st.Pack(nil)
	o, e := st.Apply(&r, now, rules)
	if e == presence.Same {
		if err := st.Unpack(before); err != nil {
			t.Fatal(err)
		}
		return o
	}
	*st = repack(t, st)
	return o
}

// words returns what st holds of its sessions, in the manner of the model.
func words(st *presence.State) []word {
	var all []word
	for _, s := range st.Sessions {
		all = append(all, word{s.Source, s.ID, s.Incarnation, s.At, s.Until, s.Ended, s.Seq, s.Node != ""})
	}
	return all
}

// bare returns st without what may depend on the order of arrival: the revision and what is for
// display only.
func bare(st presence.State) presence.State {
	st.Rev, st.Since = 0, 0
	if st.Status == presence.Offline {
		st.Cause, st.Hold = 0, 0
	}
	st.Sessions = slices.Clone(st.Sessions)
	for i := range st.Sessions {
		st.Sessions[i].Start, st.Sessions[i].Device = 0, ""
	}
	return st
}

// drawReport draws one of few reports, so that they meet.
func drawReport(t *rapid.T, leases []time.Duration) presence.Report {
	r := presence.Report{
		App: "a", Peer: "tom",
		Source:      rapid.SampledFrom([]presence.Source{"api", "emqx"}).Draw(t, "source"),
		Session:     rapid.SampledFrom([]presence.SessionID{"x", "y"}).Draw(t, "session"),
		Kind:        rapid.SampledFrom([]presence.Kind{presence.KindOnline, presence.KindOffline, presence.KindTouch}).Draw(t, "kind"),
		At:          t0 + presence.Millis(rapid.IntRange(0, 4).Draw(t, "at"))*1000,
		Incarnation: rapid.SampledFrom([]presence.Millis{0, 0, t0, t0 + 1000}).Draw(t, "incarnation"),
		Lease:       rapid.SampledFrom(leases).Draw(t, "lease"),
		Seq:         rapid.SampledFrom([]uint64{0, 0, 1, 2}).Draw(t, "seq"),
	}
	if r.Kind == presence.KindOffline {
		r.Cause = rapid.SampledFrom([]presence.Cause{presence.CauseLogout, presence.CauseLost}).Draw(t, "cause")
		r.Hold = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "hold")
	} else if rapid.IntRange(0, 3).Draw(t, "noded") == 0 {
		r.Node = rapid.SampledFrom([]presence.NodeID{"n1", "n2"}).Draw(t, "node")
	}
	return r
}

// Rule 4.1: any permutation, repetition and split of a set of reports ends in the same state.
func TestSessionMerge_order_repetition_and_split_leave_no_trace(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		leases := []time.Duration{0, time.Hour}
		lapsing := rapid.Bool().Draw(t, "lapsing")
		if lapsing {
			leases = append(leases, time.Second, 3*time.Second)
		}
		now := t0 + 5000
		// The clock of the source: right, ahead by less and by more than is believed, on both sides
		// of that edge, and by days.
		clock := rapid.SampledFrom([]presence.Millis{0, 0, 8000, 12_000, 20_000, 3_600_000, 3 * 86_400_000}).Draw(t, "clock")
		reports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) presence.Report { return drawReport(t, leases) }), 1, 10).Draw(t, "reports")
		for i := range reports {
			if reports[i].At += clock; !rules.Admit(&reports[i], now) {
				t.Fatal("stale")
			}
		}
		given := append(rapid.Permutation(reports).Draw(t, "given"), reports[:rapid.IntRange(0, len(reports)).Draw(t, "twice")]...)

		var one, other presence.State
		for _, r := range reports {
			one.Apply(&r, now, &rules)
		}
		for _, r := range given {
			apply(t, &other, r, now, &rules)
			if rapid.IntRange(0, 4).Draw(t, "sweep") == 0 {
				other.Expire(now, &rules)
			}
		}
		a, b := bare(repack(t, &one)), bare(other)
		if lapsing { // a lease that ran out in between was a sign of life all the same
			a.LastSeen, b.LastSeen = 0, 0
		}
		if got, want := fmt.Sprintf("%+v", b), fmt.Sprintf("%+v", a); got != want {
			t.Fatalf("given in another order:\n got %s\nwant %s", got, want)
		}
		status, seen := model(reports).status(now, &rules)
		if other.Status != status {
			t.Fatalf("status %v, the model says %v", other.Status, status)
		}
		if !lapsing && other.LastSeen != seen {
			t.Fatalf("last seen %d, the model says %d", other.LastSeen, seen)
		}
		if got, want := words(&other), model(reports).words(&rules); !slices.Equal(got, want) {
			t.Fatalf("sessions\n got %+v\nwant %+v", got, want)
		}
	})
}

// The first heartbeat of a node is no report, so it may come at any place among them: at the end
// the sessions are those of the same reports of a node that has sent heartbeats all the time.
func TestSessionMerge_the_first_heartbeat_may_come_at_any_time(t *testing.T) {
	rules := presence.DefaultRules()
	rapid.Check(t, func(t *rapid.T) {
		now := t0 + 5000
		reports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) presence.Report {
			r := drawReport(t, []time.Duration{time.Minute, time.Hour})
			if r.Node != "" {
				r.Node = "n1"
			}
			return r
		}), 1, 10).Draw(t, "reports")
		given := append(rapid.Permutation(reports).Draw(t, "given"), reports[:rapid.IntRange(0, len(reports)).Draw(t, "twice")]...)
		var beating, late presence.State
		for _, r := range reports {
			if r.Node != "" {
				r.Lease = 0
			}
			beating.Apply(&r, now, &rules)
		}
		from := rapid.IntRange(0, len(given)).Draw(t, "from")
		for i, r := range given {
			if i == from {
				late.Hang("n1", now)
			}
			if r.Node != "" && i >= from && rapid.Bool().Draw(t, "known") {
				r.Lease = 0 // the process that took the report knew of the heartbeat
			}
			apply(t, &late, r, now, &rules)
			if i >= from {
				late.Hang("n1", now)
			}
		}
		late.Hang("n1", now)
		if got, want := words(&late), words(&beating); !slices.Equal(got, want) || late.Status != beating.Status {
			t.Fatalf("sessions\n got %+v\nwant %+v", got, want)
		}
		lost := presence.LostNode{Node: "n1", At: now.Add(time.Minute), Seen: now}
		for _, st := range []*presence.State{&beating, &late} {
			st.EndNode(lost, now.Add(2*time.Minute), &rules)
		}
		if got, want := words(&late), words(&beating); !slices.Equal(got, want) {
			t.Fatalf("after its end\n got %+v\nwant %+v", got, want)
		}
	})
}

// A word is a report about session x, as "on@3", "off@3/1" (incarnation 1), "touch@3".
func sessionReport(t tb, word string) presence.Report {
	t.Helper()
	var (
		at, inc int
		r       = presence.Report{App: "a", Peer: "tom", Source: "api", Session: "x", Lease: time.Hour}
		kinds   = map[string]presence.Kind{"on": presence.KindOnline, "off": presence.KindOffline, "touch": presence.KindTouch}
	)
	kind, when, _ := strings.Cut(word, "@")
	if n, err := fmt.Sscanf(when, "%d/%d", &at, &inc); n == 0 {
		t.Fatalf("%s: %v", word, err)
	}
	r.Kind, r.At = kinds[kind], t0+presence.Millis(at)*1000
	if inc > 0 {
		r.Incarnation = t0 + presence.Millis(inc)
	}
	return r
}

// Rule 4.1, given aloud.
func TestSessionMerge(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		name    string
		reports []string
		want    string // status after each: 1 online, 0 offline
		verdict string // T taken, L late, D double
	}{
		{"online then offline", []string{"on@1", "off@2"}, "10", "TT"},
		{"the same report twice", []string{"on@1", "on@1", "off@2", "off@2"}, "1100", "TDTD"},
		{"an offline overtaken by a newer online", []string{"on@3", "off@2"}, "11", "TL"},
		{"an offline before its online", []string{"off@2", "on@1"}, "00", "TL"},
		{"at a tie online wins", []string{"off@2", "on@2"}, "01", "TT"},
		{"at a tie online wins, whoever comes first", []string{"on@2", "off@2"}, "11", "TL"},
		{"a session may come back", []string{"on@1", "off@2", "on@3"}, "101", "TTT"},
		{"a touch opens what was not heard of", []string{"touch@1"}, "1", "T"},
		{"a late touch brings nobody back", []string{"on@1", "off@5", "touch@4"}, "100", "TTL"},
		{"an offline ends only the incarnation it names", []string{"on@5/2", "off@9/1"}, "11", "TL"},
		{"within one incarnation an offline is final", []string{"on@5/1", "off@4/1", "on@9/1"}, "100", "TTL"},
		{"a newer incarnation opens it again", []string{"off@9/1", "on@5/2"}, "01", "TT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var (
				st            presence.State
				got, verdicts string
			)
			for _, w := range c.reports {
				o := apply(t, &st, sessionReport(t, w), t0+10_000, &rules)
				got += answer(st.Status)
				verdicts += map[presence.Verdict]string{presence.Taken: "T", presence.Late: "L", presence.Double: "D"}[o.Verdict]
			}
			if got != c.want || verdicts != c.verdict {
				t.Errorf("%v: got %s %s, want %s %s", c.reports, got, verdicts, c.want, c.verdict)
			}
		})
	}
}

// Rule 4.2: times that are too far ahead are clamped, too old ones change nothing.
func TestTimes(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		name  string
		at    presence.Millis
		admit bool
		then  presence.Millis
	}{
		{"now", t0, true, t0},
		{"a clock ten seconds ahead is believed", t0 + 10_000, true, t0 + 10_000},
		{"further ahead counts from the receipt, if no session orders it", t0 + 10_001, true, t0},
		{"a day old still counts", t0.Add(-24 * time.Hour), true, t0.Add(-24 * time.Hour)},
		{"older is stale", t0.Add(-24*time.Hour) - 1, false, t0.Add(-24*time.Hour) - 1},
	} {
		r := presence.Report{At: c.at}
		if ok := rules.Admit(&r, t0); ok != c.admit || r.At != c.then {
			t.Errorf("%s: got %v at %d, want %v at %d", c.name, ok, r.At, c.admit, c.then)
		}
	}
}

// Rule 4.3: a session is live while its lease runs; a touch extends it, a late one never shortens
// it.
func TestLeases(t *testing.T) {
	rules := presence.DefaultRules()
	on := sessionReport(t, "on@0")
	on.Lease, on.Hold = 45*time.Second, 10*time.Second
	var st presence.State
	apply(t, &st, on, t0, &rules)
	touch := on
	touch.Kind, touch.At = presence.KindTouch, t0+30_000
	if o, e := st.Apply(&touch, touch.At, &rules); o.Turned || e != presence.Quiet {
		t.Errorf("a touch that only extends: turned %v, effect %v, want a quiet write", o.Turned, e)
	}
	lapsed, back := repack(t, &st), touch
	back.At = t0 + 80_000
	if o, e := lapsed.Apply(&back, back.At, &rules); o.Turned || e != presence.Shown {
		t.Errorf("a touch of what was answered as offline since: turned %v, effect %v, want a write that is signalled", o.Turned, e)
	}
	late := on
	late.Kind, late.At = presence.KindTouch, t0+10_000
	if o := apply(t, &st, late, t0+31_000, &rules); o.Verdict != presence.Late || st.Until != t0+75_000 {
		t.Errorf("late touch: %v, lease until %d, want late and %d", o.Verdict, st.Until, t0+75_000)
	}
	if d := st.Deadline(&rules); d != t0+75_000 {
		t.Errorf("deadline %d, want %d", d, t0+75_000)
	}
	if o, e := st.Expire(t0+74_999, &rules); o.Turned || e != presence.Same {
		t.Error("expired a millisecond early")
	}
	o, e := st.Expire(t0+75_000, &rules)
	want := presence.Summary{
		Status: presence.Offline, Cause: presence.CauseExpired, Since: t0 + 75_000, LastSeen: t0 + 30_000, Hold: 10 * time.Second,
	}
	if !o.Turned || e != presence.Shown || o.Summary != want {
		t.Errorf("expired: got %+v, want %+v", o.Summary, want)
	}
}

// Rule 4.4: online while one session is live; offline is remembered for a week, then the peer is
// unknown.
func TestPeer(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	say := func(word, session string) presence.Outcome {
		r := sessionReport(t, word)
		r.Session = presence.SessionID(session)
		return apply(t, &st, r, r.At, &rules)
	}
	say("on@1", "x")
	if o := say("on@2", "y"); o.Turned || st.Since != t0+1000 {
		t.Errorf("a second session: turned %v, since %d, want since the first", o.Turned, st.Since)
	}
	if o := say("off@3", "x"); o.Turned || st.Status != presence.Online {
		t.Error("one of two ended: the peer must stay online")
	}
	if o := say("off@4", "y"); !o.Turned || st.Status != presence.Offline || st.Since != t0+4000 || st.LastSeen != t0+4000 {
		t.Errorf("the last ended: %+v", o.Summary)
	}
	week := (t0 + 4000).Add(rules.OfflineMemory)
	if d := st.Deadline(&rules); d != week {
		t.Errorf("deadline %d, want %d", d, week)
	}
	if st.Expire(week-1, &rules); st.Status != presence.Offline {
		t.Error("forgotten a millisecond early")
	}
	if o, _ := st.Expire(week, &rules); !o.Turned || !st.Forgotten() || st.Status != presence.Unknown {
		t.Errorf("after a week: %+v", st)
	}
}

// Rule 4.7: the loss of a node ends what hangs on it, once; an old word given again brings nothing
// back, a newer does.
func TestNodes(t *testing.T) {
	rules := presence.DefaultRules()
	on := sessionReport(t, "on@1")
	on.Node, on.Hold = "n1/1", 10*time.Second
	other := sessionReport(t, "on@1")
	other.Session, other.Node = "y", "n2/1"
	var st presence.State
	apply(t, &st, on, t0+1000, &rules)
	if !st.On("n1/1") || st.On("n2/1") {
		t.Fatal("which node holds it?")
	}
	if o, e := st.EndNode(presence.LostNode{Node: "n3/1", At: t0 + 15_000}, t0+16_000, &rules); o.Turned || e != presence.Same {
		t.Error("another node's end is nothing to it")
	}
	o, e := st.EndNode(presence.LostNode{Node: "n1/1", At: t0 + 15_000}, t0+16_000, &rules)
	st = repack(t, &st)
	if !o.Turned || e != presence.Shown || st.Cause != presence.CauseNodeLost || st.Since != t0+15_000 || st.Hold != 10*time.Second {
		t.Errorf("lost: %+v", o.Summary)
	}
	if c := st.Sessions[0].EndCause(); c != presence.CauseNodeLost {
		t.Errorf("its session ended because %v", c)
	}
	if _, e := st.EndNode(presence.LostNode{Node: "n1/1", At: t0 + 15_000}, t0+16_000, &rules); e != presence.Same {
		t.Error("a node ends once")
	}
	if o := apply(t, &st, on, t0+17_000, &rules); o.Verdict != presence.Double || st.Status != presence.Offline {
		t.Errorf("an old word given again: %v, %v", o.Verdict, st.Status)
	}
	again := on
	again.Kind, again.At = presence.KindTouch, t0+18_000
	if apply(t, &st, again, t0+18_000, &rules); st.Status != presence.Online {
		t.Error("a newer word must open it again")
	}
	apply(t, &st, other, t0+18_000, &rules)
	if o, _ := st.EndNode(presence.LostNode{Node: "n1/1", At: t0 + 20_000, Drained: true}, t0+20_000, &rules); o.Turned || st.Status != presence.Online {
		t.Error("the session on the other node lives")
	}
}

// A node that wakes reports its sessions again while another node, which found it lost, still ends
// them: what it reports after its lease stays, and what it reported before does not.
func TestNodeThatWakesIsSpared(t *testing.T) {
	rules := presence.DefaultRules()
	const lost = t0 + 15_000
	on := sessionReport(t, "on@1")
	on.Node = "n1"
	var st presence.State
	apply(t, &st, on, t0+1000, &rules)
	again := on
	again.At = lost + 5000
	apply(t, &st, again, lost+5000, &rules)
	if o, e := st.EndNode(presence.LostNode{Node: "n1", At: lost}, lost+5001, &rules); o.Turned || e != presence.Same || !st.On("n1") {
		t.Errorf("ended behind its back: %+v", o)
	}
	// It never beat again: the word alone carries it for a lease.
	bound := (lost + 5000).Add(presence.NodeLease)
	if o, _ := st.EndNode(presence.LostNode{Node: "n1", At: lost}, bound-1, &rules); o.Turned {
		t.Error("ended a millisecond early")
	}
	if o, _ := st.EndNode(presence.LostNode{Node: "n1", At: lost}, bound, &rules); !o.Turned || st.Status != presence.Offline {
		t.Errorf("not ended a lease after its last word: %+v", o)
	}
}

// Rule 4.9: a peer without a report is unknown, and that is no error.
func TestUnknown(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	if st.Summary().At(t0, &rules).Status != presence.Unknown || !st.Forgotten() || st.Deadline(&rules) != 0 {
		t.Errorf("the zero state: %+v", st.Summary())
	}
	if s, _ := presence.PeekStatus(nil, t0, &rules); s != presence.Unknown {
		t.Errorf("no bytes: %v", s)
	}
}

// A client that comes back every second under new names leaves a bounded state, and so do a
// thousand open sessions.
func TestStateIsBounded(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	for i := range 500 {
		for _, kind := range []presence.Kind{presence.KindOnline, presence.KindOffline} {
			r := sessionReport(t, "on@0")
			r.Session, r.Kind, r.At = presence.SessionID(fmt.Sprint(i)), kind, t0+presence.Millis(i)
			if kind == presence.KindOffline {
				r.At++
			}
			st.Apply(&r, r.At, &rules)
		}
	}
	if n := len(st.Sessions); n != 64 {
		t.Errorf("%d ended sessions are remembered, want 64", n)
	}
	if s := st.Sessions[0]; s.ID < "436" {
		t.Errorf("remembered %q, an older one than the latest 64", s.ID)
	}
	full := 0
	for i := range 1100 {
		r := sessionReport(t, "on@9")
		r.Session = presence.SessionID(fmt.Sprint("open", i))
		if o, _ := st.Apply(&r, r.At, &rules); o.Verdict == presence.Full {
			full++
		}
	}
	if full != 1100-1024 {
		t.Errorf("%d of 1100 sessions refused, want %d", full, 1100-1024)
	}
	st = presence.State{}
	for i := range 3000 {
		for _, kind := range []presence.Kind{presence.KindOffline, presence.KindOnline} {
			r := presence.Report{App: "a", Peer: "tom", Source: "leancloud", Tag: fmt.Sprint(i % 1500), Kind: kind, At: t0 + presence.Millis(i), ID: fmt.Sprint(kind, i)}
			st.Apply(&r, r.At, &rules)
		}
	}
	if len(st.Slots) > 1024 || len(st.Deliveries) > 64 {
		t.Errorf("%d slots and %d deliveries are remembered", len(st.Slots), len(st.Deliveries))
	}
}

// A source that names the session but not the time sends its delivery again: it is the same word,
// not a newer one.
func TestASessionCountsAnIDOnceWhenItsTimeIsThatOfReceipt(t *testing.T) {
	rules := presence.DefaultRules()
	const t0 = presence.Millis(1_700_000_000_000)
	hook := func(at presence.Millis, kind presence.Kind, session presence.SessionID, id string) presence.Report {
		return presence.Report{App: "a", Peer: "tom", Source: "api", Session: session, Kind: kind, At: t0 + at, ID: id, Received: true}
	}
	var st presence.State
	for i, step := range []struct {
		report presence.Report
		want   presence.Verdict
		status presence.Status
	}{
		{hook(0, presence.KindOnline, "1", "x"), presence.Taken, presence.Online},
		// One delivery, two sessions.
		{hook(1, presence.KindOnline, "2", "x"), presence.Taken, presence.Online},
		{hook(2, presence.KindOffline, "1", "y"), presence.Taken, presence.Online},
		{hook(3, presence.KindOffline, "2", "y"), presence.Taken, presence.Offline},
		{hook(4, presence.KindOnline, "1", "x"), presence.Double, presence.Offline},
		{hook(5, presence.KindOffline, "2", "y"), presence.Double, presence.Offline},
		{hook(6, presence.KindOnline, "1", "z"), presence.Taken, presence.Online},
	} {
		o, _ := st.Apply(&step.report, step.report.At, &rules)
		if o.Verdict != step.want || o.Summary.Status != step.status {
			t.Errorf("step %d: %v and %v, want %v and %v", i, o.Verdict, o.Summary.Status, step.want, step.status)
		}
	}
}

// A connection of the gateway has an id that is never used again, so a peer on a bad network must
// not be remembered by all of them.
func TestEndedConnectionsAreFew(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	now := presence.Millis(1_700_000_000_000)
	report := func(i int, kind presence.Kind, at presence.Millis) {
		r := presence.Report{
			App: "app", Peer: "tom", Source: presence.SourceGateway, Session: presence.SessionID(fmt.Sprint("c", i)), Node: "n", Kind: kind,
			At: at, Incarnation: now, Cause: presence.CauseLost,
		}
		st.Apply(&r, at, &rules)
	}
	for i := range 100 { // a connection a second
		now += 1000
		report(i, presence.KindOnline, now)
		report(i, presence.KindOffline, now+500)
	}
	if n := len(st.Sessions); n != 8 {
		t.Errorf("after a hundred connections in as many seconds %d are remembered, want 8", n)
	}
	report(99, presence.KindOnline, now) // sent again
	if st.Status != presence.Offline {
		t.Error("a report that was sent again opened a connection that has ended")
	}
	now += 60 * 60 * 1000
	report(100, presence.KindOnline, now)
	if n := len(st.Sessions); n != 2 {
		t.Errorf("an hour later %d sessions are remembered, want the one that lives and the latest end: %v", n, st.Sessions)
	}
	report(100, presence.KindOffline, now+1)
	if n := len(st.Sessions); n != 1 || st.Status != presence.Offline || st.LastSeen != now+1 {
		t.Errorf("after its end %d are remembered, it is %v, last seen %v", n, st.Status, st.LastSeen)
	}
}
