package embedded

import (
	"slices"
	"sync"

	"rollcall/presence"
)

// The wheel knows which peers are due. A peer whose deadline lies within the span has an entry in
// the slot of a second no later than its deadline; those further away have none, and cost no
// memory, until [Store.Due] rearms.
//
// An entry is a hash prefix (shard and tag), so it needs no upkeep when a record moves. A renewal
// only writes the record: the slot that fires early finds the later deadline and arms again. At
// most one entry of a prefix counts.
type wheel struct {
	mu    sync.Mutex
	slots map[int64][]uint64 // second → prefixes
	armed map[uint64]int64   // prefix → the slot that counts
	first int64              // no slot before it has entries
	// covered[i]: every record of shard i with a deadline before it is armed.
	covered [shards]presence.Millis
}

const (
	second = 1000 // milliseconds
	// span is how far ahead [Store.Due] rearms, each shard once in half of it.
	span = presence.Millis(3600 * second)
)

func newWheel() *wheel {
	return &wheel{slots: map[int64][]uint64{}, armed: map[uint64]int64{}}
}

func prefixOf(h uint64) uint64 { return h&(shards-1)<<32 | uint64(tagOf(h)) }

// arm sees to it that prefix is looked at when deadline comes. The record is published before arm
// is called.
func (w *wheel) arm(prefix uint64, deadline presence.Millis) {
	if deadline == 0 {
		return
	}
	w.mu.Lock()
	if deadline < w.covered[prefix>>32] {
		w.put(prefix, deadline)
	}
	w.mu.Unlock()
}

func (w *wheel) put(prefix uint64, deadline presence.Millis) {
	slot := int64(deadline) / second
	if s, ok := w.armed[prefix]; ok && s <= slot {
		return
	}
	w.armed[prefix] = slot
	w.slots[slot] = append(w.slots[slot], prefix)
	if slot < w.first || len(w.slots) == 1 {
		w.first = slot
	}
}

// due calls found with the prefixes that are due by now, until it returns false. deadlineOf says
// when the peers of a prefix are due next, 0 for never.
func (w *wheel) due(now presence.Millis, deadlineOf func(prefix uint64) presence.Millis, found func(prefix uint64) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := int64(now) / second
	first := last // the first slot in which something is left
	for _, slot := range w.upTo(last) {
		entries, ok := w.slots[slot]
		if !ok {
			continue
		}
		if !w.fire(slot, entries, now, deadlineOf, found) {
			return
		}
		if len(w.slots[slot]) == 0 {
			delete(w.slots, slot)
		} else {
			first = min(first, slot)
		}
	}
	if last >= w.first {
		w.first = first
	}
}

// upTo returns the slots that may have entries, in order, up to last.
func (w *wheel) upTo(last int64) []int64 {
	if last < w.first || len(w.slots) == 0 {
		return nil
	}
	if last-w.first > int64(len(w.slots))+16 {
		// Time has jumped: look at the slots there are instead of at every second.
		w.first = last
		var slots []int64
		for s := range w.slots {
			if s <= last {
				slots = append(slots, s)
				w.first = min(w.first, s)
			}
		}
		slices.Sort(slots)
		if len(slots) == 0 || slots[len(slots)-1] != last {
			slots = append(slots, last)
		}
		return slots
	}
	slots := make([]int64, 0, last-w.first+1)
	for s := w.first; s <= last; s++ {
		slots = append(slots, s)
	}
	return slots
}

// fire goes through one slot. What is due stays in it until it is settled, so that nothing is lost
// when the caller fails. A prefix may have come into the slot twice: it was armed for an earlier
// one in between.
func (w *wheel) fire(slot int64, entries []uint64, now presence.Millis, deadlineOf func(uint64) presence.Millis, found func(uint64) bool) bool {
	slices.Sort(entries)
	entries = slices.Compact(entries)
	kept := entries[:0]
	for i, p := range entries {
		if w.armed[p] != slot {
			continue // armed for an earlier slot since
		}
		d := deadlineOf(p)
		switch {
		case d != 0 && d <= now:
			kept = append(kept, p)
			if !found(p) {
				w.slots[slot] = append(kept, entries[i+1:]...)
				return false
			}
		case d != 0 && int64(d)/second <= slot:
			kept = append(kept, p)
		case d != 0 && d < w.covered[p>>32]:
			delete(w.armed, p)
			w.put(p, d)
		default:
			delete(w.armed, p)
		}
	}
	w.slots[slot] = kept
	return true
}

// cover says that the caller will arm every record of shard i with a deadline before until.
func (w *wheel) cover(i int, until presence.Millis) {
	w.mu.Lock()
	w.covered[i] = max(w.covered[i], until)
	w.mu.Unlock()
}

func (w *wheel) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.armed)
}

func (w *wheel) coveredUntil(i int) presence.Millis {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.covered[i]
}
