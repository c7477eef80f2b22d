package limit_test

import (
	"testing"
	"time"

	"rollcall/internal/limit"
)

func TestMeter(t *testing.T) {
	const cost, room = time.Second, 3 * time.Second
	var m limit.Meter
	now := time.Hour
	for i := range 3 {
		if wait, ok := m.Take(cost, room, now); !ok || wait != 0 {
			t.Errorf("call %d of the burst: ok %v, waits %v", i, ok, wait)
		}
	}
	if wait, ok := m.Take(cost, room, now); ok || wait != time.Second {
		t.Errorf("the call after the burst: ok %v, waits %v, want 1s", ok, wait)
	}
	now += time.Second
	if wait := m.Wait(cost, room, now); wait != 0 {
		t.Errorf("after the wait another of %v", wait)
	}
	m.Spend(cost, now)
	m.Spend(cost, now)
	if wait := m.Wait(cost, room, now); wait != 2*time.Second {
		t.Errorf("one spent beyond the room: waits %v, want 2s", wait)
	}
	if m.Full(now+4*time.Second-1) || !m.Full(now+4*time.Second) {
		t.Errorf("four seconds are owed at %v, the meter is %v", now, time.Duration(m))
	}
}
