package presence

import (
	"errors"
	"testing"
)

func TestHorizon(t *testing.T) {
	var f inflight
	if got := f.horizon(100); got != 99 {
		t.Errorf("with nothing under way the horizon is %d, want 99", got)
	}
	a := f.enter(100)
	b := f.enter(130)
	if got := f.horizon(150); got >= a {
		t.Errorf("the horizon %d is not below the write that took off at %d", got, a)
	}
	f.leave(a, 151, nil)
	if got := f.horizon(160); got >= b || got < a {
		t.Errorf("the horizon %d is not between %d, which landed, and %d, which flies", got, a, b)
	}
	f.leave(b, 161, nil)
	if got := f.horizon(200); got != 199 {
		t.Errorf("with all landed the horizon is %d, want 199", got)
	}
}

func TestHorizonWhenTheClockStepsBack(t *testing.T) {
	var f inflight
	h := f.horizon(1_000_000)
	start := f.enter(500) // the clock stands behind what was given out
	if start <= h {
		t.Fatalf("a write took off at %d, not above the horizon %d that was given out", start, h)
	}
	if got := f.horizon(501); got < h || got >= start {
		t.Errorf("the horizon went to %d; want at least %d and below %d", got, h, start)
	}
}

func TestHorizonWaitsForAFailedWrite(t *testing.T) {
	var f inflight
	start := f.enter(100)
	f.leave(start, 200, errors.New("no answer"))
	if got := f.horizon(5_000); got >= start {
		t.Errorf("the horizon %d passed a write that may still come to be seen", got)
	}
	if got := f.horizon(200 + Millis(failedFor.Milliseconds())); got < start {
		t.Errorf("the horizon stays at %d for ever", got)
	}
	if len(f.under)+len(f.failed) != 0 {
		t.Errorf("the books are not closed: %v %v", f.under, f.failed)
	}
}
