//go:build faults

package redisstore_test

import (
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestFaultDeadNodeOfAHundredThousand: queries know at once, and the survivors end the sessions
// together, each once.
func TestFaultDeadNodeOfAHundredThousand(t *testing.T) {
	const sessions = 100_000
	server := redistest.Run(t)
	d := newDying(t, config("redis://"+server.Addr), server, sessions, 3)
	before := server.CPU(t)
	lost, err := d.stores[0].LostNodes(t.Context(), d.end)
	if err != nil || len(lost) != 1 {
		t.Fatalf("lost are %v, %v; want the dead node", lost, err)
	}
	if n := d.count(0, d.end, presence.Offline); n != sessions {
		t.Errorf("queries see %d of %d offline before any session was ended", n, sessions)
	}
	took := d.markDead()
	by := d.counted()
	for i, n := range by {
		if n < sessions/30 {
			t.Errorf("survivor %d has ended %d of %v: the work is not shared", i, n, by)
		}
	}
	t.Logf("%d sessions were ended in %v (%v each, %v of redis) by survivors %v", sessions, took.Round(time.Millisecond), took/sessions,
		(server.CPU(t)-before)/sessions, by)
}
