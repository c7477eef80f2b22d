package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

func TestSnapshotThenChanges(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		w := h.watch("", "tom", "ann", "tom")
		h.expect(w, 0, "snapshot tom=online ann=unknown")
		h.expect(w, 10*time.Second, "")
		h.report(on, "ann", "1")
		h.expect(w, time.Second, "change ann=online")
		h.report(off, "tom", "1", logout)
		h.report(off, "ann", "1", logout)
		h.expect(w, time.Second, "change tom=offline ann=offline")
	})
}

func TestAWatcherReceivesOnlyItsPeers(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		h.report(on, "ann", "1")
		r := presence.Report{App: "other", Peer: "tom", Source: presence.SourceAPI, Session: "1", Kind: on, At: now()}
		if err := h.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
		h.expect(w, 10*time.Second, "")
	})
}

func TestTheFirstChangeIsPromptAndTheRestShareATick(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom", "ann")
		h.expect(w, 0, "snapshot tom=unknown ann=unknown")
		time.Sleep(time.Second)
		start := time.Now()
		h.report(on, "tom", "1")
		h.expect(w, time.Second, "change tom=online")
		if took := time.Since(start); took > 0 {
			t.Errorf("the first change after a quiet time took %v", took)
		}
		h.report(on, "ann", "1")
		h.report(off, "tom", "1", logout)
		h.report(on, "tom", "2")
		h.report(off, "tom", "2", logout)
		h.expect(w, time.Second, "change ann=online tom=offline")
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("the next frame came after %v, want one tick", took)
		}
	})
}

func TestASecondDeviceIsNoChange(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		h.report(on, "tom", "2")
		h.report(off, "tom", "1", logout)
		h.expect(w, 10*time.Second, "")
	})
}

func TestMarksShowThatAStreamLives(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		start := time.Now()
		if token := h.expect(w, time.Minute, "mark"); token.IsZero() {
			t.Error("the mark has no token")
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("the mark came after %v, want 15s", took)
		}
	})
}

func TestExpiryIsNotified(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1", lease(30*time.Second))
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		time.Sleep(31 * time.Second)
		if _, err := h.Sweep(context.Background(), now()); err != nil {
			t.Fatal(err)
		}
		h.expect(w, time.Second, "change tom=offline")
	})
}

func TestHold(t *testing.T) {
	tests := []struct {
		name string
		play func(h *house)
		want []string // what is sent, each with the second after the play began
	}{
		{"a lost session is notified after its hold", func(h *house) {
			h.report(off, "tom", "1", lost(10*time.Second))
		}, []string{"10s change tom=offline"}},
		{"a logout is notified at once", func(h *house) {
			h.report(off, "tom", "1", logout)
		}, []string{"0s change tom=offline"}},
		{"a return within the hold notifies nothing", func(h *house) {
			h.report(off, "tom", "1", lost(10*time.Second))
			time.Sleep(9 * time.Second)
			h.report(on, "tom", "2")
		}, nil},
		{"a return after the hold is notified", func(h *house) {
			h.report(off, "tom", "1", lost(3*time.Second))
			time.Sleep(4 * time.Second)
			h.report(on, "tom", "2")
		}, []string{"3s change tom=offline", "4s change tom=online"}},
		{"a logout while held is notified at once", func(h *house) {
			h.report(off, "tom", "1", lost(10*time.Second))
			time.Sleep(2 * time.Second)
			h.report(on, "tom", "2")
			// A watcher looked at for nothing is looked at again a little later.
			time.Sleep(time.Second)
			h.report(off, "tom", "2", logout)
		}, []string{"3s change tom=offline"}},
		{"every loss has its own hold", func(h *house) {
			h.report(off, "tom", "1", lost(10*time.Second))
			time.Sleep(9 * time.Second)
			h.report(on, "tom", "2")
			time.Sleep(time.Second)
			h.report(off, "tom", "2", lost(10*time.Second))
		}, []string{"20s change tom=offline"}},
		{"an expiry is held as its session asked", func(h *house) {
			h.report(on, "tom", "2", lease(2*time.Second), func(r *presence.Report) { r.Hold = 5 * time.Second })
			h.report(off, "tom", "1", logout)
			time.Sleep(2 * time.Second)
			if _, err := h.Sweep(context.Background(), now()); err != nil {
				h.Fatal(err)
			}
		}, []string{"7s change tom=offline"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.report(on, "tom", "1")
				w := h.watch("", "tom")
				h.expect(w, 0, "snapshot tom=online")
				time.Sleep(time.Second)
				start := time.Now()
				go tt.play(h)
				var got []string
				for time.Since(start) < 14*time.Second || len(got) < len(tt.want) && time.Since(start) < time.Minute {
					received, _ := h.next(w, 13*time.Second)
					if received != "" && received != "mark" {
						// A pass may come between two reports of the same moment; the second is
						// then sent one gap later.
						got = append(got, fmt.Sprint(time.Since(start).Round(100*time.Millisecond), " ", received))
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Errorf("received %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestHoldsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		h.report(off, "tom", "1", lost(10*time.Second))
		synctest.Wait()
		time.Sleep(time.Second)
		h.report(on, "tom", "2")
		time.Sleep(time.Second)
		h.report(off, "tom", "2", lost(time.Second))
		time.Sleep(5 * time.Second)
		h.expect(w, time.Second, "change tom=offline")
		if s := h.hub.Stats(); s.Holds != 2 || s.Hidden != 1 {
			t.Errorf("%d holds of which %d hid a return, want 2 and 1", s.Holds, s.Hidden)
		}
	})
}

func TestAWatcherThatComesDuringAHoldSeesWhatTheOthersSee(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		a := h.watch("", "tom")
		h.expect(a, 0, "snapshot tom=online")
		h.report(off, "tom", "1", lost(10*time.Second))
		time.Sleep(time.Second)
		b := h.watch("", "tom")
		h.expect(b, 0, "snapshot tom=online")
		time.Sleep(9 * time.Second)
		h.expect(a, time.Second, "change tom=offline")
		h.expect(b, time.Second, "change tom=offline")
	})
}

func TestResume(t *testing.T) {
	settle := func(h *house, w *watch.Watcher) string {
		h.Helper()
		time.Sleep(20 * time.Second) // tokens lag behind
		_, token := h.next(w, time.Minute)
		return token.String()
	}
	t.Run("nothing happened", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house) {
			h.report(on, "tom", "1")
			w := h.watch("", "tom", "ann")
			h.expect(w, 0, "snapshot tom=online ann=unknown")
			token := settle(h, w)
			h.expect(h.watch(token, "ann", "tom"), 0, "resume")
		})
	})
	t.Run("what changed meanwhile is sent", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house) {
			h.report(on, "tom", "1")
			h.report(on, "bob", "1")
			w := h.watch("", "tom", "ann", "bob")
			h.expect(w, 0, "snapshot tom=online ann=unknown bob=online")
			token := settle(h, w)
			w.Close(watch.ReasonGone)
			h.report(off, "tom", "1", logout)
			h.report(on, "ann", "1")
			h.expect(h.watch(token, "tom", "ann", "bob"), 0, "resume tom=offline ann=online")
		})
	})
	t.Run("a peer erased meanwhile is sent", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house) {
			h.report(on, "tom", "1")
			h.report(on, "bob", "1")
			w := h.watch("", "tom", "bob")
			h.expect(w, 0, "snapshot tom=online bob=online")
			token := settle(h, w)
			w.Close(watch.ReasonGone)
			if err := h.Erase(context.Background(), []presence.Key{{App: app, Peer: "tom"}}, now()); err != nil {
				t.Fatal(err)
			}
			h.expect(h.watch(token, "tom", "bob"), 0, "resume tom=unknown")
		})
	})
	t.Run("a lease that no sweep has ended yet is sent", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house) {
			h.report(on, "tom", "1", lease(time.Minute))
			w := h.watch("", "tom")
			h.expect(w, 0, "snapshot tom=online")
			token := settle(h, w)
			w.Close(watch.ReasonGone)
			time.Sleep(time.Minute)
			h.expect(h.watch(token, "tom"), 0, "resume tom=offline")
		})
	})
	t.Run("a hold that hid the end from the first watch is sent to the second", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house) {
			h.report(on, "tom", "1")
			w := h.watch("", "tom")
			h.expect(w, 0, "snapshot tom=online")
			h.report(off, "tom", "1", lost(30*time.Second))
			token := settle(h, w) // its horizon is past the end, which the hold still hides
			w.Close(watch.ReasonGone)
			time.Sleep(20 * time.Second)
			h.expect(h.watch(token, "tom"), 0, "resume tom=offline")
		})
	})
	for name, bend := range map[string]func(sealed) string{
		"no token":                  func(sealed) string { return "" },
		"a token that is none":      func(sealed) string { return "%%%" },
		"one of another list":       func(k sealed) string { k.List++; return k.String() },
		"one of another epoch":      func(k sealed) string { k.Epoch++; return k.String() },
		"one from the future":       func(k sealed) string { k.Horizon += 1 << 40; return k.String() },
		"the end of a long token":   func(k sealed) string { return k.String()[1:] },
		"a token and something":     func(k sealed) string { return k.String() + "A" },
		"a token of another format": func(k sealed) string { return "B" + k.String()[1:] },
	} {
		t.Run(name+" gets a snapshot", func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.report(on, "tom", "1")
				w := h.watch("", "tom")
				h.expect(w, 0, "snapshot tom=online")
				k, ok := h.tokens.Open(app, settle(h, w))
				if !ok {
					t.Fatal("no token")
				}
				h.expect(h.watch(bend(k), "tom"), 0, "snapshot tom=online")
			})
		})
	}
}

func TestAddAndRemove(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "ann", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		if err := w.Add(context.Background(), []presence.PeerID{"ann", "tom"}); err != nil {
			t.Fatal(err)
		}
		h.expect(w, 0, "snapshot ann=online")
		w.Remove([]presence.PeerID{"tom", "nobody"})
		h.report(on, "tom", "1")
		h.report(off, "ann", "1", logout)
		h.expect(w, time.Second, "change ann=offline")
		if w.Len() != 1 {
			t.Errorf("%d peers are followed, want 1", w.Len())
		}
		w.Remove([]presence.PeerID{"ann"})
		if s := h.hub.Stats(); s.Peers != 0 {
			t.Errorf("the hub still follows %d peers", s.Peers)
		}
	})
}

func TestLimits(t *testing.T) {
	cfg := watch.DefaultConfig()
	cfg.Peers, cfg.Watchers = 2, 1
	h := open(t, cfg)
	if _, err := h.hub.Watch(context.Background(), view, []presence.PeerID{"a", "b", "c"}, presence.DetailFull, ""); !errors.Is(err, watch.ErrLimit) {
		t.Errorf("three peers of two: %v", err)
	}
	w := h.watch("", "a", "b")
	if err := w.Add(context.Background(), []presence.PeerID{"c"}); !errors.Is(err, watch.ErrLimit) {
		t.Errorf("a third peer: %v", err)
	}
	if _, err := h.hub.Watch(context.Background(), view, []presence.PeerID{"a"}, presence.DetailFull, ""); !errors.Is(err, watch.ErrLimit) {
		t.Errorf("a second watcher of one: %v", err)
	}
	if s := h.hub.Stats(); s.Peers != 2 || s.Watchers != 1 {
		t.Errorf("%d peers and %d watchers are left, want 2 and 1", s.Peers, s.Watchers)
	}
}

func TestALongSnapshotComesInParts(t *testing.T) {
	cfg := watch.DefaultConfig()
	cfg.Buffer = 4 << 10
	h := open(t, cfg)
	var peers []presence.PeerID
	for i := range 100 {
		peers = append(peers, presence.PeerID(fmt.Sprintf("peer-%03d", i)))
	}
	w := h.watch("", peers...)
	total, parts := 0, 0
	for more := true; more; parts++ {
		b, err := w.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, u := range b.Updates {
			size += len(u.JSON(presence.DetailFull))
		}
		if b.Kind != watch.Snapshot || size > cfg.Buffer {
			t.Fatalf("part %d is a %v of %d bytes", parts, b.Kind, size)
		}
		if more = b.More; more == !b.Token.IsZero() {
			t.Errorf("part %d: more %v, token %v", parts, more, b.Token)
		}
		total += len(b.Updates)
	}
	if total != len(peers) || parts < 3 {
		t.Errorf("%d words in %d parts", total, parts)
	}
}

func TestTheStoreGoesAwayAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		h.store.down.Store(true)
		h.report(on, "tom", "1")
		h.expect(w, 3*time.Second, "")
		if _, err := h.hub.Watch(context.Background(), view, []presence.PeerID{"ann"}, presence.DetailFull, ""); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("a new watch while the store is away: %v", err)
		}
		h.store.down.Store(false)
		h.expect(w, time.Second, "change tom=online")
		if s := h.hub.Stats(); s.Watchers != 1 || s.Peers != 1 || s.Failures == 0 {
			t.Errorf("after the outage: %+v", s)
		}
	})
}

func TestCloseSaysWhy(t *testing.T) {
	h := open(t, watch.DefaultConfig())
	w := h.watch("", "tom")
	h.hub.Close(watch.ReasonShutdown)
	if _, err := w.Next(context.Background()); !errors.Is(err, watch.ErrClosed) || w.Reason() != watch.ReasonShutdown {
		t.Errorf("got %v because of %q", err, w.Reason())
	}
	if _, err := h.hub.Watch(context.Background(), view, []presence.PeerID{"tom"}, presence.DetailFull, ""); !errors.Is(err, watch.ErrClosed) {
		t.Errorf("a watch after the end: %v", err)
	}
	if s := h.hub.Stats(); s.Closed[watch.ReasonShutdown] != 1 {
		t.Errorf("closed: %v", s.Closed)
	}
}
