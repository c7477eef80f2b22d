package presence_test

import (
	"testing"
	"time"

	"rollcall/presence"
)

func TestCalibration(t *testing.T) {
	c := presence.NewCalibration(presence.DefaultQuiet)
	a := &presence.Asked{Quiet: c.Quiet()}
	note := func(n int, f presence.Finding) (doubled int) {
		for range n {
			if c.Note(a, f) {
				doubled++
			}
		}
		return doubled
	}
	// A share of 1 in 21 goes on for ever.
	for range 10_000 {
		if note(1, presence.FindingMissed)+note(20, presence.FindingAgrees) > 0 {
			t.Fatal("the quiet has doubled, though few answers say online")
		}
	}
	if note(12, presence.FindingMissed) != 0 || note(1000, presence.FindingUnsure) != 0 || note(1000, presence.FindingGhost) != 0 {
		t.Error("the quiet has doubled too early, or by what is no answer")
	}
	if note(1, presence.FindingMissed) != 1 || c.Quiet() != time.Minute || c.Wait() != 61*time.Second {
		t.Errorf("after 13 in a row the quiet is %v, the wait %v", c.Quiet(), c.Wait())
	}
	if note(1000, presence.FindingMissed) != 0 {
		t.Error("answers that were asked for before the quiet doubled were noted")
	}
	for range 10 {
		a.Quiet = c.Quiet()
		note(20, presence.FindingMissed)
	}
	if c.Quiet() != presence.MaxQuiet {
		t.Errorf("the quiet is %v", c.Quiet())
	}
	c = presence.NewCalibration(presence.DefaultLag)
	if c.Wait() != 31*time.Second {
		t.Errorf("with %v of quiet the wait is %v", c.Quiet(), c.Wait())
	}
	a.Quiet = c.Quiet()
	if note(13, presence.FindingMissed) != 1 || c.Quiet() != time.Minute {
		t.Errorf("answers that are older than 31 s are taken to be %v old", c.Quiet())
	}
}

func TestCalibratesByLogoutsAlone(t *testing.T) {
	sum, last := presence.PolicySum, presence.PolicyLast
	for _, c := range []struct {
		hooks  string
		policy presence.Policy
		want   bool
	}{
		{"+@0 -logout@1", sum, true},
		{"+@0 -logout@1", last, false},
		{"+@0 -lost@1", sum, false},
		{"+@0", sum, false},
		{"+@0 +@1 +@700 -lost@701 -logout@702", sum, false}, // one was given up
	} {
		_, st := play(t, c.hooks, c.policy)
		a := presence.Asked{Source: presence.SourceLeanCloud, Counted: true, Policy: c.policy}
		if got := a.Calibrates(&st); got != c.want {
			t.Errorf("%s by %v: %v", c.hooks, c.policy, got)
		}
	}
}
