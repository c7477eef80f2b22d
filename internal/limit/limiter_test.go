package limit_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/limit"
)

var home = netip.MustParseAddr("10.0.0.1")

func TestLimiter(t *testing.T) {
	l := limit.NewLimiter()
	rate := limit.Rate{PerSecond: 10, Burst: 3}
	now := int64(time.Hour)
	take := func(app string, n float64) time.Duration {
		wait, ok := l.Bucket(limit.Ask, app, home, now).Take(n, rate, now)
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
	if _, ok := l.Bucket(limit.Ask, "a", home, now).Take(1e9, limit.Rate{}, now); !ok {
		t.Error("a rate of zero is a limit")
	}
}

// A crowd of callers does not make the limiter grow without end, nor is anybody shut out by it. A
// bucket that was kept beside a connection is known to be stale once its place may be taken.
func TestLimiterIsBounded(t *testing.T) {
	l := limit.NewLimiter()
	rate := limit.Rate{PerSecond: 0.001, Burst: 1}
	first := l.Bucket(limit.Ask, "app", home, 0)
	for i := range 600_000 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i))
		if _, ok := l.Bucket(limit.Ask, "app", netip.AddrFrom4(b), int64(i)).Take(1, rate, int64(i)); !ok {
			t.Fatalf("caller %d is refused its first call", i)
		}
	}
	if n := l.Callers(); n > 64*4096 {
		t.Errorf("%d callers are remembered", n)
	}
	if !first.Stale() {
		t.Error("a caller that owes nothing is remembered beyond a crowd")
	}
}

func TestCallersDifferByKeyAndAddress(t *testing.T) {
	one := limit.Rate{PerSecond: 0.001, Burst: 1}
	c := limit.NewCallers(limit.Limits{Ask: one, AskPeers: one, Refused: one})
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name    string
		class   limit.Class
		app     string
		address netip.Addr
		ok      bool
	}{
		{"the first call", limit.Ask, "a", home, true},
		{"the second", limit.Ask, "a", home, false},
		{"another class", limit.AskPeers, "a", home, true},
		{"another app", limit.Ask, "b", home, true},
		{"another address", limit.Ask, "a", addr("10.0.0.2"), true},
		{"an IPv6 address", limit.Ask, "a", addr("2001:db8::1"), true},
		{"another of its /64", limit.Ask, "a", addr("2001:db8::2"), false},
		{"another /64", limit.Ask, "a", addr("2001:db8:0:1::2"), true},
		{"without a limit", limit.Serve, "a", home, true},
		{"without a limit again", limit.Serve, "a", home, true},
	} {
		if _, ok := c.Take(tt.class, tt.app, tt.address, 1); ok != tt.ok {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.ok)
		}
	}
	var kept *limit.Bucket
	if _, ok := c.TakeFrom(&kept, limit.Ask, "a", home, 1); ok {
		t.Error("a kept bucket is not the one of its caller")
	}
	if n := c.Limited(); n != 3 {
		t.Errorf("%d are counted as limited, want 3", n)
	}
}
