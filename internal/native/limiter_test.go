package native_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/internal/native"
)

func TestLimiter(t *testing.T) {
	l := native.NewLimiter()
	rate := native.Rate{PerSecond: 10, Burst: 3}
	now := int64(time.Hour)
	take := func(caller string, n float64) time.Duration {
		wait, ok := l.Take("ask", caller, "10.0.0.1", n, rate, now)
		if ok != (wait == 0) {
			t.Errorf("ok %v with a wait of %v", ok, wait)
		}
		return wait
	}
	for i := range 3 {
		if wait := take("a", 1); wait != 0 {
			t.Errorf("call %d of the burst waits %v", i, wait)
		}
	}
	if wait := take("a", 1); wait != 100*time.Millisecond {
		t.Errorf("the call after the burst waits %v, want 100ms", wait)
	}
	if wait := take("b", 1); wait != 0 {
		t.Errorf("another caller waits %v for the first", wait)
	}
	now += int64(100 * time.Millisecond)
	if wait := take("a", 1); wait != 0 {
		t.Errorf("after the wait there is another of %v", wait)
	}
	now += int64(time.Hour)
	if wait := take("a", 50); wait != 0 {
		t.Errorf("a call dearer than the burst never passes: %v", wait)
	}
	if wait := take("a", 1); wait < 4*time.Second {
		t.Errorf("it was not paid for: %v", wait)
	}
	if _, ok := l.Take("ask", "a", "x", 1e9, native.Rate{}, now); !ok {
		t.Error("a rate of zero is a limit")
	}
}

// A crowd of callers does not make the limiter grow without end, nor is anybody shut out by it.
func TestLimiterIsBounded(t *testing.T) {
	l := native.NewLimiter()
	rate := native.Rate{PerSecond: 0.001, Burst: 1}
	for i := range 600_000 {
		if _, ok := l.Take("ask", "app", fmt.Sprint("address-", i), 1, rate, int64(i)); !ok {
			t.Fatalf("caller %d is refused his first call", i)
		}
	}
	if n := l.Callers(); n > 64*4096 {
		t.Errorf("%d callers are remembered", n)
	}
}
