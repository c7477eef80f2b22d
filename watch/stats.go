package watch

import (
	"sync/atomic"

	"rollcall/presence"
)

// Stats are the counts of a hub since it started, and what it holds now.
type Stats struct {
	Watchers int // open now
	Peers    int // watched now, each counted once

	Signals  int64 // peers that the store signalled
	Passes   int64 // rounds of reading
	Failures int64 // reads that the store did not answer
	Changes  int64 // updates that differed from the last
	Notified int64 // updates given to watchers
	Batches  int64 // frames they came in
	Marks    int64
	// Times that a watcher fell behind: it took nothing of what was queued until the next round.
	Behind  int64
	Holds   int64 // offlines that were held back
	Hidden  int64 // of those, how many were back in time
	Resumes int64 // tokens that went on
	Resyncs int64 // tokens that got a snapshot
	Refused int64 // watches refused for a limit
	Closed  map[Reason]int64
}

type counters struct {
	signals, passes, failures, changes, sent, batches, marks, behind, held, hidden, resumes, resyncs, refused atomic.Int64

	gone, slow, shutdown, unavailable, expired atomic.Int64
}

func (c *counters) of(r Reason) *atomic.Int64 {
	switch r {
	case ReasonSlow:
		return &c.slow
	case ReasonShutdown:
		return &c.shutdown
	case ReasonUnavailable:
		return &c.unavailable
	case ReasonExpired:
		return &c.expired
	}
	return &c.gone
}

func (c *counters) close(r Reason) { c.of(r).Add(1) }

// Stats returns the counts of h.
func (h *Hub) Stats() Stats {
	c := &h.stats
	s := Stats{
		Signals: c.signals.Load(), Passes: c.passes.Load(), Failures: c.failures.Load(), Changes: c.changes.Load(),
		Notified: c.sent.Load(), Batches: c.batches.Load(), Marks: c.marks.Load(), Behind: c.behind.Load(), Holds: c.held.Load(), Hidden: c.hidden.Load(),
		Resumes: c.resumes.Load(), Resyncs: c.resyncs.Load(), Refused: c.refused.Load(), Closed: map[Reason]int64{},
	}
	for _, r := range Reasons() {
		s.Closed[r] = c.of(r).Load()
	}
	h.mu.RLock()
	s.Watchers, s.Peers = len(h.watchers), len(h.peers)
	h.mu.RUnlock()
	return s
}

// A Size is how much of an app is watched here.
type Size struct {
	Watchers int
	Peers    int // that they follow, each once
}

// SizeOf returns how much of app is watched.
func (h *Hub) SizeOf(app presence.AppID) Size {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sizes[app]
}

// resize counts watchers and peers of app that came or went. The caller holds mu.
func (h *Hub) resize(app presence.AppID, watchers, peers int) {
	s := h.sizes[app]
	s.Watchers, s.Peers = s.Watchers+watchers, s.Peers+peers
	if s == (Size{}) {
		delete(h.sizes, app)
		return
	}
	h.sizes[app] = s
}
