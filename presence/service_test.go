package presence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

const app = presence.AppID("a")

// open returns a service over the embedded store in memory.
func open(t *testing.T, change func(*presence.Config)) *presence.Service {
	t.Helper()
	cfg := presence.DefaultConfig()
	cfg.Trace = 64
	if change != nil {
		change(&cfg)
	}
	store, err := embedded.Open(embedded.DefaultConfig(), embedded.Deps{Rules: cfg.Rules}, t0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return presence.NewService(store, cfg)
}

func statusOf(t *testing.T, s *presence.Service, peer string, now presence.Millis) presence.Status {
	t.Helper()
	var out [1]presence.Status
	if _, err := s.Store().Statuses(context.Background(), app, [][]byte{[]byte(peer)}, s.Leases(now), out[:]); err != nil {
		t.Fatal(err)
	}
	var sums [1]presence.Summary
	if _, err := s.Store().Summaries(context.Background(), []presence.Key{{App: app, Peer: presence.PeerID(peer)}}, sums[:]); err != nil {
		t.Fatal(err)
	}
	if seen := sums[0].At(s.Leases(now), s.Rules()); seen.Status != out[0] {
		t.Errorf("%s: the status is %v, the summary says %v", peer, out[0], seen.Status)
	}
	return out[0]
}

func report(t *testing.T, s *presence.Service, now presence.Millis, reports ...presence.Report) []presence.Outcome {
	t.Helper()
	out := make([]presence.Outcome, len(reports))
	if err := s.Report(context.Background(), reports, now, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func why(t *testing.T, s *presence.Service, now presence.Millis) presence.Explanation {
	t.Helper()
	key := presence.Key{App: app, Peer: "tom"}
	var st presence.State
	if err := s.Store().Load(context.Background(), key, &st); err != nil {
		t.Fatal(err)
	}
	return s.Explain(key, &st, now)
}

func TestServiceReports(t *testing.T) {
	s := open(t, nil)
	if got := statusOf(t, s, "tom", t0); got != presence.Unknown {
		t.Errorf("before any report: %v", got)
	}
	on, old := sessionReport(t, "on@0"), sessionReport(t, "on@0")
	old.At = t0.Add(-25 * time.Hour)
	hookOff := hook(t, "-@0", presence.PolicySum)
	hookOff.Peer = "jerry"
	out := report(t, s, t0, on, on, old, hookOff)
	for i, want := range []presence.Verdict{presence.Taken, presence.Double, presence.Stale, presence.Swallowed} {
		if out[i].Verdict != want {
			t.Errorf("report %d: %v, want %v", i, out[i].Verdict, want)
		}
	}
	if statusOf(t, s, "tom", t0) != presence.Online || statusOf(t, s, "jerry", t0) != presence.Offline {
		t.Error("tom must be online, jerry offline")
	}
	counts := s.Counters().Reports()
	if counts["api"][presence.Taken] != 1 || counts["api"][presence.Stale] != 1 || counts["leancloud"][presence.Swallowed] != 1 {
		t.Errorf("counted %v", counts)
	}
	if s.Counters().Changes() != 2 || s.Counters().Last()["api"] != t0 {
		t.Errorf("%d changes, last received %v", s.Counters().Changes(), s.Counters().Last())
	}
	bad := sessionReport(t, "off@1")
	bad.Peer = ""
	err := s.Report(context.Background(), []presence.Report{sessionReport(t, "off@1"), bad}, t0+1000, make([]presence.Outcome, 2))
	if !errors.Is(err, presence.ErrInvalid) || statusOf(t, s, "tom", t0+1000) != presence.Online {
		t.Errorf("one invalid report refuses the batch: %v", err)
	}
	if err := s.Erase(context.Background(), []presence.Key{{App: app, Peer: "tom"}, {App: app, Peer: "nobody"}}, t0+2000); err != nil {
		t.Fatal(err)
	}
	if statusOf(t, s, "tom", t0+2000) != presence.Unknown || len(s.Trace().Last(presence.Key{App: app, Peer: "tom"}, 9)) != 0 {
		t.Error("an erased peer is as if nobody had reported it, in the trace too")
	}
}

// Rule 4.3: a sweep ends what has run out, and says how often.
func TestServiceSweeps(t *testing.T) {
	s := open(t, nil)
	for i := range 1000 {
		r := sessionReport(t, "on@0")
		r.Peer, r.Lease = presence.PeerID(fmt.Sprint("p", i)), 45*time.Second
		report(t, s, t0, r)
	}
	sweep := func(at presence.Millis, want int) {
		t.Helper()
		if n, err := s.Sweep(context.Background(), at); err != nil || n != want {
			t.Errorf("sweep at %v: %d turned, %v; want %d", at.Sub(t0), n, err, want)
		}
	}
	sweep(t0+44_999, 0)
	sweep(t0+45_000, 1000)
	sweep(t0+46_000, 0)
	if n := s.Counters().Expired(presence.CauseExpired); n != 1000 {
		t.Errorf("%d expired, want 1000", n)
	}
	sweep(t0.Add(8*24*time.Hour), 1000)
	if got := statusOf(t, s, "p7", t0.Add(8*24*time.Hour)); got != presence.Unknown {
		t.Errorf("after a week: %v", got)
	}
}

// A heartbeat that the report did not know of, as when the report waited in a spool, counts at the
// latest when the lease of the session runs out.
func TestALeaseThatRunsOutAsksForTheNode(t *testing.T) {
	s := open(t, nil)
	ctx := context.Background()
	for _, node := range []presence.NodeID{"beats", "silent"} {
		for i := range 700 { // more than one batch of the sweep
			on := sessionReport(t, "on@0")
			on.Peer, on.Node, on.Lease = presence.PeerID(fmt.Sprint(node, i)), node, time.Minute
			report(t, s, t0, on)
		}
	}
	// Past the service.
	if err := s.Store().Heartbeat(ctx, "beats", time.Hour, false, t0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   presence.Millis
		want int
		on   presence.Status
	}{{t0 + 59_999, 0, presence.Online}, {t0 + 60_000, 700, presence.Online}, {t0 + 3_599_000, 0, presence.Online}, {t0 + 3_600_000, 700, presence.Offline}} {
		if n, err := s.Sweep(ctx, c.at); n != c.want || err != nil {
			t.Errorf("sweep at %v: %d turned, %v; want %d", c.at.Sub(t0), n, err, c.want)
		}
		if got := statusOf(t, s, "beats7", c.at); got != c.on {
			t.Errorf("at %v: %v, want %v", c.at.Sub(t0), got, c.on)
		}
	}
	if got := statusOf(t, s, "silent7", t0+60_000); got != presence.Offline {
		t.Errorf("a session of a node without a heartbeat is %v after its lease", got)
	}
}

// Rule 4.7: a node that misses its lease takes its sessions along, a drained one with another
// cause.
func TestServiceEndsNodes(t *testing.T) {
	for _, c := range []struct {
		drained bool
		cause   presence.Cause
		why     string
	}{
		{false, presence.CauseNodeLost, "the node that held it was lost"},
		{true, presence.CauseDrained, "the node that held it was shut down"},
	} {
		s := open(t, nil)
		ctx := context.Background()
		if err := s.Store().Heartbeat(ctx, "n1/1", 15*time.Second, c.drained, t0); err != nil {
			t.Fatal(err)
		}
		on := sessionReport(t, "on@0")
		on.Node, on.Lease = "n1/1", 0
		report(t, s, t0, on)
		// It says nothing about whether the node beats: one that is drained, or has just died, does
		// not.
		if e := why(t, s, t0+1000); !strings.Contains(e.Why, `session "x" from api is open on node "n1/1" and lives by the lease of that node`) {
			t.Error(e.Why)
		}
		if n, err := s.Sweep(ctx, t0+14_999); n != 0 || err != nil {
			t.Errorf("a millisecond early: %d turned, %v", n, err)
		}
		if n, err := s.Sweep(ctx, t0+15_000); n != 1 || err != nil {
			t.Errorf("%d turned, %v; want one", n, err)
		}
		if e := why(t, s, t0+16_000); e.Summary.Cause != c.cause || !strings.Contains(e.Why, c.why) {
			t.Errorf("%v: %s", e.Summary.Cause, e.Why)
		}
		if lost, err := s.Store().LostNodes(ctx, t0+60_000); len(lost) != 0 || err != nil {
			t.Errorf("the node is not forgotten: %v, %v", lost, err)
		}
	}
}

// A node that reports a session after its lease and sends no more heartbeats keeps it for a lease,
// and is not forgotten before.
func TestServiceSparesWhatALostNodeReports(t *testing.T) {
	s, ctx := open(t, nil), context.Background()
	if err := s.Store().Heartbeat(ctx, "n1", 15*time.Second, false, t0); err != nil {
		t.Fatal(err)
	}
	on := sessionReport(t, "on@0")
	on.Node = "n1"
	report(t, s, t0, on)
	on.At = t0 + 20_000
	report(t, s, t0+20_000, on)
	for _, sweep := range []struct {
		at   presence.Millis
		want int
	}{{20_001, 0}, {34_999, 0}, {35_000, 1}, {40_000, 0}} {
		if n, err := s.Sweep(ctx, t0+sweep.at); n != sweep.want || err != nil {
			t.Errorf("at %d: %d turned, %v; want %d", sweep.at, n, err, sweep.want)
		}
	}
	if lost, err := s.Store().LostNodes(ctx, t0+60_000); len(lost) != 0 || err != nil {
		t.Errorf("the node is not forgotten: %v, %v", lost, err)
	}
}

// Rule 4.8: while leases stand still nothing runs out, and a second outage within the grace does
// not shorten the first.
func TestServiceStandsStill(t *testing.T) {
	s := open(t, nil)
	on := sessionReport(t, "on@0")
	on.Lease = 45 * time.Second
	report(t, s, t0, on)
	s.StandStill(t0+10_000, t0+600_000)
	if got := s.Leases(t0 + 601_000); got != t0+10_000 {
		t.Errorf("leases are judged as of %d", got)
	}
	s.StandStill(t0+610_000, t0+620_000)
	if n, err := s.Sweep(context.Background(), t0+640_000); n != 0 || err != nil || statusOf(t, s, "tom", t0+640_000) != presence.Online {
		t.Errorf("within the grace: %d turned, %v", n, err)
	}
	if e := why(t, s, t0+640_000); !strings.Contains(e.Why, "leases stand still") {
		t.Error(e.Why)
	}
	if n, err := s.Sweep(context.Background(), t0+650_000); n != 1 || err != nil {
		t.Errorf("after it: %d turned, %v", n, err)
	}
}

func TestWhy(t *testing.T) {
	withHold := sessionReport(t, "off@60")
	withHold.Cause, withHold.Hold = presence.CauseLost, 10*time.Second
	minute := sessionReport(t, "on@0")
	minute.Lease = 45 * time.Second
	other := sessionReport(t, "on@3")
	other.Session = "y"
	for _, c := range []struct {
		name    string
		reports []presence.Report
		at      presence.Millis
		want    string
	}{
		{"nobody", nil, t0, "unknown: never reported, or offline longer than offline_memory"},
		{
			"a session",
			[]presence.Report{minute},
			t0 + 4000,
			`online because session "x" from api was last reported 4 s ago and its lease runs 41 s more`,
		},
		{
			"two sessions",
			[]presence.Report{minute, other},
			t0 + 4000,
			`online because session "y" from api was last reported 1 s ago and its lease runs 59 min 59 s more; 1 other is open`,
		},
		{
			"hooks",
			[]presence.Report{hook(t, "+@0", 0), hook(t, "+@1", 0)},
			t0 + 3_601_000,
			"online because by hooks without a tag from leancloud one session is open; the last hook came 1 h 0 min ago and the lease runs 6 d 23 h more",
		},
		{
			"hooks with a tag",
			[]presence.Report{hook(t, "+phone@0", 0), hook(t, "+phone@1", 0)},
			t0 + 2000,
			`online because by hooks with tag "phone" from leancloud 2 sessions are open; the last hook came 1 s ago and the lease runs 6 d 23 h more`,
		},
		{
			"a logout",
			[]presence.Report{hook(t, "+@0", 0), hook(t, "-logout@30", 0)},
			t0 + 40_000,
			"offline since 2026-01-01 00:00:30Z because the last end that was reported is a logout",
		},
		{
			"a lease",
			[]presence.Report{minute},
			t0 + 50_000,
			"offline since 2026-01-01 00:00:45Z because its lease ran out without another report",
		},
		{
			"held",
			[]presence.Report{minute, withHold},
			t0 + 62_000,
			"offline since 2026-01-01 00:01:00Z because the connection was lost; watchers are notified in 8 s",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, nil)
			for _, r := range c.reports {
				report(t, s, r.At, r)
			}
			e := why(t, s, c.at)
			if e.Why != c.want {
				t.Errorf("\n got %s\nwant %s", e.Why, c.want)
			}
			if len(e.Reports) != len(c.reports) {
				t.Errorf("%d reports are shown, want %d", len(e.Reports), len(c.reports))
			}
		})
	}
}

func TestTraceKeepsTheLast(t *testing.T) {
	s := open(t, func(c *presence.Config) { c.Trace = 4 })
	for i := range 6 {
		r := sessionReport(t, "touch@0")
		r.At += presence.Millis(i)
		report(t, s, t0+presence.Millis(i), r)
	}
	var received []presence.Millis
	for _, e := range s.Trace().Last(presence.Key{App: app, Peer: "tom"}, 3) {
		received = append(received, e.Received-t0)
	}
	if want := []presence.Millis{5, 4, 3}; !slices.Equal(received, want) {
		t.Errorf("got %v, want %v", received, want)
	}
	none := open(t, func(c *presence.Config) { c.Trace = 0 })
	report(t, none, t0, sessionReport(t, "on@0"))
	if got := none.Trace().Last(presence.Key{App: app, Peer: "tom"}, 3); len(got) != 0 {
		t.Errorf("a trace of nothing holds %v", got)
	}
}

// A reporter may name any source; the counters do not grow with it.
func TestTallyIsBounded(t *testing.T) {
	s := open(t, nil)
	for i := range 300 {
		r := sessionReport(t, "on@0")
		r.Source = presence.Source(fmt.Sprint("s", i))
		report(t, s, t0, r)
	}
	counts := s.Counters().Reports()
	if len(counts) != 257 || counts[""][presence.Taken] != 44 {
		t.Errorf("%d sources are counted, %d reports under none", len(counts), counts[""][presence.Taken])
	}
}

// A lease that runs out without an offline counts for the source whose lease it was.
func TestMissingOfflinesAreOfTheirSource(t *testing.T) {
	s := open(t, nil)
	var reports []presence.Report
	for i, source := range []presence.Source{"one", "one", "two"} {
		peer := presence.PeerID(fmt.Sprint(i))
		reports = append(reports, presence.Report{App: app, Peer: peer, Source: source, Session: "s", Kind: presence.KindOnline, At: t0, Lease: time.Minute})
	}
	// Of two sources it is the one whose lease runs out last.
	reports = append(reports, presence.Report{App: app, Peer: "2", Source: "three", Session: "s", Kind: presence.KindOnline, At: t0, Lease: time.Second})
	// An offline that is reported is not missing.
	reports = append(reports,
		presence.Report{App: app, Peer: "3", Source: "one", Session: "s", Kind: presence.KindOnline, At: t0, Lease: time.Minute},
		presence.Report{App: app, Peer: "3", Source: "one", Session: "s", Kind: presence.KindOffline, At: t0 + 1})
	report(t, s, t0, reports...)
	if turned, err := s.Sweep(context.Background(), t0.Add(time.Hour)); err != nil || turned != 3 {
		t.Fatalf("%d turned: %v", turned, err)
	}
	if m := s.Counters().Missing(); m["one"] != 2 || m["two"] != 1 || m["three"] != 0 {
		t.Errorf("missing offlines: %v", m)
	}
}
