package changeout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/feed"
	"rollcall/presence"
)

// A walk finds what changed after a cursor that the register of this node does not go back to: it
// compares the revision of every peer of the app. What changes from its start on is in the register
// too; whichever finds a change first, an older state of the peer does not come after it.
type walk struct {
	s *Sender
	r *receiver

	// What the walk has found, by version, until the register is beyond its end.
	versions map[presence.PeerID]uint64
	end      uint64
	// Peers that were lost and whose hold runs: when it is over.
	held map[presence.PeerID]presence.Millis

	next time.Time // before it no other walk begins
}

// A walk costs the store: the next one begins walkEvery later at the earliest, and not before
// walkShare times as long as it took. A Redis that refuses client tracking never has a register.
const (
	walkEvery = 10 * time.Second
	walkShare = 20
)

// clockBack is how far the store's time may be behind a cursor before it was set back.
const clockBack = uint64(time.Minute / time.Millisecond)

// errEnough ends a walk whose receiver must list again.
var errEnough = errors.New("enough")

// walk queues what changed after from. The caller goes on reading at next.
func (w *walk) walk(ctx context.Context, from, next feed.Cursor) error {
	s, r := w.s, w.r
	horizon := from.Horizon()
	if horizon > s.deps.Service.Horizon(s.deps.Now())+clockBack {
		return w.give(next, storeWas)
	}
	if pause(ctx, time.Until(w.next)); ctx.Err() != nil {
		return ctx.Err()
	}
	begun := time.Now()
	defer func() { w.next = time.Now().Add(max(walkEvery, walkShare*time.Since(begun))) }()
	r.mu.Lock()
	r.walking = true
	r.mu.Unlock()
	w.versions, w.held = map[presence.PeerID]uint64{}, map[presence.PeerID]presence.Millis{}
	var found []feed.Change
	err := s.deps.Service.Walk(ctx, func(key presence.Key, packed []byte) error {
		if key.App != r.App {
			return nil
		}
		if c, ok := w.judge(key.Peer, presence.PeekSummary(packed), horizon); ok {
			found = append(found, c)
		}
		if len(found) < maxBatch {
			return nil
		}
		defer func() { found = found[:0] }()
		return w.add(ctx, found)
	})
	if err == nil {
		err = w.add(ctx, found)
	}
	if errors.Is(err, errEnough) {
		return w.give(next, tooMuch)
	}
	if err != nil {
		return fmt.Errorf("walk through the peers of app %q: %w", r.App, err)
	}
	w.end = s.deps.Service.Horizon(s.deps.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read, r.walking = next, len(w.held) > 0
	return nil
}

// give has the receiver list again in the place of a walk.
func (w *walk) give(next feed.Cursor, why reason) error {
	w.versions, w.held = nil, nil
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.read, w.r.walking = next, false
	w.s.listAgain(w.r, why)
	return nil
}

// add queues what the walk has found.
func (w *walk) add(ctx context.Context, found []feed.Change) error {
	r := w.r
	for i := range found {
		w.versions[found[i].Peer] = found[i].Version
	}
	w.s.room(ctx, r)
	r.mu.Lock()
	read := r.read
	r.mu.Unlock()
	if !w.s.add(r, found, read) {
		return errEnough
	}
	return nil
}

// judge returns what a peer is to watchers, if that may have changed after horizon.
func (w *walk) judge(peer presence.PeerID, raw presence.Summary, horizon uint64) (c feed.Change, ok bool) {
	now := w.s.deps.Now()
	seen := raw.At(w.s.deps.Service.Leases(now), w.s.deps.Service.Rules())
	if seen.Status != raw.Status {
		return c, false // the sweep that writes it signals it to the register
	}
	c = feed.Change{Peer: peer, Status: seen.Status, Version: raw.Rev, Since: seen.Since}
	if seen.Status == presence.Offline {
		c.LastSeen, c.Cause = seen.LastSeen, seen.Cause
		if over := seen.Since.Add(seen.Hold); seen.Cause.Lost() && over > now {
			w.held[peer] = over
			return c, false
		}
		// It may have been held when the cursor was kept.
		horizon -= min(horizon, uint64((seen.Hold+w.s.deps.Feed.Config().Lag)/time.Millisecond))
	}
	return c, raw.Rev > horizon
}

// wait returns how long to wait for a change, at most d.
func (w *walk) wait(d time.Duration) time.Duration {
	now := w.s.deps.Now()
	for _, over := range w.held {
		d = min(d, max(0, over.Sub(now)))
	}
	return d
}

// look queues the peers whose hold is over and that did not return.
func (w *walk) look(ctx context.Context) error {
	if len(w.held) == 0 {
		return nil
	}
	now := w.s.deps.Now()
	var keys []presence.Key
	for peer, over := range w.held {
		if over <= now {
			keys = append(keys, presence.Key{App: w.r.App, Peer: peer})
		}
	}
	if len(keys) == 0 {
		return nil
	}
	raw := make([]presence.Summary, len(keys))
	age, err := w.s.deps.Store.Summaries(ctx, keys, raw)
	if err == nil && age > 0 {
		err = presence.ErrUnavailable
	}
	if err != nil {
		return fmt.Errorf("read %d peers that were held: %w", len(keys), err)
	}
	var found []feed.Change
	for i, k := range keys {
		delete(w.held, k.Peer)
		if c, ok := w.judge(k.Peer, raw[i], 0); ok && c.Status == presence.Offline {
			found = append(found, c)
		}
	}
	err = w.add(ctx, found)
	w.end = w.s.deps.Service.Horizon(w.s.deps.Now())
	if len(w.held) > 0 && err == nil {
		return nil
	}
	w.held = nil
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.walking = false
	return nil // errEnough: the receiver lists again
}

// newer returns the changes of page that are not older than what the walk has found.
func (w *walk) newer(page *feed.Page) []feed.Change {
	if w.versions == nil {
		return page.Changes
	}
	var newer []feed.Change
	for _, c := range page.Changes {
		if v, ok := w.versions[c.Peer]; !ok || c.Version > v {
			newer = append(newer, c)
		}
	}
	if len(w.held) == 0 && page.Cursor.Horizon() >= w.end {
		w.versions = nil
	}
	return newer
}
