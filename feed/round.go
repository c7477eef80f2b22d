package feed

import (
	"context"
	"time"

	"rollcall/presence"
)

const (
	idleRound   = time.Second // how often the horizon moves when nothing else happens
	readAtOnce  = 4096        // peers in one call to the store
	readPatient = 5 * time.Second
	// unwritten is how soon a peer is read again whose state time has changed and no sweep has
	// written yet.
	unwritten = 2 * time.Second
)

// run reads what is noted until the feed is closed: at once after a quiet time, else a tick after
// the last time. Without a register it sleeps.
func (f *Feed) run() {
	defer close(f.done)
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.wakeup:
		case <-t.C:
		}
		if wait := time.Until(f.next); wait > 0 {
			t.Reset(wait)
			select {
			case <-f.quit:
				return
			case <-t.C:
			}
		}
		f.round()
		t.Reset(f.untilNext())
	}
}

// untilNext returns how long the feed may sleep when no signal wakes it.
func (f *Feed) untilNext() time.Duration {
	d := time.Hour
	for _, r := range *f.registers.Load() {
		d = min(d, idleRound)
		if first := r.due(); !first.IsZero() {
			d = min(d, time.Until(first))
		}
	}
	return max(d, time.Millisecond)
}

// round reads every peer that is noted once and puts into the registers what watchers would be
// notified of.
func (f *Feed) round() {
	registers := *f.registers.Load()
	if len(registers) == 0 {
		f.horizons.Clear()
		return
	}
	start, now := time.Now(), f.deps.Now()
	f.next = start.Add(f.cfg.Tick)
	epoch := f.deps.Service.Epoch()
	// The flag falls after the registers are empty: no page is read in between.
	if missed := f.missed.Load(); missed || f.epoch.Load() != epoch {
		f.missed.Store(false)
		f.horizons.Clear()
		for _, r := range registers {
			r.reset(now)
			f.stats.gaps.Add(1)
		}
		f.epoch.Store(epoch)
	}
	f.horizons.Sample(f.deps.Service, start, now, idleRound/2)
	whole := true
	for _, r := range registers {
		keys, full := r.collect(start)
		if full {
			r.reset(now)
			f.stats.overflows.Add(1)
			continue
		}
		whole = f.read(r, keys, start, now) && whole
		f.dropIdle(r, start)
	}
	if whole {
		f.advance(start)
	}
}

// read reads keys of r and judges them; it reports whether all could be.
func (f *Feed) read(r *register, keys []presence.Key, start time.Time, now presence.Millis) bool {
	here, old := f.reachable(keys)
	for len(here) > 0 {
		part := here[:min(len(here), readAtOnce)]
		raw := make([]presence.Summary, len(part))
		ctx, cancel := context.WithTimeout(context.Background(), readPatient)
		age, err := f.deps.Source.Summaries(ctx, part, raw)
		cancel()
		if err != nil || age > 0 { // an answer as old as an outage is no change
			f.stats.failures.Add(1)
			r.again(here)
			r.again(old)
			return false
		}
		f.judge(r, part, raw, start, now)
		here = here[len(part):]
	}
	r.again(old)
	return len(old) == 0
}

// reachable parts keys into those whose part of the store answers and the others.
func (f *Feed) reachable(keys []presence.Key) (here, old []presence.Key) {
	if f.deps.Service.Age() == 0 {
		return keys, nil
	}
	for _, k := range keys {
		if f.deps.Service.AgeOf(k) > 0 {
			old = append(old, k)
		} else {
			here = append(here, k)
		}
	}
	return here, old
}

// judge takes what was read of keys.
func (f *Feed) judge(r *register, keys []presence.Key, raw []presence.Summary, start time.Time, now presence.Millis) {
	leases, rules := f.deps.Service.Leases(now), f.deps.Service.Rules()
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.seq
	for i, k := range keys {
		seen := raw[i].At(leases, rules)
		if seen.Status != raw[i].Status {
			// The sweep that writes it knows the hold.
			r.hold(k.Peer, held{start.Add(unwritten), true, raw[i].Rev})
			continue
		}
		c := Change{Peer: k.Peer, Status: seen.Status, Version: raw[i].Rev}
		switch seen.Status {
		case presence.Online:
			c.Since = seen.Since
		case presence.Offline:
			c.Since, c.LastSeen, c.Cause = seen.Since, seen.LastSeen, seen.Cause
		}
		f.take(r, c, seen.Hold, start, now)
	}
	if r.seq != before {
		f.stats.judged.Add(int64(r.seq - before))
		r.announce()
	}
}

// take puts c, which was read just now, into r if watchers are to see it; a session that was lost
// has a hold. The caller holds the register's lock.
func (f *Feed) take(r *register, c Change, hold time.Duration, start time.Time, now presence.Millis) {
	i, known := r.index[c.Peer]
	online := !known || r.slots[i].Status == presence.Online // for all that the readers know
	if online && c.Status == presence.Offline && c.Cause.Lost() {
		h, waits := r.held[c.Peer]
		if !waits || h.guessed {
			// By the wall clock, but never longer than the hold itself, whatever the clock does.
			left := min(hold, max(0, c.Since.Add(hold).Sub(now)))
			h = held{until: start.Add(left), rev: c.Version}
		}
		if h.until.After(start) {
			r.hold(c.Peer, h)
			return
		}
	}
	delete(r.held, c.Peer)
	turned := !known
	if known {
		old := &r.slots[i].Change
		// What turned and turned back did not happen to watchers; the since of an online stands.
		turned = !old.same(&c) && !(old.Status == presence.Online && c.Status == presence.Online)
	}
	r.show(c, turned, now)
}

// dropIdle forgets r when it is not read any more.
func (f *Feed) dropIdle(r *register, start time.Time) {
	r.mu.Lock()
	idle := !r.kept.Load() && start.Sub(r.read) > f.cfg.Keep
	r.mu.Unlock()
	if !idle {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(r)
}

// advance moves the horizon after a round that began at start and read everything.
func (f *Feed) advance(start time.Time) {
	if f.deps.Service.Age() > 0 {
		f.horizons.Clear()
		return
	}
	if horizon, ok := f.horizons.Settled(start, f.cfg.Lag); ok {
		f.horizon.Store(horizon)
	}
}
