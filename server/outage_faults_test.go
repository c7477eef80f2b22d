//go:build faults

package server_test

import (
	"net/http"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/server/config"
)

// Once what is known is older than redis.stale every door refuses, and once Redis is back every
// door answers without an age.
func TestFaultEveryDoorRefusesWhatIsTooOld(t *testing.T) {
	redis := redistest.Run(t)
	cfg := settings()
	cfg.Data, cfg.Store = t.TempDir(), config.Secret("redis://"+redis.Addr)
	cfg.Redis.Stale = 5 * time.Second
	s := start(t, cfg)
	hook(t, s, "_clientOnline", "tom")
	doors := doorsOf(t, s.Listen(), s.Admin())
	for _, d := range doors {
		if status, aged := d.ask(t); status != http.StatusOK || aged {
			t.Fatalf("%s in health: %d, with an age: %v", d.name, status, aged)
		}
	}
	redis.Freeze()
	thawed := false
	t.Cleanup(func() {
		if !thawed {
			redis.Thaw()
		}
	})
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after a minute: %s", what)
			}
		}
	}
	await("a query is answered", func() bool { status, _ := doors[0].ask(t); return status == http.StatusServiceUnavailable })
	for _, d := range doors {
		if status, _ := d.ask(t); status != http.StatusServiceUnavailable {
			t.Errorf("%s when all is too old: %d", d.name, status)
		}
	}
	redis.Thaw()
	thawed = true
	for _, d := range doors {
		await(d.name+" is refused or has an age", func() bool { status, aged := d.ask(t); return status == http.StatusOK && !aged })
	}
}
