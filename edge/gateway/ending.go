package gateway

import (
	"errors"
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

// reportBatch repeats batch until the store has taken it; it reports false when the gateway closed before.
func (g *Gateway) reportBatch(batch []presence.Report) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := g.tellEnds(batch)
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

// tellEnds tells the store of batch once. A report that the rules refuse will be refused for ever, and one of them refuses
// the whole batch: the others are told without it. Whatever failed half-way may be told again.
func (g *Gateway) tellEnds(batch []presence.Report) error {
	err := g.Service.Report(g.ctx, batch, g.Now(), make([]presence.Outcome, len(batch)))
	if !errors.Is(err, presence.ErrInvalid) {
		return err
	}
	if len(batch) == 1 {
		g.count.reportsDropped.Add(1)
		g.Log.Error("the end of a session was not valid and is dropped", "peer", batch[0].Peer, "session", batch[0].Session, "err", err)
		return nil
	}
	for i := range batch {
		if err := g.tellEnds(batch[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}
