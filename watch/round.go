package watch

import (
	"context"
	"time"

	"rollcall/presence"
)

const (
	idleRound   = time.Second // how often the horizon moves when nothing else happens
	readAtOnce  = 4096        // peers in one call to the store
	readPatient = 5 * time.Second
)

// run reads what is dirty until the hub is closed: at once after a quiet time, else a tick after
// the last time.
func (h *Hub) run() {
	defer close(h.done)
	t := time.NewTimer(idleRound)
	defer t.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-h.wakeup:
		case <-t.C:
		}
		if wait := time.Until(h.next); wait > 0 {
			t.Reset(wait)
			select {
			case <-h.quit:
				return
			case <-t.C:
			}
		}
		h.runRound()
		t.Reset(h.untilNext())
	}
}

// untilNext returns how long the hub may sleep when no signal wakes it.
func (h *Hub) untilNext() time.Duration {
	d := idleRound
	if len(h.held) > 0 {
		d = min(d, time.Until(h.held[0].due))
	}
	return max(d, time.Millisecond)
}

// A round is one read of all dirty peers.
type round struct {
	number uint64
	before uint64 // the updates that it finds have later tickets
}

// runRound reads every dirty peer once and notifies its watchers of what differs, each with at most
// one frame.
func (h *Hub) runRound() {
	h.now = round{number: h.now.number + 1, before: h.ticket.Load()}
	start := time.Now()
	now := h.deps.Now()
	epoch := h.deps.Service.Epoch()
	if epoch != h.watermark.Load().epoch {
		h.all.Store(true)
		h.horizons.Clear()
		h.watermark.Store(&watermark{epoch: epoch})
	}
	h.horizons.Sample(h.deps.Service, start, now, idleRound/2)
	entries := h.collect(start)
	if len(entries) > 0 {
		// A round without updates delays the next only enough to keep a storm of signals from
		// causing a storm of reads.
		h.next = start.Add(h.cfg.Tick / 10)
	}
	entries, old := h.reachable(entries)
	var changed []*entry
	for len(entries) > 0 {
		part := entries[:min(len(entries), readAtOnce)]
		ctx, cancel := context.WithTimeout(context.Background(), readPatient)
		ticket := h.ticket.Add(1)
		raw, age, err := h.read(ctx, part)
		cancel()
		if err != nil || age > 0 { // an answer as old as an outage is no update
			h.retry(entries)
			h.retry(old)
			h.publish(changed)
			return // tokens stay where they are until everything is read again
		}
		for i, e := range part {
			if h.judge(e, raw[i], ticket, start, now) {
				changed = append(changed, e)
			}
		}
		entries = entries[len(part):]
	}
	if len(changed) > 0 {
		h.next = start.Add(h.cfg.Tick)
	}
	h.retry(old)
	h.publish(changed)
	h.advance(start)
	h.stats.passes.Add(1)
}

// reachable parts entries into those whose part of the store answers and the others: while one
// primary of a Cluster is away, what changes on the others is notified.
func (h *Hub) reachable(entries []*entry) (here, old []*entry) {
	if h.deps.Service.Age() == 0 {
		return entries, nil
	}
	for _, e := range entries {
		if h.deps.Service.AgeOf(e.key) > 0 {
			old = append(old, e)
		} else {
			here = append(here, e)
		}
	}
	return here, old
}

// retry has entries read again, a tick from now.
func (h *Hub) retry(entries []*entry) {
	if len(entries) == 0 {
		return
	}
	for _, e := range entries {
		h.markDirty(e)
	}
	h.next = time.Now().Add(h.cfg.Tick)
}

// collect takes what is to be read: the dirty peers and those whose hold is over.
func (h *Hub) collect(now time.Time) []*entry {
	for len(h.held) > 0 && !h.held[0].due.After(now) {
		if due := h.held.pop(); due.e.held != nil && due.e.held.until.Equal(due.due) {
			h.markDirty(due.e)
		}
	}
	if h.all.Swap(false) {
		h.mu.RLock()
		for _, e := range h.peers {
			h.markDirty(e)
		}
		h.mu.RUnlock()
	}
	h.dirtyMu.Lock()
	entries := h.dirty
	h.dirty = nil
	h.dirtyMu.Unlock()
	for _, e := range entries {
		e.dirty.Store(false) // a signal from here on asks for another read
	}
	return entries
}

// judge takes what was read of e and reports whether its watchers are to be notified.
func (h *Hub) judge(e *entry, raw presence.Summary, ticket uint64, start time.Time, now presence.Millis) bool {
	seen := raw.At(h.deps.Service.Leases(now), h.deps.Service.Rules())
	n := h.updateOf(e.key.Peer, raw, seen, ticket)
	for {
		old := e.update.Load()
		if old == nil {
			if !e.update.CompareAndSwap(nil, n) {
				continue // a new watcher read it meanwhile
			}
			e.need.Store(h.resumeFloor(n.Version, raw, seen))
			return true
		}
		if old.ticket > ticket {
			return false // a new watcher's read began after this one
		}
		if h.hold(e, old, raw, seen, start, now) {
			e.need.Store(always)
			return false
		}
		// What turned and turned back between two looks, or within a hold, did not happen to
		// watchers: the since of an online stands until they are notified of an offline.
		if old.same(n) || old.Status == presence.Online && seen.Status == presence.Online {
			e.need.Store(h.resumeFloor(max(n.Version, old.Version), raw, seen))
			return false
		}
		if n.Version <= old.Version {
			n.Version = old.Version + 1
		}
		e.need.Store(h.resumeFloor(n.Version, raw, seen))
		e.update.Store(n)
		h.stats.changes.Add(1)
		return true
	}
}

// resumeFloor returns the horizon that the token of a resuming watcher must have for a peer whose
// update has version to be skipped. That is the version; a peer that is lost may have been held on
// the watcher's node, past the time of its write, so the hold and the lag are added; an expiry that
// is not yet written is sent to every watcher.
func (h *Hub) resumeFloor(version uint64, raw, seen presence.Summary) uint64 {
	switch {
	case unwritten(raw, seen):
		return always
	case seen.Status == presence.Offline && seen.Hold > 0:
		return version + uint64((seen.Hold+h.cfg.Lag)/time.Millisecond)
	}
	return version
}

// publish queues the updates of changed with their watchers and then pushes to or wakes each
// watcher once.
func (h *Hub) publish(changed []*entry) {
	if len(changed) == 0 {
		return
	}
	woken := h.woken[:0]
	h.mu.RLock()
	for _, e := range changed {
		for _, l := range e.links {
			if l.w.queueUp(l.slot, h.now) {
				woken = append(woken, l.w)
			}
		}
	}
	h.mu.RUnlock()
	h.deliver(woken)
	clear(woken)
	h.woken = woken
}

// A watermark is what tokens may name: every write up to horizon has been queued to the watchers of
// its peer.
type watermark struct{ epoch, horizon uint64 }

// advance moves the watermark after a round that began at start and read everything.
func (h *Hub) advance(start time.Time) {
	if h.deps.Service.Age() > 0 {
		h.horizons.Clear()
		return
	}
	if horizon, ok := h.horizons.Settled(start, h.cfg.Lag); ok {
		h.watermark.Store(&watermark{epoch: h.watermark.Load().epoch, horizon: horizon})
	}
}
