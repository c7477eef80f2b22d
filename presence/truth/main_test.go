package main

import (
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// Small worlds, taken together, keep the bounds of the large one. Those that ask, and those that
// only stand beside them, are left to the run itself.
func TestEveryRowKeepsItsBound(t *testing.T) {
	for _, r := range rows() {
		if r.asked != (asking{}) || r.lost > lost {
			continue
		}
		v := result{quiet: r.quiet()}
		for seed := range uint64(4) {
			v.add(world{seed: seed, peers: 90, days: 28}.measure(&r.reporting).verdict)
		}
		if v.online == 0 || v.offline == 0 {
			t.Fatalf("%s: online for %v, offline for %v: nothing to judge", r.name, v.online, v.offline)
		}
		if !r.holds(&v) {
			t.Errorf("%s: online shown offline %.3f %%, want %s; offline shown online %.3f %%, want %s",
				r.name, 100*share(v.shownOffline, v.online), r.shownOffline, 100*share(v.shownOnline, v.offline), r.shownOnline)
		}
	}
}

// In a small world peers that are asked about are shown rightly more often than by the same hooks
// alone.
func TestAskingIsBetterThanNotAsking(t *testing.T) {
	w := world{seed: 3, peers: 45, days: 14}
	for _, r := range rows() {
		if r.asked == (asking{}) || r.asked.age > r.quiet() { // in so few days old answers do harm
			continue
		}
		asked := w.measure(&r.reporting)
		r.asked = asking{}
		alone := w.measure(&r.reporting)
		if asked.asks < 5 || alone.asks != 0 {
			t.Fatalf("%s: %.1f asks a day, alone %.1f", r.name, asked.asks, alone.asks)
		}
		if asked.shownOffline > alone.shownOffline || asked.shownOnline > alone.shownOnline+alone.shownOnline/20 {
			t.Errorf("%s: shown offline for %v, alone %v; shown online for %v, alone %v",
				r.name, asked.shownOffline, alone.shownOffline, asked.shownOnline, alone.shownOnline)
		}
	}
}

// Answers that are too old do harm as long as they are not found out: the calibration is what keeps
// them from it.
func TestAnswersThatAreTooOldAreFoundOut(t *testing.T) {
	w := world{seed: 2, peers: 60, days: 7}
	old := asked("old", asking{every: round, after: true, age: time.Minute})
	v := w.measure(&old)
	if on := share(v.shownOnline, v.offline); v.quiet != time.Minute || on > 0.01 {
		t.Errorf("with %v of quiet %.2f %% are shown online", v.quiet, 100*on)
	}
	old.asked.fixed = true
	if v = w.measure(&old); v.quiet != presence.DefaultQuiet || share(v.shownOnline, v.offline) < 0.1 {
		t.Errorf("without, %.2f %% are shown online with %v of quiet", 100*share(v.shownOnline, v.offline), v.quiet)
	}
}

func TestRunPrintsOneTable(t *testing.T) {
	var out, errs strings.Builder
	if code := run([]string{"-peers", "6", "-days", "2"}, &out, &errs); code > 1 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	for _, r := range rows() {
		if !strings.Contains(out.String(), "\n"+r.name+" ") {
			t.Errorf("no row %q in\n%s", r.name, out.String())
		}
	}
	if code := run([]string{"-peers", "none"}, &out, &errs); code != 2 {
		t.Errorf("exit code %d for a wrong flag, want 2", code)
	}
}

func TestJudgeCountsWhatIsShownWrongly(t *testing.T) {
	at := func(s int) (m span) { return span{epoch.Add(time.Duration(s) * time.Second), 0} }
	is := truth([]connection{
		{start: at(0).start, end: at(100).start},
		{start: at(50).start, end: at(80).start},
		{start: at(200).start, end: at(300).start},
	})
	if len(is) != 2 || is[0].end != at(100).start {
		t.Fatalf("truth: %v", is)
	}
	says := []span{{at(10).start, at(120).start}, {at(250).start, at(400).start}}
	for _, c := range []struct {
		from, to          int
		shownOff, shownOn time.Duration
	}{
		{0, 100, 10 * time.Second, 0},
		{100, 200, 0, 20 * time.Second},
		{200, 300, 50 * time.Second, 0},
		{300, 500, 0, 100 * time.Second},
	} {
		v := compare(is, says, span{at(c.from).start, at(c.to).start})
		if v.shownOffline != c.shownOff || v.shownOnline != c.shownOn {
			t.Errorf("from %d to %d: got %v and %v, want %v and %v", c.from, c.to, v.shownOffline, v.shownOnline, c.shownOff, c.shownOn)
		}
	}
}
