package redisstore

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestReplyIsLost: the script runs, its answer is lost with the connection, and before the report
// is said once more another process writes the same peer. Nothing is counted twice, and nothing is
// lost: what stands is what both would have made in that order with no fault.
func TestReplyIsLost(t *testing.T) {
	server := redistest.Run(t)
	rules := presence.DefaultRules()
	now := presence.MillisOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	hook := func(kind presence.Kind, id string, at presence.Millis) presence.Report {
		return presence.Report{App: "app", Source: presence.SourceLeanCloud, Kind: kind, ID: id, At: at}
	}
	session := func(kind presence.Kind, name string, at presence.Millis) presence.Report {
		return presence.Report{
			App: "app", Source: presence.SourceGateway, Session: presence.SessionID(name), Node: "n", Kind: kind, At: at, Lease: time.Minute,
		}
	}
	on, off := presence.KindOnline, presence.KindOffline
	tests := []struct {
		name         string
		first        []presence.Report // said before, without a fault
		cut, between presence.Report
		want         presence.Status
		open         int // hooks' sum
	}{
		{"a device comes, and another", nil, hook(on, "a", now), hook(on, "b", now+1), presence.Online, 2},
		{"a device comes and goes", nil, hook(on, "a", now), hook(off, "b", now+1), presence.Offline, 0},
		{
			"one of two goes, and then the other",
			[]presence.Report{hook(on, "x", now), hook(on, "y", now+1)},
			hook(off, "a", now+2), hook(off, "b", now+3), presence.Offline, 0,
		},
		{"one goes and one comes", []presence.Report{hook(on, "x", now)}, hook(off, "a", now+1), hook(on, "b", now+2), presence.Online, 1},
		{"a session, and another", nil, session(on, "a", now), session(on, "b", now+1), presence.Online, 0},
		{"a session comes and goes", nil, session(on, "a", now), session(off, "a", now+1), presence.Offline, 0},
		{"a session goes and is there again", []presence.Report{session(on, "a", now)}, session(off, "a", now+1), session(on, "a", now+2), presence.Online, 0},
		{
			"the same hook by another road",
			[]presence.Report{hook(on, "x", now)},
			hook(on, "a", now+1), hook(on, "a", now+1), presence.Online, 2,
		},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxy := redistest.RunProxy(t, server.Addr)
			a, b := openAt(t, proxy.Addr), openAt(t, server.Addr)
			apply := func(s *Store, peer presence.PeerID, r presence.Report) {
				t.Helper()
				r.Peer = peer
				err := s.Update(context.Background(), []presence.Key{r.Key()}, r.At, func(_ int, st *presence.State) presence.Effect {
					_, e := st.Apply(&r, r.At, &rules)
					return e
				})
				if err != nil {
					t.Errorf("%s: %v", peer, err)
				}
			}
			load := func(peer presence.PeerID) (st presence.State) {
				t.Helper()
				if err := b.Load(context.Background(), presence.Key{App: "app", Peer: peer}, &st); err != nil {
					t.Error(err)
				}
				return st
			}
			peer, control := presence.PeerID(fmt.Sprint("peer", i)), presence.PeerID(fmt.Sprint("control", i))
			apply(b, "somebody", tt.cut) // so that Redis knows the script
			for _, r := range tt.first {
				apply(b, peer, r)
			}
			before := load(peer).Rev

			var other sync.WaitGroup
			once := false
			a.onPause = func(stage string) {
				if stage != "before the state" || once {
					return
				}
				once = true
				proxy.Freeze(redistest.ToClient) // from here on no answer comes
				other.Go(func() {
					defer proxy.Thaw()
					for begun := time.Now(); load(peer).Rev == before; time.Sleep(time.Millisecond) {
						if time.Since(begun) > redistest.Patience {
							t.Error("the script has not run: the fault did not take hold")
							return
						}
					}
					apply(b, peer, tt.between)
					if proxy.Cut() == 0 {
						t.Error("nothing was cut: the fault did not take hold")
					}
				})
			}
			apply(a, peer, tt.cut)
			other.Wait()

			for _, r := range append(append([]presence.Report{}, tt.first...), tt.cut, tt.between) {
				apply(b, control, r)
			}
			got, want := load(peer), load(control)
			if got.Status != tt.want {
				t.Errorf("it is %v, want %v", got.Status, tt.want)
			}
			open := 0
			for _, s := range got.Slots {
				open += int(s.Open)
			}
			if open != tt.open {
				t.Errorf("%d devices are counted, want %d", open, tt.open)
			}
			got.Rev, want.Rev = 0, 0
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if tt.want == presence.Online {
				if keys, err := b.Due(context.Background(), now.Add(30*24*time.Hour), 100); err != nil || !named(keys, peer) && !onNode(t, b, peer) {
					t.Errorf("no index names it: %v, %v", keys, err)
				}
			}
			if a.stats.conflicts.Load() == 0 {
				t.Error("the script did not run again: the fault did not take hold")
			}
		})
	}
}

// TestLostAnswersOfASweepAreCounted: Redis carries out what a sweep has sent, and no answer comes
// in time. The ends count once all the same, when a later sweep finds them.
func TestLostAnswersOfASweepAreCounted(t *testing.T) {
	const sessions = 300
	server := redistest.Run(t)
	proxy := redistest.RunProxy(t, server.Addr)
	a, b := openAt(t, proxy.Addr), openAt(t, server.Addr)
	a.cfg.Deadline = time.Second
	ctx, now := t.Context(), b.conn.Now()
	if err := b.Heartbeat(ctx, "dead", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	reports, summaries := make([]presence.Report, sessions), []string{"MGET"}
	for i := range reports {
		peer := fmt.Sprint("p", i)
		reports[i] = presence.Report{App: "app", Peer: presence.PeerID(peer), Source: presence.SourceGateway, Session: "s", Node: "dead", Kind: presence.KindOnline, At: now}
		summaries = append(summaries, "onOffStatus:"+peer)
	}
	if err := presence.NewService(b, presence.DefaultConfig()).Report(ctx, reports, now, make([]presence.Outcome, sessions)); err != nil {
		t.Fatal(err)
	}
	ended := func() (n int) {
		list, _ := server.Do(t, summaries...).([]any)
		for _, v := range list {
			if v == "0" {
				n++
			}
		}
		return n
	}
	svc := presence.NewService(a, presence.DefaultConfig())
	later := now.Add(time.Hour) // no standstill lasts that long
	turned := 0
	for begun := time.Now(); ; { // a process that is starved may send nothing in time
		var once sync.Once
		a.onPause = func(stage string) {
			if stage == "before the state" {
				once.Do(func() { proxy.Freeze(redistest.ToClient) })
			}
		}
		n, err := svc.Sweep(ctx, later)
		proxy.Thaw()
		turned += n
		if err != nil && turned < ended() {
			break
		}
		if turned == sessions || time.Since(begun) > redistest.Patience {
			t.Fatalf("%d ends are counted of %d (error %v): the fault did not take hold", turned, ended(), err)
		}
	}
	a.onPause = nil
	for begun := time.Now(); turned < sessions; time.Sleep(5 * time.Millisecond) {
		n, _ := svc.Sweep(ctx, later)
		turned += n
		if time.Since(begun) > redistest.Patience {
			break
		}
	}
	counted := svc.Counters().Expired(presence.CauseNodeLost)
	if turned != sessions || counted != sessions || ended() != sessions {
		t.Errorf("%d ends are counted, %d by the tally, of %d that took place; want %d", turned, counted, ended(), sessions)
	}
}

func openAt(t *testing.T, addr string) *Store {
	t.Helper()
	cfg := At("redis://" + addr)
	cfg.RecipeApp, cfg.Deadline = "app", 10*time.Second
	s, err := cfg.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func named(keys []presence.Key, peer presence.PeerID) bool {
	for _, k := range keys {
		if k.Peer == peer {
			return true
		}
	}
	return false
}

func onNode(t *testing.T, s *Store, peer presence.PeerID) bool {
	t.Helper()
	keys, err := s.OnNode(context.Background(), "n", 100)
	if err != nil {
		t.Fatal(err)
	}
	return named(keys, peer)
}
