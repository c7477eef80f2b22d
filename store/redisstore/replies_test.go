package redisstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// TestBusy: another client runs a script that does not end, and Redis answers BUSY to everybody.
// What is asked comes from the cache with its age or is refused, reports wait in the spool or are
// refused, and all is well when the script is killed.
func TestBusy(t *testing.T) {
	t.Parallel()
	pace := redistest.NewPace(t)
	server := redistest.Run(t, "--busy-reply-threshold", "50")
	cfg := config("redis://" + server.Addr)
	cfg.Deadline = 250 * time.Millisecond
	bare := startNode(t, cfg, "bare")
	cfg.Spool = t.TempDir()
	spooling := startNode(t, cfg, "spooling")
	known := numbered("known", 20)
	for _, p := range known {
		if err := bare.report(bare.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*node{bare, spooling} {
		n.see(patience, presence.Online, known...)
		time.Sleep(pace.Allow(50 * time.Millisecond)) // signals of the writes are to come yet
		n.warm(known...)
	}

	script, err := redistest.Dial(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := script.Do("EVAL", "while true do end", "0")
		ended <- err
	}()
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := server.Try("PING"); err != nil && strings.Contains(err.Error(), "BUSY") {
			break
		}
		if time.Since(begun) > patience {
			t.Fatal("redis is not busy: the fault did not take hold")
		}
	}

	comes, goes := numbered("comes", 5), known[:5]
	begun := time.Now()
	calls := 0
	for i := range comes {
		if err := spooling.report(spooling.hook(presence.KindOnline, comes[i]), spooling.hook(presence.KindOffline, goes[i])); err != nil {
			t.Errorf("a hook with a spool: %v", err)
		}
		if got, _, err := spooling.ask(comes[i], goes[i]); err != nil || got[0] != presence.Online || got[1] != presence.Offline {
			t.Errorf("%s and %s are %v, %v right after their hooks", comes[i], goes[i], got, err)
		}
		if err := bare.report(bare.hook(presence.KindOnline, "refused")); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("a hook without a spool: %v, want presence.ErrUnavailable", err)
		}
		if got, _, err := bare.ask("refused"); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("who is not in the cache is %v, %v; want presence.ErrUnavailable", got, err)
		}
		calls += 4
	}
	if each := time.Since(begun) / time.Duration(calls); each > pace.Allow(cfg.Deadline+300*time.Millisecond) {
		t.Errorf("a call took %v", each)
	}
	for begun := time.Now(); bare.st.Ready() == nil || spooling.st.Ready() == nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("a node calls itself ready while redis is busy")
		}
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		got, age, err := bare.ask(known...)
		if err != nil || got[0] != presence.Online {
			t.Fatalf("from the cache comes %v, %v", got[0], err)
		}
		if age > 0 {
			break
		}
		if took := time.Since(begun); took > pace.Allow(3*time.Second) {
			t.Fatalf("after %v the cache is still believed", took)
		}
	}
	_, err = cfg2(cfg, t).Open(t.Context())
	if r := (*redisstore.OpenError)(nil); !errors.As(err, &r) || r.Settings || !strings.Contains(r.Error(), "a script that does not end") {
		t.Errorf("the start says %v", err)
	}

	server.Do(t, "SCRIPT", "KILL")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the script ended with %v", err)
	}
	if n := server.Errors(t, "BUSY"); n < 5 {
		t.Errorf("redis has answered BUSY %d times: the fault did not take hold", n)
	}
	for _, n := range []*node{bare, spooling} {
		if n.st.Stats()["outages"] == 0 {
			t.Errorf("%s has met no outage: the fault did not take hold", n.name)
		}
		n.ready(patience)
		n.see(patience, presence.Online, append(append([]string{}, comes...), known[5:]...)...)
		n.see(patience, presence.Offline, goes...)
		n.see(patience, presence.Unknown, "refused")
		if n.turned.Load() != 0 {
			t.Errorf("%d peers were ended by it", n.turned.Load())
		}
	}
	if n := spooling.st.Stats()["spool_replayed"]; n != 10 {
		t.Errorf("%d reports went through the spool, want 10", n)
	}
	if err := bare.report(bare.hook(presence.KindOnline, "refused")); err != nil {
		t.Errorf("the hook sent again: %v", err)
	}
	spooling.see(patience, presence.Online, "refused")
}

// TestErrorIsNoAbsence: a right is taken away from a running node of a Cluster. What Redis refuses
// to report is not unknown.
func TestErrorIsNoAbsence(t *testing.T) {
	c := shared(t, cluster)
	each := func(args ...string) {
		for _, s := range c.Servers {
			s.Do(t, args...)
		}
	}
	for _, s := range c.Primaries() {
		s.Do(t, "FLUSHALL")
	}
	each("ACL", "SETUSER", "reader", "on", ">sesame", "~*", "+@all")
	defer each("ACL", "DELUSER", "reader")
	cfg := config("redis://reader:sesame@" + strings.Join(c.Addrs(), ","))
	cfg.NearCache = 0
	n := startNode(t, cfg, "n")
	peers := numbered("p", 20)
	for _, p := range peers {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	n.see(patience, presence.Online, peers...)
	each("ACL", "SETUSER", "reader", "-get")
	for _, p := range peers {
		if got, _, err := n.ask(p); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("%s is %v, %v; want presence.ErrUnavailable", p, got, err)
		}
	}
	if c.Servers[0].Errors(t, "NOPERM") == 0 {
		t.Error("redis has refused nothing: the fault did not take hold")
	}
	each("ACL", "SETUSER", "reader", "+get")
	n.see(patience, presence.Online, peers...)
}
