package gateway

import (
	"errors"
	"sync"
	"time"

	"rollcall/internal/wake"
	"rollcall/presence"
)

// An offlineQueue holds the ends of sessions that the store has not accepted yet. When a network
// breaks, thousands come at once: they travel in batches, and wait when the store is away. What
// waits is bounded by the sessions there were.
type offlineQueue struct {
	mu      sync.Mutex
	waiting []presence.Report
	wake    wake.Signal
	idle    bool // nothing waits and nothing is on its way
}

const reportsBatch = 512

func (q *offlineQueue) init() { q.wake, q.idle = wake.NewSignal(), true }

func (q *offlineQueue) add(r presence.Report) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	q.idle = false
	q.mu.Unlock()
	q.wake.Wake()
}

// next returns the next batch; an empty one means that all is reported.
func (q *offlineQueue) next() []presence.Report {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), reportsBatch)
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if n == 0 {
		q.waiting, q.idle = nil, true
	}
	return batch
}

func (q *offlineQueue) drained() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.idle
}

// drainOfflineQueue reports what is queued, until the gateway closes.
func (g *Gateway) drainOfflineQueue() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.offlineQueue.wake:
		}
		for batch := g.offlineQueue.next(); len(batch) > 0; batch = g.offlineQueue.next() {
			if !g.reportBatch(batch) {
				return
			}
		}
	}
}

// reportBatch repeats batch until the store has taken it; it reports false when the gateway closed
// before.
func (g *Gateway) reportBatch(batch []presence.Report) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := g.reportEnds(batch)
		if err == nil {
			return true
		}
		g.count.reportsFailed.Add(1)
		g.Log.Warn("reporting closed sessions failed; retrying", "sessions", len(batch), "err", err)
		t := time.NewTimer(wait)
		select {
		case <-g.ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}

// reportEnds reports batch once. A report that the rules refuse will be refused for ever, and one
// of them refuses the whole batch: the others are reported without it. A report that failed
// half-way may be repeated.
func (g *Gateway) reportEnds(batch []presence.Report) error {
	err := g.Service.Report(g.ctx, batch, g.Now(), make([]presence.Outcome, len(batch)))
	if !errors.Is(err, presence.ErrInvalid) {
		return err
	}
	if len(batch) == 1 {
		g.count.reportsDropped.Add(1)
		g.Log.Error("invalid report of a closed session dropped", "peer", batch[0].Peer, "session", batch[0].Session, "err", err)
		return nil
	}
	for i := range batch {
		if err := g.reportEnds(batch[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}
