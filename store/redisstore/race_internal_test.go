package redisstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// TestNoWriterLosesItsIndexEntry lets one process end a peer, by the sweep, by a logout or by
// reaping a node, and another open a session of that peer between any two steps of it. Whatever the
// order, a state that is online is found by its index.
func TestNoWriterLosesItsIndexEntry(t *testing.T) {
	server := redistest.Run(t)
	url := "redis://" + server.Addr
	rules := presence.DefaultRules()
	now := presence.MillisOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	ctx := context.Background()
	openStore := func(t *testing.T) *Store {
		s, err := At(url).Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	apply := func(t *testing.T, s *Store, r presence.Report, at presence.Millis) {
		t.Helper()
		err := s.Update(ctx, []presence.Key{r.Key()}, at, func(_ int, st *presence.State) presence.Effect {
			_, e := st.Apply(&r, at, &rules)
			return e
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	word := func(kind presence.Kind, session string, node presence.NodeID, at presence.Millis) presence.Report {
		return presence.Report{
			App: "app", Peer: "tom", Source: presence.SourceGateway, Session: presence.SessionID(session), Node: node, Kind: kind, At: at,
			Lease: time.Minute,
		}
	}
	later := now.Add(2 * time.Minute)
	// when the audit takes a peer out of the index that went offline at now
	idleLater := now.Add(2 * idleAfter)
	// What ends the peer, in process a.
	endings := map[string]struct {
		node presence.NodeID
		end  func(t *testing.T, a *Store)
	}{
		"the sweep": {"", func(t *testing.T, a *Store) {
			keys, err := a.Due(ctx, later, 10)
			if err != nil {
				t.Fatal(err)
			}
			a.pause("after due")
			if err := a.Update(ctx, keys, later, func(_ int, st *presence.State) presence.Effect {
				_, e := st.Expire(later, &rules)
				return e
			}); err != nil {
				t.Fatal(err)
			}
		}},
		"a logout": {"n", func(t *testing.T, a *Store) {
			apply(t, a, word(presence.KindOffline, "first", "", now+1), later)
		}},
		"the audit": {"", func(t *testing.T, a *Store) {
			if _, err := a.audit.Audit(ctx, idleLater); err != nil {
				t.Fatal(err)
			}
		}},
		"reaping": {"n", func(t *testing.T, a *Store) {
			keys, err := a.OnNode(ctx, "n", 10)
			if err != nil {
				t.Fatal(err)
			}
			a.pause("after due")
			if err := a.Update(ctx, keys, later, func(_ int, st *presence.State) presence.Effect {
				_, e := st.EndNode(presence.LostNode{Node: "n", At: now + 10}, later, &rules)
				return e
			}); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, ending := range endings {
		for _, stage := range []string{"after due", "before the state", "before the settling"} {
			for _, inner := range []string{"whole", "before its state"} {
				t.Run(fmt.Sprintf("%s, %s, the other %s", name, stage, inner), func(t *testing.T) {
					server.Do(t, "FLUSHALL")
					a, b := openStore(t), openStore(t)
					apply(t, a, word(presence.KindOnline, "first", ending.node, now), now)
					later := later
					if name == "the audit" {
						later = idleLater
						apply(t, a, word(presence.KindOffline, "first", "", now+1), now+1)
					}
					opened := word(presence.KindOnline, "second", ending.node, later)
					ran, nested := false, false
					a.onPause = func(at string) {
						if at != stage || ran {
							return
						}
						ran = true
						apply(t, b, opened, later)
					}
					if inner == "before its state" {
						// b has put its entry into the index, and not yet written its state, when
						// all of a's ending runs.
						b.onPause = func(at string) {
							if at == "before the state" && !nested {
								nested, ran = true, true
								a.onPause = nil
								ending.end(t, a)
							}
						}
						apply(t, b, opened, later)
					} else {
						ending.end(t, a)
					}
					if stage == "after due" && name == "a logout" {
						return // there is no such moment
					}
					if !ran {
						t.Fatal("the other writer never came in between")
					}
					var st presence.State
					if err := a.Load(ctx, presence.Key{App: "app", Peer: "tom"}, &st); err != nil {
						t.Fatal(err)
					}
					if st.Status != presence.Online {
						return // the other word was ended with the rest, as reaping may
					}
					var found []presence.Key
					var err error
					if ending.node != "" {
						found, err = a.OnNode(ctx, "n", 10)
					} else {
						found, err = a.Due(ctx, later.Add(time.Hour), 10)
					}
					if err != nil {
						t.Fatal(err)
					}
					if len(found) != 1 {
						t.Errorf("tom is online and no index names him: a ghost")
					}
				})
			}
		}
	}
}

// TestSettlingCosts compares the score check with a plain removal, in CPU of Redis.
func TestSettlingCosts(t *testing.T) {
	server := redistest.Run(t)
	s, err := At("redis://" + server.Addr).Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 5000
	cost := func(run func(i int) conn.Call) time.Duration {
		before := server.CPU(t)
		for i := 0; i < n; i += 250 {
			calls := make([]conn.Call, 250)
			for k := range calls {
				calls[k] = run(i + k)
			}
			if _, err := s.conn.Exec(context.Background(), settleScript, calls); err != nil {
				t.Fatal(err)
			}
		}
		return server.CPU(t) - before
	}
	for i := range n {
		server.Do(t, "ZADD", "rc:lease:0", "1000", fmt.Sprint(":p", i))
	}
	kept := cost(func(i int) conn.Call {
		return conn.Call{Keys: []string{"rc:lease:0"}, Args: []string{fmt.Sprint(":p", i), "999", ""}}
	})
	if left := server.Do(t, "ZCARD", "rc:lease:0"); left != int64(n) {
		t.Errorf("%v of %d entries are left after settling with another's score", left, n)
	}
	gone := cost(func(i int) conn.Call {
		return conn.Call{Keys: []string{"rc:lease:0"}, Args: []string{fmt.Sprint(":p", i), "1000", ""}}
	})
	if left := server.Do(t, "ZCARD", "rc:lease:0"); left != int64(0) {
		t.Errorf("%v entries are left after settling", left)
	}
	t.Logf("CPU of Redis for an entry: %v when another's score keeps it, %v when it goes", kept/n, gone/n)
}
