package reconcile

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

const (
	// mostSuspects is how many peers are asked about before all others.
	mostSuspects = 2 * window
	// offlineWithin is how long ago a peer went offline that is asked about in rounds.
	offlineWithin = 24 * time.Hour
	// offlineAtOnce is how many ids of such peers are held at a time; for more the store is walked
	// again.
	offlineAtOnce = 100_000
)

// online calls fn with every peer of the app that is online, and their states, some at a time.
func (w *worker) online(ctx context.Context, fn func([]presence.PeerID, []presence.State) error) error {
	room := statesPool.Get().(*[]presence.State)
	defer statesPool.Put(room)
	var keys []presence.Key
	for cursor := ""; ; {
		if err := w.ready(); err != nil {
			return err
		}
		peers, next, err := w.deps.Ask.List(ctx, ask.View{App: w.src.App, Viewer: ask.Server}, cursor, window)
		if err != nil {
			return err
		}
		keys = keys[:0]
		for _, p := range peers {
			keys = append(keys, w.key(p))
		}
		states, _, err := w.load(ctx, keys, room)
		if err != nil {
			return err
		}
		if err := fn(peers, states); err != nil {
			return err
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// mine returns those of peers that the source has reported.
func (w *worker) mine(peers []presence.PeerID, states []presence.State) []presence.PeerID {
	leases := w.deps.Service.Leases(w.deps.Now())
	var list []presence.PeerID
	for i, p := range peers {
		if s := standingOf(&states[i], w.src.ID, leases); s.known {
			list = append(list, p)
		}
	}
	return list
}

// beforeOthers is longer than anything lasts.
const beforeOthers = presence.Millis(1) << 50

// A suspect is a peer that is shown online, and how long nothing was reported of it.
type suspect struct {
	peer presence.PeerID
	rank presence.Millis // the least comes first
}

// suspects are those of the least rank; the greatest is on top.
type suspects []suspect

func (s suspects) Len() int           { return len(s) }
func (s suspects) Less(i, j int) bool { return s[i].rank > s[j].rank }
func (s suspects) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push is part of heap.Interface.
func (s *suspects) Push(v any) { *s = append(*s, v.(suspect)) }

// Pop is part of heap.Interface.
func (s *suspects) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// suspects returns the peers whose online is the most doubtful: hooks that do not add up and leases
// that are nearly over, then those whose last report is oldest.
func (w *worker) suspects(ctx context.Context) ([]presence.PeerID, error) {
	var worst suspects
	err := w.online(ctx, func(peers []presence.PeerID, states []presence.State) error {
		leases := w.deps.Service.Leases(w.deps.Now())
		for i, p := range peers {
			s := standingOf(&states[i], w.src.ID, leases)
			if !s.live() {
				continue
			}
			rank := s.word
			if s.doubtful || s.until < leases.Add(2*w.src.Reconcile.Every) {
				rank -= beforeOthers
			}
			switch one := (suspect{p, rank}); {
			case len(worst) < mostSuspects:
				heap.Push(&worst, one)
			case rank < worst[0].rank:
				worst[0] = one
				heap.Fix(&worst, 0)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(worst, func(a, b suspect) int { return cmp.Compare(a.rank, b.rank) })
	list := make([]presence.PeerID, len(worst))
	for i, s := range worst {
		list[i] = s.peer
	}
	return list, nil
}

// offline calls fn with the peers of the source that went offline within a day, some at a time. No
// more than offlineAtOnce ids are held: where there are more, each walk of the store takes one part
// of them.
func (w *worker) offline(ctx context.Context, fn func([]presence.PeerID) error) error {
	seed := maphash.MakeSeed()
	for part, parts := uint64(0), uint64(1); part < parts; part++ {
		var list []presence.PeerID
		total := uint64(0)
		err := w.walkOffline(ctx, func(p presence.PeerID) {
			total++
			if parts > 1 && maphash.String(seed, string(p))%parts != part {
				return
			}
			if len(list) < 2*offlineAtOnce {
				list = append(list, p)
			}
		})
		if err != nil {
			return err
		}
		if parts == 1 && total > offlineAtOnce { // walk again, for a part at a time
			parts = total/offlineAtOnce + 1
			part--
			continue
		}
		for some := range slices.Chunk(list, window) {
			if err := fn(some); err != nil {
				return err
			}
		}
	}
	return nil
}

// walkOffline calls fn with each peer of the source that went offline within a day.
func (w *worker) walkOffline(ctx context.Context, fn func(presence.PeerID)) error {
	now := w.deps.Now()
	var st presence.State
	err := w.deps.Service.Walk(ctx, func(key presence.Key, packed []byte) error {
		if key.App != w.src.App {
			return nil
		}
		if status, _ := presence.PeekStatus(packed, now, w.deps.Service.Rules()); status == presence.Online {
			return nil // before it is unpacked: most are
		}
		sum := presence.PeekSummary(packed)
		if sum.Status != presence.Offline || sum.Since < now.Add(-offlineWithin) {
			return nil
		}
		if st.Unpack(packed) != nil {
			return nil // of a later release, or damaged; the store has said so
		}
		if s := standingOf(&st, w.src.ID, now); s.known || w.limits.Counted && forgets(&st) {
			fn(key.Peer)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk the peers that are offline: %w", err)
	}
	return nil
}
