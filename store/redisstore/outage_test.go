package redisstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// An absence is a Redis that goes away and comes back with all it had.
type absence struct {
	leave func(s *redistest.Server)
	back  func(t *testing.T, s *redistest.Server)
}

var absences = map[string]absence{
	"killed": {
		func(s *redistest.Server) { s.Kill() },
		func(t *testing.T, s *redistest.Server) {
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		},
	},
	"frozen": {
		func(s *redistest.Server) { s.Freeze() },
		func(_ *testing.T, s *redistest.Server) { s.Thaw() },
	},
}

// durable makes a server keep what it acknowledged over a kill.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// outage plays one absence with sessions, queries and hooks running on two nodes.
func outage(t *testing.T, a absence, away, stale time.Duration) {
	pace := redistest.NewPace(t)
	server := redistest.Run(t, durable...)
	cfg := config("redis://" + server.Addr)
	cfg.Deadline, cfg.Stale = 250*time.Millisecond, stale
	cfg.Spool, cfg.Log = t.TempDir(), logger(t)
	here := startNode(t, cfg, "here")
	cfg.Spool = t.TempDir()
	there := startNode(t, cfg, "there")

	sockets, hooked := numbered("socket", 150), numbered("hooked", 150)
	for i := range sockets {
		if err := here.report(here.socket(presence.KindOnline, sockets[i]), here.hook(presence.KindOnline, hooked[i])); err != nil {
			t.Fatal(err)
		}
	}
	known := append(append([]string(nil), sockets...), hooked...)
	here.see(patience, presence.Online, known...)
	there.see(patience, presence.Online, known...)
	time.Sleep(pace.Allow(100 * time.Millisecond)) // the signals of our own writes are to come yet
	late := numbered("late", 60)
	// that the late ones are unknown is known here, too
	here.warm(append(late, known...)...)
	there.warm(known...)

	steady := known[:len(known)-1] // the last one leaves while redis is down
	leaver := known[len(known)-1]
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var w [2]witness
	for i, n := range []*node{here, there} {
		wg.Go(func() { w[i].watch(ctx, n, steady) })
		wg.Go(func() { w[i].follow(ctx, n, steady) })
	}
	for begun := time.Now(); min(w[0].words.Load(), w[1].words.Load()) < int64(len(steady)); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("the watchers get no snapshot")
		}
	}
	a.leave(server)
	left := time.Now()
	gone := func() bool { return here.st.Ready() != nil }

	// Reports are taken, count at once on this node, and turn the readiness.
	var slowest time.Duration
	for i, p := range late {
		begun := time.Now()
		if err := here.report(here.hook(presence.KindOnline, p)); err != nil {
			t.Fatalf("a hook while redis is down: %v", err)
		}
		if i%2 == 1 {
			if err := here.report(here.hook(presence.KindOffline, p)); err != nil {
				t.Fatalf("a hook while redis is down: %v", err)
			}
		}
		slowest = max(slowest, time.Since(begun))
		want := presence.Online
		if i%2 == 1 {
			want = presence.Offline
		}
		if got, _, err := here.ask(p); err != nil || got[0] != want {
			t.Fatalf("%s is %v right after its hook (%v), want %v", p, got[0], err, want)
		}
	}
	if !gone() {
		t.Error("the node calls itself ready while redis is down")
	}
	// A list waits no longer than a question, though it may take many.
	asked := time.Now()
	if _, _, err := here.st.List(t.Context(), "app", "", 10, here.st.Now()); !errors.Is(err, presence.ErrUnavailable) || time.Since(asked) > pace.Allow(10*cfg.Deadline) {
		t.Errorf("a list while redis is down: %v after %v", err, time.Since(asked))
	}
	// Of who is not in the cache only a login shows the status: the peer may be online on another
	// device.
	for p, kind := range map[string]presence.Kind{"blind out": presence.KindOffline, "blind in": presence.KindOnline} {
		if err := here.report(here.hook(kind, p)); err != nil {
			t.Fatalf("a hook while redis is down: %v", err)
		}
		got, age, err := here.ask(p)
		if known := kind == presence.KindOnline; known != (err == nil) || known && (got[0] != presence.Online || age == 0) {
			t.Errorf("%s is %v, %v old, right after its hook: %v", p, got[0], age, err)
		}
	}
	time.Sleep(away - time.Since(left))
	if away > stale+time.Second {
		if got, _, err := here.ask(late[0]); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("a query for who came in the outage is answered %v, %v after %v; want presence.ErrUnavailable", got[0], err, away)
		}
	}
	if away > stale+time.Second {
		if got, _, err := here.ask(known...); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("a query after %v is answered %v…, %v; want presence.ErrUnavailable", away, got[0], err)
		}
	}
	if err := there.report(there.hook(presence.KindOffline, leaver)); err != nil {
		t.Errorf("a hook on the other node: %v", err)
	}
	a.back(t, server)
	back := time.Now()
	var on, off []string
	for i, p := range late {
		if i%2 == 1 {
			off = append(off, p)
		} else {
			on = append(on, p)
		}
	}
	there.see(patience, presence.Online, on...)
	there.see(patience, presence.Offline, off...)
	here.see(patience, presence.Offline, leaver)
	visible := time.Since(back)
	if visible > pace.Allow(5*time.Second) {
		t.Errorf("what was spooled was visible everywhere %v after the return", visible)
	}
	here.see(patience, presence.Online, sockets...)
	there.see(patience, presence.Online, steady...)
	here.ready(patience)
	cancel()
	wg.Wait()
	for i := range w {
		t.Log(&w[i])
		if made := w[i].offline.Load(); made > 0 {
			t.Errorf("witness %d received %d made-up statuses", i, made)
		}
		if w[i].aged.Load() == 0 {
			t.Errorf("witness %d never got a flagged answer: the fault did not take hold", i)
		}
		if oldest := time.Duration(w[i].oldest.Load()); oldest > stale {
			t.Errorf("witness %d got an answer that was %v old, more than %v", i, oldest, stale)
		}
		if slow := time.Duration(w[i].slowest.Load()); slow > pace.Allow(cfg.Deadline+300*time.Millisecond) {
			t.Errorf("witness %d waited %v", i, slow)
		}
	}
	if slowest > pace.Allow(2*(cfg.Deadline+300*time.Millisecond)) {
		t.Errorf("two hooks took %v", slowest)
	}
	if here.turned.Load()+there.turned.Load() != 0 {
		t.Errorf("%d peers were ended by the outage", here.turned.Load()+there.turned.Load())
	}
	if here.st.Stats()["spool_replayed"] == 0 {
		t.Error("nothing went through the spool: the fault did not take hold")
	}
	t.Logf("hooks while away: slowest two %v; visible everywhere %v after the return", slowest.Round(time.Millisecond), visible.Round(time.Millisecond))
}

func TestOutageTakesNoPeerOffline(t *testing.T) {
	for name, a := range absences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outage(t, a, 3*time.Second, redisstore.DefaultConfig().Stale)
		})
	}
}

// TestStaleAnswersEnd: answers from the near cache are as old as they say, and there are none
// beyond the stale time.
func TestStaleAnswersEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Run(t)
	cfg := config("redis://" + server.Addr)
	cfg.Deadline, cfg.Stale, cfg.Spool = 250*time.Millisecond, 2*time.Second, t.TempDir()
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom")); err != nil {
		t.Fatal(err)
	}
	n.see(patience, presence.Online, "tom")
	n.warm("tom", "ann")
	server.Freeze()
	t.Cleanup(server.Thaw)
	if err := n.report(n.hook(presence.KindOnline, "ann")); err != nil { // into the spool
		t.Fatal(err)
	}
	eventually(t, "nothing is answered any more", func() bool {
		refused := 0
		for _, p := range []string{"tom", "ann"} {
			got, age, err := n.ask(p)
			switch {
			case errors.Is(err, presence.ErrUnavailable):
				refused++
			case err != nil || age > cfg.Stale || age > 0 && got[0] != presence.Online && p == "tom":
				t.Fatalf("%s is %v, %v old (error %v)", p, got[0], age, err)
			}
		}
		return refused == 2
	})
	server.Thaw()
	n.see(patience, presence.Online, "tom", "ann")
}

// TestEmptyRestart: Redis comes back with nothing. What the node has just acknowledged is there
// again, with a new epoch; what it does not hold is unknown, not offline.
func TestEmptyRestart(t *testing.T) {
	server := redistest.Run(t)
	cfg := config("redis://" + server.Addr)
	cfg.Deadline, cfg.Spool = time.Second, t.TempDir()
	var log book
	cfg.Log = log.logger()
	n := startNode(t, cfg, "n")
	other := startNode(t, cfg2(cfg, t), "other")
	mine, gone := numbered("mine", 200), numbered("gone", 5)
	for _, p := range mine {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	// Only Redis remembers these.
	st, err := cfg2(cfg, t).Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	third := &node{t: t, st: st, svc: presence.NewService(st, presence.DefaultConfig())}
	for _, p := range gone {
		if err := third.report(third.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	n.see(patience, presence.Online, gone...)
	_ = st.Close()
	before, beforeRev := n.st.Epoch(), revOf(t, n, mine[0])

	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if v, _ := server.Try("EXISTS", "onOffStatus:"+gone[0]); v != int64(0) {
		t.Fatal("redis came back with what it had: the fault did not take hold")
	}
	took := other.see(patience, presence.Online, mine...)
	t.Logf("replayed within %v of the return", took.Round(time.Millisecond))
	if log.lines("redis link lost", "addr="+server.Addr) == 0 {
		t.Error("the log does not name the link that was lost")
	}
	n.see(patience, presence.Unknown, gone...)
	if n.st.Epoch() == before {
		t.Error("the epoch is the same")
	}
	if after := revOf(t, n, mine[0]); after <= beforeRev {
		t.Errorf("revision %d follows %d", after, beforeRev)
	}
}

func cfg2(cfg redisstore.Setup, t testing.TB) redisstore.Setup {
	cfg.Spool = t.TempDir()
	return cfg
}

func revOf(t testing.TB, n *node, peer string) uint64 {
	t.Helper()
	out := make([]presence.Summary, 1)
	if _, err := n.st.Summaries(context.Background(), []presence.Key{{App: "app", Peer: presence.PeerID(peer)}}, out); err != nil {
		t.Fatal(err)
	}
	return out[0].Rev
}

// TestFrozenLink: the connections stay open and say nothing. The cache is not believed for longer
// than three seconds.
func TestFrozenLink(t *testing.T) {
	server := redistest.Run(t)
	for name, dirs := range map[string][]int{
		"both ways": nil, "it writes and hears nothing": {redistest.ToClient}, "it hears and writes nothing": {redistest.ToServer},
	} {
		t.Run(name, func(t *testing.T) {
			pace := redistest.NewPace(t)
			proxy := redistest.RunProxy(t, server.Addr)
			cfg := config("redis://" + proxy.Addr)
			cfg.Deadline = 250 * time.Millisecond
			st := open(t, cfg)
			peer := [][]byte{[]byte("tom " + name)}
			out := make([]presence.Status, 1)
			server.Do(t, "SET", "onOffStatus:tom "+name, "1")
			if _, err := st.Statuses(t.Context(), "app", peer, st.Now(), out); err != nil || out[0] != presence.Online {
				t.Fatalf("%v, %v", out[0], err)
			}
			proxy.Freeze(dirs...)
			begun := time.Now()
			server.Do(t, "SET", "onOffStatus:tom "+name, "0")
			for {
				age, err := st.Statuses(t.Context(), "app", peer, st.Now(), out)
				if err != nil || age > 0 {
					break
				}
				if took := time.Since(begun); took > pace.Allow(3*time.Second) {
					t.Fatalf("after %v the cache is still believed", took)
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("noticed after %v", time.Since(begun).Round(time.Millisecond))
			proxy.Thaw()
			for begun := time.Now(); out[0] != presence.Offline; {
				_, _ = st.Statuses(t.Context(), "app", peer, st.Now(), out)
				if time.Since(begun) > patience {
					t.Fatalf("after the thaw it is %v", out[0])
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}
