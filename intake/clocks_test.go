package intake_test

import (
	"testing"
	"time"

	"rollcall/intake"
	"rollcall/presence"
)

// That a clock is off is said once, and again after ten minutes when more reports show it.
func TestAClockThatIsOffIsSaidAgainWhileItLasts(t *testing.T) {
	var news intake.ClockNews
	start := presence.MillisOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for _, step := range []struct {
		after   time.Duration
		reports int64
		due     int
	}{
		{0, 1, 1},
		{time.Second, 1, 0},
		{time.Minute, 2, 0}, // more reports, too soon
		{10 * time.Minute, 2, 1},
		{time.Hour, 2, 0}, // no more reports
		{time.Hour, 3, 1},
	} {
		clocks := []presence.Clock{{App: "app", Source: presence.SourceAPI, Node: "n", Reports: step.reports}}
		if due := news.Pick(clocks, start.Add(step.after)); len(due) != step.due {
			t.Errorf("after %v with %d reports %d are due, want %d", step.after, step.reports, len(due), step.due)
		}
	}
	other := []presence.Clock{{App: "app", Source: presence.SourceAPI, Node: "other", Reports: 1}}
	if due := news.Pick(other, start); len(due) != 1 {
		t.Error("another node of the source is not told apart")
	}
}
