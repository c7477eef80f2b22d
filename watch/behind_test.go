package watch_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// A wall is a pusher that has no room, and counts who asks.
type wall struct{ asked, taken atomic.Int64 }

func (w *wall) Ready() bool            { w.asked.Add(1); return false }
func (w *wall) Push(*watch.Batch) bool { w.taken.Add(1); return true }

// A watcher that takes nothing costs the hub nothing after its first word: it is not asked for
// room, nothing is put into bytes for it, its goroutine is not woken, and its lock is not waited
// for. Once it takes again it receives the latest of all it missed.
func TestAWatcherThatStoppedCostsNothing(t *testing.T) {
	cfg := watch.DefaultConfig()
	cfg.Tick, cfg.Mark = 10*time.Millisecond, time.Hour
	h := open(t, cfg)
	other := h.watch("", "tom", "ann", "bob")
	h.expect(other, time.Minute, "snapshot tom=unknown ann=unknown bob=unknown")
	stopped := h.watch("", "tom", "ann", "bob")
	h.expect(stopped, time.Minute, "snapshot tom=unknown ann=unknown bob=unknown")
	full := &wall{}
	stopped.Attach(full)
	var returns atomic.Int64
	room, took := make(chan struct{}), make(chan string)
	go func() {
		for stuck := false; ; {
			b, err := stopped.Next(t.Context())
			if err != nil {
				t.Error(err)
				close(took)
				return
			}
			returns.Add(1)
			if b.Kind == watch.Stuck {
				stuck = true
				<-room
				continue
			}
			if !stuck {
				continue // it came into Next behind the first change
			}
			var words []string
			for _, u := range b.Updates {
				words = append(words, fmt.Sprint(u.Peer, "=", u.Status))
			}
			slices.Sort(words)
			took <- fmt.Sprint(b.Kind, words, !b.Token.IsZero())
			return
		}
	}()
	change := func(peer string, i int) {
		t.Helper()
		kind := []presence.Kind{on, off}[i%2]
		h.report(kind, peer, fmt.Sprint(i/2), logout)
		want := fmt.Sprintf("change %s=%s", peer, []presence.Status{presence.Online, presence.Offline}[i%2])
		if got, _ := h.next(other, time.Minute); got != want {
			t.Fatalf("the other received %q, want %q", got, want)
		}
	}
	// That the other received a change shows that the hub is done with the one before: an update is
	// queued, then the watcher is behind.
	round := 0
	for ; full.asked.Load() == 0; round++ {
		change("tom", round)
	}
	for range 3 {
		change("tom", round)
		round++
	}
	woken, behind := returns.Load(), h.hub.Stats().Behind
	if behind == 0 {
		t.Error("it did not fall behind")
	}
	notified := h.hub.Stats().Notified
	release := sync.OnceFunc(stopped.Seize())
	defer release()
	for i := range 101 {
		change("tom", round)
		round++
		change("ann", i)
	}
	release()
	if n := full.asked.Load(); n != 1 {
		t.Errorf("it was asked for room %d times, want once", n)
	}
	if n := full.taken.Load(); n != 0 {
		t.Errorf("it was pushed to %d times", n)
	}
	if n := returns.Load() - woken; n != 0 {
		t.Errorf("its goroutine was woken %d times", n)
	}
	if s := h.hub.Stats(); s.Notified-notified != 202 || s.Behind != behind {
		t.Errorf("%d updates were sent, 202 of them to the other, and it fell behind %d times again", s.Notified-notified, s.Behind-behind)
	}
	close(room)
	last := []string{"offline", "online"}[round%2]
	if got, want := <-took, "change [ann=online tom="+last+"] true"; got != want {
		t.Errorf("in the end it took %s, want %s", got, want)
	}
}

// A watcher that has not taken its snapshot is behind with the first change, and its token comes
// when it knows all.
func TestAWatcherThatHasNotBegun(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		h.report(on, "ann", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		if err := w.Add(t.Context(), []presence.PeerID{"ann"}); err != nil {
			t.Fatal(err)
		}
		for i, peer := range []string{"tom", "ann", "tom"} {
			h.report([]presence.Kind{off, off, on}[i], peer, fmt.Sprint(i/2+1), logout)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if n := h.hub.Stats().Behind; n != 1 {
			t.Errorf("it fell behind %d times", n)
		}
		if token := h.expect(w, time.Second, "snapshot ann=offline"); !token.IsZero() {
			t.Error("the snapshot has a token, though a change is queued")
		}
		if token := h.expect(w, time.Second, "change tom=online"); token.IsZero() {
			t.Error("the change has no token")
		}
		h.expect(w, 10*time.Second, "")
		h.report(off, "tom", "2", logout)
		h.expect(w, time.Second, "change tom=offline")
	})
}
