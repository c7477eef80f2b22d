package intake

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/wake"
	"rollcall/presence"
)

// QueueDeps are what a [Queue] stands on.
type QueueDeps struct {
	// Report takes reports, as presence.Service.Report does.
	Report func(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error
	Now    func() presence.Millis
	Log    *slog.Logger
}

// A Queue delivers the ends of sessions that this process held, and retries until the store takes
// them. When a network breaks, thousands come at once: they travel in batches. What waits is
// bounded by the sessions there were.
type Queue struct {
	QueueDeps
	work            wake.Signal
	failed, dropped atomic.Int64

	mu      sync.Mutex
	waiting []presence.Report
	idle    bool // nothing waits and nothing is on its way
}

// QueueBatch is how many reports a queue sends at once.
const QueueBatch = 512

// NewQueue returns an empty queue. It delivers while [Queue.Run] runs.
func NewQueue(deps QueueDeps) *Queue {
	return &Queue{QueueDeps: deps, work: wake.NewSignal(), idle: true}
}

// Add queues r. It does not block.
func (q *Queue) Add(r presence.Report) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	q.idle = false
	q.mu.Unlock()
	q.work.Wake()
}

// Idle reports whether everything is delivered.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.idle
}

// Counts returns how many deliveries failed and were retried, and how many reports were invalid and
// dropped.
func (q *Queue) Counts() (failed, dropped int64) { return q.failed.Load(), q.dropped.Load() }

// Run delivers until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.work:
		}
		for batch := q.next(); len(batch) > 0; batch = q.next() {
			if !q.deliver(ctx, batch) {
				return
			}
		}
	}
}

// Flush sends what waits once, and stops at the first error of the store, which matches
// presence.ErrUnavailable or presence.ErrFull and which it returns.
func (q *Queue) Flush(ctx context.Context) error {
	for batch := q.next(); len(batch) > 0; batch = q.next() {
		if err := q.send(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// next returns the next batch; none means that everything is delivered.
func (q *Queue) next() []presence.Report {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), QueueBatch)
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if n == 0 {
		q.waiting, q.idle = nil, true
	}
	return batch
}

// deliver retries batch until the store has taken it; it reports false when ctx ended before.
func (q *Queue) deliver(ctx context.Context, batch []presence.Report) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := q.send(ctx, batch)
		if err == nil {
			return true
		}
		q.failed.Add(1)
		q.Log.Warn("reporting closed sessions failed; retrying", "sessions", len(batch), "err", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}

// send sends batch once. A report that the rules refuse will always be refused, and one of them
// refuses the whole batch: the others are sent without it. What failed half-way may be sent again.
func (q *Queue) send(ctx context.Context, batch []presence.Report) error {
	err := q.Report(ctx, batch, q.Now(), make([]presence.Outcome, len(batch)))
	if !errors.Is(err, presence.ErrInvalid) {
		return err
	}
	if len(batch) == 1 {
		q.dropped.Add(1)
		q.Log.Error("invalid report of a closed session dropped", "peer", batch[0].Peer, "session", batch[0].Session, "err", err)
		return nil
	}
	for i := range batch {
		if err := q.send(ctx, batch[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}
