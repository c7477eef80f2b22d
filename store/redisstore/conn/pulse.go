package conn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pulseEvery = 25 * time.Millisecond
	// pulseNoise is lateness that a timer has on an idle machine.
	pulseNoise = 5 * time.Millisecond
	// patience is how long a wait is extended at most because this process was starved.
	patience = 10 * time.Second
)

// A pulse measures how late this process runs what is due: on a starved machine an answer waits for
// its reader, and that is not the fault of Redis.
type pulse struct {
	begun time.Time
	late  atomic.Int64 // ns, of all ticks together
	due   atomic.Int64 // when the next is due, ns since begun
}

// Go measures until ctx ends.
func (p *pulse) run(ctx context.Context) {
	t := time.NewTimer(pulseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Since(p.begun)
		if late := now - time.Duration(p.due.Load()); late > pulseNoise {
			p.late.Add(int64(late))
		}
		p.due.Store(int64(now + pulseEvery))
		t.Reset(pulseEvery)
	}
}

// lateness returns for how long this process has been late in all, up to now.
func (p *pulse) lateness() time.Duration {
	late := time.Duration(p.late.Load())
	if over := time.Since(p.begun) - time.Duration(p.due.Load()); over > pulseNoise {
		late += over
	}
	return late
}

// within is context.WithTimeout in time that this process had: the deadline moves by what it was
// late meanwhile.
func (p *pulse) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	begun, late := time.Now(), p.lateness()
	var mu sync.Mutex
	var t *time.Timer
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(d, func() {
		mu.Lock()
		defer mu.Unlock()
		elapsed := time.Since(begun)
		if left := d + min(p.lateness()-late, patience) - elapsed; left > 0 {
			t.Reset(max(left, time.Millisecond))
			return
		}
		cancel(context.DeadlineExceeded)
	})
	return ctx, func() {
		t.Stop()
		cancel(context.Canceled)
	}
}

// Within is context.WithTimeout in time that this process had: on a starved machine the deadline
// moves.
func (c *Conn) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return c.pulse.within(ctx, d)
}
