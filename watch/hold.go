package watch

import (
	"container/heap"
	"time"

	"rollcall/presence"
)

// unwrittenHold is how long an expiry that is not yet written is left to the sweep, which knows the
// hold.
const unwrittenHold = 2 * time.Second

// hold reports whether what was read of e, notified as online so far, is to be held back. It counts
// the holds and how they ended.
func (h *Hub) hold(e *entry, old *Update, raw, seen presence.Summary, start time.Time, now presence.Millis) bool {
	if old.Status != presence.Online {
		return false
	}
	if seen.Status != presence.Offline || !seen.Cause.Lost() {
		if e.held != nil && seen.Status == presence.Online {
			h.stats.hidden.Add(1)
		}
		e.held = nil
		return false
	}
	guess := unwritten(raw, seen)
	if e.held == nil || e.held.guessed && !guess {
		wait := unwrittenHold
		if !guess {
			// By the wall clock, but never longer than the hold itself, whatever the clock does.
			wait = min(seen.Hold, max(0, seen.Since.Add(seen.Hold).Sub(now)))
		}
		if wait <= 0 {
			e.held = nil
			return false
		}
		e.held = &held{start.Add(wait), guess}
		heap.Push(&h.held, holding{e.held.until, e})
		if !guess {
			h.stats.held.Add(1)
		}
		return true
	}
	if start.Before(e.held.until) {
		return true
	}
	e.held = nil
	return false
}

// A held says until when an entry is held back.
type held struct {
	until   time.Time
	guessed bool // held because its expiry is not written yet
}

// A holding is one entry in the order in which holds end; it is void when the entry's own time is
// another.
type holding struct {
	due time.Time
	e   *entry
}

type holds []holding

func (h holds) Len() int           { return len(h) }
func (h holds) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h holds) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *holds) Push(x any)        { *h = append(*h, x.(holding)) }

func (h *holds) Pop() any {
	old := *h
	n := len(old) - 1
	x := old[n]
	old[n] = holding{}
	*h = old[:n]
	return x
}

func (h *holds) pop() holding { return heap.Pop(h).(holding) }

// unwritten reports whether time alone has made of the stored raw something else that is not
// written yet.
func unwritten(raw, seen presence.Summary) bool { return raw.Status != seen.Status }
