package redisstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

// TestDamageHoldsUpNoOther: what is no state where a state should be costs that peer what was known
// of it, and no other peer anything: its next report is taken, and no other waits in the spool
// behind it.
func TestDamageHoldsUpNoOther(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	cfg.Spool = t.TempDir()
	damage := map[string]func(key string){
		"junk":    func(key string) { server.Do(t, "SET", key, "zzzzzzzzzzzzzzzzzzz") },
		"short":   func(key string) { server.Do(t, "SET", key, "x") },
		"empty":   func(key string) { server.Do(t, "SET", key, "") },
		"zeros":   func(key string) { server.Do(t, "SET", key, strings.Repeat("\x00", 40)) },
		"ones":    func(key string) { server.Do(t, "SET", key, strings.Repeat("\xff", 40)) },
		"huge":    func(key string) { server.Do(t, "SET", key, strings.Repeat("x", 10<<20)) },
		"a hash":  func(key string) { server.Do(t, "HSET", key, "a", "b") },
		"cut off": func(key string) { server.Do(t, "SETRANGE", key, "20", "\xff\xff\xff\xff\xff\xff") },
	}
	n := startNode(t, cfg, "n")
	for what, spoil := range damage {
		if err := n.report(n.hook(presence.KindOnline, what)); err != nil {
			t.Fatal(err)
		}
		key := "rc:{onOffStatus:" + what + "}:s"
		if what == "a hash" {
			server.Do(t, "DEL", key)
		}
		spoil(key)
		if err := n.report(n.hook(presence.KindOnline, what)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Do(t, "LPUSH", "onOffStatus:a list", "1")
	if err := n.report(n.hook(presence.KindOnline, "a list"), n.hook(presence.KindOnline, "whole")); err != nil {
		t.Error(err)
	}
	if spooled := n.st.Stats()["spooled"]; spooled != 0 {
		t.Errorf("%d reports went to the spool", spooled)
	}
	n.see(patience, presence.Online, "a list", "whole")
	for what := range damage {
		if got := server.Do(t, "GET", "onOffStatus:"+what); got != "1" {
			t.Errorf("%s: the summary holds %v, want 1", what, got)
		}
		n.see(patience, presence.Online, what)
	}
}

// TestDamageDoesNotStopTheSweep: an index entry that names no peer, and one whose peer has no
// readable state, are taken away, and the sweep goes on to those who are due.
func TestDamageDoesNotStopTheSweep(t *testing.T) {
	server, url := redisOf(t)
	st := open(t, config(url))
	svc := presence.NewService(st, presence.DefaultConfig())
	now := st.Now()
	broken := presence.Report{App: "app", Peer: "broken", Source: "x", Session: "s", Node: "gone", Kind: presence.KindOnline, At: now}
	due := presence.Report{App: "app", Peer: "due", Source: "x", Session: "s", Kind: presence.KindOnline, At: now, Lease: time.Minute}
	if err := svc.Report(t.Context(), []presence.Report{broken, due}, now, make([]presence.Outcome, 2)); err != nil {
		t.Fatal(err)
	}
	server.Do(t, "SET", "rc:{onOffStatus:broken}:s", "zzzzzzzzzzzzzzzzzzz")
	for b := range 64 {
		server.Do(t, "ZADD", fmt.Sprint("rc:lease:", b), "1", "no peer at all")
	}
	later := now.Add(time.Hour)
	if _, err := svc.Sweep(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if keys, err := st.Due(t.Context(), later, 10); err != nil || len(keys) != 0 {
		t.Errorf("after the sweep %v are due (error %v)", keys, err)
	}
	if keys, err := st.OnNode(t.Context(), "gone", 10); err != nil || len(keys) != 0 {
		t.Errorf("after the sweep %v are on the lost node (error %v)", keys, err)
	}
	got := make([]presence.Status, 1)
	if _, err := st.Statuses(t.Context(), "app", [][]byte{[]byte("due")}, svc.Leases(later), got); err != nil || got[0] != presence.Offline {
		t.Errorf("who was due is %v (error %v), want offline", got[0], err)
	}
	if left := server.Do(t, "EXISTS", "rc:{onOffStatus:broken}:s"); left != int64(0) {
		t.Error("the damaged state stands")
	}
}
