package presence_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

func endAll(prefix string, at presence.Millis) presence.Report {
	return presence.Report{App: "a", Peer: "tom", Source: "api", Session: presence.SessionID(prefix), Kind: presence.KindEndAll, At: at, Cause: presence.CauseLogout}
}

func session(kind presence.Kind, id string, at presence.Millis) presence.Report {
	return presence.Report{App: "a", Peer: "tom", Source: "api", Session: presence.SessionID(id), Kind: kind, At: at, Lease: time.Hour}
}

// endedModel is the model of sessions and end-alls: the greatest report of each session, and of
// each end-all whether it is later.
type endedModel []presence.Report

// open returns the ids of the sessions that are open at now.
func (m endedModel) open(now presence.Millis, rules *presence.Rules) []string {
	var words model
	for _, r := range m {
		if r.Kind != presence.KindEndAll {
			words = append(words, r)
		}
	}
	var open []string
	all := words.words(rules)
	for _, w := range all {
		over := w.session == presence.SessionFound && slices.ContainsFunc(all, func(o word) bool {
			return o.source == w.source && o.session != w.session && o.at > w.at
		})
		over = over || slices.ContainsFunc(m, func(r presence.Report) bool {
			return r.Kind == presence.KindEndAll && r.Source == w.source && strings.HasPrefix(string(w.session), string(r.Session)) && w.at < r.At
		})
		if !w.ended && !over && now < w.until {
			open = append(open, string(w.source)+" "+string(w.session))
		}
	}
	return open
}

func openSessions(st *presence.State, now presence.Millis) []string {
	var open []string
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(now) {
			open = append(open, string(s.Source)+" "+string(s.ID))
		}
	}
	return open
}

// TestEndAll_order_repetition_and_split_leave_no_trace: 20,000 drawn histories, each in two orders,
// repeated and swept in between, end in one state, whose open sessions are those of the model.
func TestEndAll_order_repetition_and_split_leave_no_trace(t *testing.T) {
	rules := presence.DefaultRules()
	ended, outlived := 0, 0
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := t0 + 10_000
		var reports endedModel
		for range 1 + r.IntN(10) {
			one := session(presence.Kind(1+r.IntN(3)), []string{"ios/1", "ios/2", "web/1", "w", string(presence.SessionFound)}[r.IntN(5)], t0+presence.Millis(r.IntN(6))*1000)
			one.Source = []presence.Source{"api", "api", "emqx"}[r.IntN(3)]
			one.Incarnation = []presence.Millis{0, 0, 0, t0, t0 + 1000}[r.IntN(5)]
			one.Seq = uint64(r.IntN(2))
			if r.IntN(3) == 0 {
				one = endAll([]string{"", "ios/", "w", "ios/1", "web/"}[r.IntN(5)], t0+presence.Millis(r.IntN(7))*1000)
				one.Source = []presence.Source{"api", "api", "emqx"}[r.IntN(3)]
				one.Cause, one.Hold = presence.Cause(r.IntN(5)), time.Duration(r.IntN(2))*time.Second
			}
			reports = append(reports, one)
		}
		var one, other presence.State
		for _, report := range reports {
			apply(t, &one, report, now, &rules)
		}
		again := append(slices.Clone(reports), reports[:r.IntN(len(reports)+1)]...)
		r.Shuffle(len(again), func(i, k int) { again[i], again[k] = again[k], again[i] })
		for _, report := range again {
			apply(t, &other, report, now, &rules)
			if r.IntN(4) == 0 {
				other.Expire(now, &rules)
				other = *repacked(t, &other)
			}
		}
		want := reports.open(now, &rules)
		for _, st := range []*presence.State{&one, &other} {
			if got := openSessions(st, now); !slices.Equal(got, want) {
				t.Fatalf("seed %d: open are %q, want %q\n%s", seed, got, want, listing(reports))
			}
			if online := st.Status == presence.Online; online != (len(want) > 0) {
				t.Fatalf("seed %d: the peer is %v, open are %q\n%s", seed, st.Status, want, listing(reports))
			}
		}
		if got, want := fmt.Sprintf("%+v", bare(other)), fmt.Sprintf("%+v", bare(one)); got != want {
			t.Fatalf("seed %d, in another order:\n got %s\nwant %s\n%s", seed, got, want, listing(reports))
		}
		for i := range one.Sessions {
			if s := &one.Sessions[i]; s.Over.At != 0 {
				ended++
			} else if s.Live(now) && len(one.EndAlls) > 0 {
				outlived++
			}
		}
	}
	if ended < 5000 || outlived < 5000 {
		t.Errorf("%d sessions were ended by an end-all and %d outlived one: the histories are too tame", ended, outlived)
	}
}

func listing(reports []presence.Report) string {
	var b strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&b, "%s %s %q at %d inc %d seq %d\n", r.Source, r.Kind, r.Session, r.At-t0, max(0, r.Incarnation-t0+1), r.Seq)
	}
	return b.String()
}

func repacked(t *testing.T, st *presence.State) *presence.State {
	s := repack(t, st)
	return &s
}

func TestEndAll(t *testing.T) {
	rules := presence.DefaultRules()
	now := t0 + 60_000
	for _, c := range []struct {
		name    string
		reports []presence.Report
		want    presence.Status
		since   presence.Millis
		cause   presence.Cause
	}{
		{"ends what is older", []presence.Report{session(1, "x", t0), endAll("", t0+5)}, presence.Offline, t0 + 5, presence.CauseLogout},
		{"spares what is newer", []presence.Report{session(1, "x", t0+9), endAll("", t0+5)}, presence.Online, t0 + 9, 0},
		{"loses a tie", []presence.Report{session(1, "x", t0+5), endAll("", t0+5)}, presence.Online, t0 + 5, 0},
		{"ends what is reported late", []presence.Report{endAll("", t0+5), session(1, "x", t0)}, presence.Offline, t0 + 5, presence.CauseLogout},
		{"of a prefix spares others", []presence.Report{session(1, "ios/x", t0), session(1, "web/x", t0), endAll("ios/", t0+5)}, presence.Online, t0, 0},
		{"of another source changes nothing", []presence.Report{
			session(1, "x", t0), {App: "a", Peer: "tom", Source: "emqx", Kind: presence.KindEndAll, At: t0 + 5},
		}, presence.Online, t0, 0},
		{"of an unknown peer says that it is offline", []presence.Report{endAll("", t0+5)}, presence.Offline, t0 + 5, presence.CauseLogout},
		{"of an unknown peer is not its login", []presence.Report{endAll("", t0+5), session(1, "x", t0+6)}, presence.Online, t0 + 6, 0},
		{"a touch after it opens again", []presence.Report{session(1, "x", t0), endAll("", t0+5), session(3, "x", t0+7)}, presence.Online, t0 + 7, 0},
		{"the end that came before it stays", []presence.Report{session(1, "x", t0), session(2, "x", t0+3), endAll("", t0+5)}, presence.Offline, t0 + 3, presence.CauseUnknown},
	} {
		var st presence.State
		for _, r := range c.reports {
			apply(t, &st, r, now, &rules)
		}
		if s := st.Summary(); s.Status == presence.Offline && s.LastSeen != c.since {
			t.Errorf("%s: last seen %d, want %d", c.name, s.LastSeen-t0, c.since-t0)
		}
		if s := st.Summary(); s.Status != c.want || s.Since != c.since || s.Cause != c.cause {
			t.Errorf("%s: %v since %d because %v, want %v since %d because %v", c.name, s.Status, s.Since-t0, s.Cause, c.want, c.since-t0, c.cause)
		}
	}
}

// TestEndAll_isKeptNoLongerThanItCounts: an end-all and what it ended are forgotten together, so no
// session opens again; and no peer keeps more than eight.
func TestEndAll_isKeptNoLongerThanItCounts(t *testing.T) {
	rules := presence.DefaultRules()
	rules.OfflineMemory = 30 * 24 * time.Hour
	var st presence.State
	long := session(1, "x", t0)
	long.Lease = 20 * 24 * time.Hour
	apply(t, &st, long, t0, &rules)
	apply(t, &st, endAll("", t0+5), t0+5, &rules)
	later := t0.Add(rules.Tombstones + time.Minute)
	apply(t, &st, session(2, "y", later), later, &rules)
	if st.Status != presence.Offline || len(st.EndAlls) != 0 || len(st.Sessions) != 1 {
		t.Errorf("a day later it is %v with %d end-alls and %d sessions, want offline, none and the one that just ended", st.Status, len(st.EndAlls), len(st.Sessions))
	}

	// A peer of which nothing but an end-all is known stays what it is shown as.
	st = presence.State{}
	apply(t, &st, endAll("", t0+5), t0+5, &rules)
	want := st.Summary().LastSeen
	st.Expire(later, &rules)
	if s := repacked(t, &st).Summary(); len(st.EndAlls) != 0 || s.Status != presence.Offline || s.LastSeen != want || want != t0+5 {
		t.Errorf("a day later %d end-alls, %v, last seen %d, want none, offline and %d", len(st.EndAlls), s.Status, s.LastSeen-t0, want-t0)
	}

	st = presence.State{}
	for i := range 20 {
		apply(t, &st, session(1, fmt.Sprintf("p%02d/x", i), t0), t0, &rules)
	}
	for i := range 20 {
		apply(t, &st, endAll(fmt.Sprintf("p%02d/", i), t0+1+presence.Millis(i)), t0+100, &rules)
	}
	if st.Status != presence.Offline || len(st.EndAlls) != 8 {
		t.Errorf("after 20 end-alls it is %v with %d, want offline with 8", st.Status, len(st.EndAlls))
	}
	if !slices.IsSortedFunc(st.EndAlls, func(a, b presence.EndAll) int { return cmp.Compare(a.Prefix, b.Prefix) }) {
		t.Error("the end-alls are not in order")
	}
	apply(t, &st, endAll("", t0+200), t0+200, &rules)
	if len(st.EndAlls) != 1 {
		t.Errorf("an end-all of every session leaves %d, want it alone", len(st.EndAlls))
	}
	if got := st.Pack(nil)[8] >> 4; got != 2 {
		t.Errorf("an end-all is packed in format %d, want 2", got)
	}
}

// TestEndAll_isNotASignOfLife: a peer is not seen on the day of it, and its repetition writes
// nothing.
func TestEndAll_isNotASignOfLife(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	apply(t, &st, session(1, "x", t0), t0, &rules)
	day := st.Day
	now := t0.Add(48 * time.Hour)
	r := endAll("", now)
	if o := apply(t, &st, r, now, &rules); o.Verdict != presence.Taken || st.Day != day {
		t.Errorf("%v, seen on day %d, want taken and %d", o.Verdict, st.Day, day)
	}
	if _, e := st.Apply(&r, now, &rules); e != presence.Same {
		t.Errorf("its repetition has effect %d, want none", e)
	}
	r.At -= 1000
	if o, e := st.Apply(&r, now, &rules); o.Verdict != presence.Late || e != presence.Same {
		t.Errorf("an older one: %v with effect %d, want late and none", o.Verdict, e)
	}
	r.At = now.Add(-26 * time.Hour)
	r.Session, r.Source = "z", "emqx"
	if o, e := st.Apply(&r, now, &rules); o.Verdict != presence.Stale || e != presence.Same {
		t.Errorf("one of yesterday that ends nothing: %v with effect %d, want stale and none", o.Verdict, e)
	}
}

// TestEndAll_of_a_clock_ahead_does_not_shut_the_peer_out: what a right clock reports after an
// end-all from the future was received is open, whichever of them comes first; what was reported
// before it, or by the same clock, is ended.
func TestEndAll_of_a_clock_ahead_does_not_shut_the_peer_out(t *testing.T) {
	const day, hour = 24 * 3_600_000, 3_600_000
	rules := presence.DefaultRules()
	type word struct {
		r        presence.Report
		received presence.Millis
	}
	end := word{endAll("", t0+day), t0}
	for _, c := range []struct {
		name string
		word word
		want presence.Status
	}{
		{"a login before it", word{session(1, "x", t0-1000), t0 - 1000}, presence.Offline},
		{"a login after it", word{session(1, "x", t0+hour), t0 + hour}, presence.Online},
		{"a login after it that is repeated", word{session(1, "x", t0+hour), t0 + 2*hour}, presence.Online},
		{"a login before it by the same clock", word{session(1, "x", t0+day-1000), t0 - 1000}, presence.Offline},
		{"a login after it by the same clock", word{session(1, "x", t0+day+1000), t0 + 1000}, presence.Online},
	} {
		for _, order := range [][]word{{end, c.word}, {c.word, end}, {c.word, end, c.word, end}} {
			var st presence.State
			for _, w := range order {
				w.r.Lease = 4 * time.Hour
				rules.Admit(&w.r, w.received)
				apply(t, &st, w.r, w.received, &rules)
			}
			st = *repacked(t, &st)
			if got := st.Summary().At(t0+2*hour, &rules).Status; got != c.want {
				t.Errorf("%s, of %d words: %v, want %v", c.name, len(order), got, c.want)
			}
		}
	}
}
