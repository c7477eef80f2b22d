package gateway

import (
	"sync"
	"time"

	"rollcall/presence"
)

// endings are the ends of sessions that the store has not heard yet. When a network breaks, thousands come at once: they
// travel in batches, and wait when the store is away. What waits is bounded by the sessions there were.
type endings struct {
	mu      sync.Mutex
	waiting []presence.Report
	wake    chan struct{}
	idle    bool // nothing waits and nothing is on its way
}

const endingsBatch = 512

func (e *endings) init() { e.wake, e.idle = make(chan struct{}, 1), true }

func (e *endings) add(r presence.Report) {
	e.mu.Lock()
	e.waiting = append(e.waiting, r)
	e.idle = false
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// next returns the next batch; none means that all is told.
func (e *endings) next() []presence.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.waiting), endingsBatch)
	batch := e.waiting[:n:n]
	e.waiting = e.waiting[n:]
	if n == 0 {
		e.waiting, e.idle = nil, true
	}
	return batch
}

func (e *endings) told() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.idle
}

// reportEndings tells the store, until the gateway closes.
func (g *Gateway) reportEndings() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.endings.wake:
		}
		for batch := g.endings.next(); len(batch) > 0; batch = g.endings.next() {
			if !g.reportBatch(batch) {
				return
			}
		}
	}
}

// reportBatch repeats batch until the store takes it; it reports false when the gateway closed before.
func (g *Gateway) reportBatch(batch []presence.Report) bool {
	out := make([]presence.Outcome, len(batch))
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := g.Service.Report(g.ctx, batch, g.Now(), out)
		if err == nil {
			return true
		}
		g.count.reportsFailed.Add(1)
		g.Log.Warn("the store did not take the end of sessions; trying again", "sessions", len(batch), "err", err)
		t := time.NewTimer(wait)
		select {
		case <-g.ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}
