package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/watch"
)

// While the store is out of reach a watch that begins gets what a query gets: a snapshot with its
// age, for peers that were read before and for peers that others watch already, and the refusal of
// a query when the age is past its limit.
func TestAWatchThatBeginsInAnOutageGetsASnapshotWithItsAge(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		h.report(on, "ann", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		h.store.since.Store(time.Now().UnixNano())
		time.Sleep(4 * time.Second)
		for _, peers := range [][]presence.PeerID{{"tom"}, {"ann"}, {"tom", "ann"}} {
			b, err := h.watch("", peers...).Next(t.Context())
			if err != nil || b.Kind != watch.Snapshot || len(b.Updates) != len(peers) || b.Age != 4*time.Second {
				t.Errorf("watch %v: %v of %d peers, %v old, %v; want a snapshot, 4s old", peers, b.Kind, len(b.Updates), b.Age, err)
			}
		}
		time.Sleep(stale)
		for _, p := range []presence.PeerID{"tom", "eve"} {
			if _, err := h.hub.Watch(t.Context(), view, []presence.PeerID{p}, presence.DetailFull, ""); !errors.Is(err, presence.ErrUnavailable) {
				t.Errorf("watch %s after the limit: %v", p, err)
			}
		}
	})
}

// An age is no change: a watcher is notified of nothing until the store is back, and its marks say
// for how long it has been away.
func TestAWatcherIsNotNotifiedOfWhatIsOld(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		h.store.since.Store(time.Now().UnixNano())
		h.report(on, "tom", "1") // as a node does whose spool took the report
		h.expect(w, 14*time.Second, "")
		b, err := w.Next(t.Context())
		if err != nil || b.Kind != watch.Mark || b.Age <= 0 {
			t.Errorf("%v with an age of %v, %v; want a mark with one", b.Kind, b.Age, err)
		}
		h.store.since.Store(0)
		h.expect(w, time.Second, "change tom=online")
		time.Sleep(15 * time.Second)
		if b, err := w.Next(t.Context()); err != nil || b.Kind != watch.Mark || b.Age != 0 {
			t.Errorf("after the return: %v with an age of %v, %v; want a mark without one", b.Kind, b.Age, err)
		}
	})
}

// While a part of the store is out of reach, as a primary of a Cluster may be, what changes on the
// others is notified; the rest is when it is back.
func TestAnOutageOfAPartKeepsBackThatPart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.store.part = "t"
		w := h.watch("", "tom", "ann")
		h.expect(w, 0, "snapshot tom=unknown ann=unknown")
		h.store.since.Store(time.Now().UnixNano())
		for i, kind := range []presence.Kind{on, off, on} {
			h.report(kind, "tom", fmt.Sprint(i/2), logout)
			h.report(kind, "ann", fmt.Sprint(i/2), logout)
			h.expect(w, time.Second, []string{"change ann=online", "change ann=offline", "change ann=online"}[i])
			h.expect(w, time.Second, "")
		}
		if b, err := h.watch("", "ann").Next(t.Context()); err != nil || b.Age != 0 {
			t.Errorf("a watch of the part that answers is %v old, %v", b.Age, err)
		}
		if b, err := h.watch("", "ann", "tom").Next(t.Context()); err != nil || b.Age == 0 {
			t.Errorf("a watch of both parts has no age; %v", err)
		}
		h.store.since.Store(0)
		h.expect(w, time.Second, "change tom=online")
	})
}

// A token that is given out in an outage names nothing that this node may have missed: a write of
// another node that was not signalled is notified after the resume.
func TestTokensDoNotPassAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=online")
		before := h.look("", "tom")
		h.store.since.Store(time.Now().UnixNano())
		time.Sleep(time.Second)
		after := now() // of a write that only others see
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b, err := w.Next(t.Context())
		if err != nil || b.Kind != watch.Mark || b.Token.Horizon > uint64(after) {
			t.Errorf("a mark names %d, past a write of %d; %v", b.Token.Horizon, after, err)
		}
		for name, token := range map[string]string{"a poll": before.Token.String(), "a first poll": ""} {
			p := h.look(token, "tom")
			_, age := p.Read()
			if age == 0 || p.Token.Horizon > before.Token.Horizon {
				t.Errorf("%s in the outage is %v old and names %d, past what was known, %d", name, age, p.Token.Horizon, before.Token.Horizon)
			}
		}
	})
}

func (h *house) look(token string, peers ...presence.PeerID) ask.Poll {
	h.Helper()
	p, err := h.reader.Poll(context.Background(), view, &ask.Question{Peers: peers, Since: token, Detail: h.detail()})
	if err != nil {
		h.Fatal(err)
	}
	return p
}
