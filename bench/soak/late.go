package main

import (
	"context"
	"sync"
	"time"
)

// lateness is how late the process that measures runs itself: how much longer than asked it slept.
// What an honest call took can be blamed on the server only beyond that.
type lateness struct {
	mu   sync.Mutex
	kind kind
}

// nap is how long the probe sleeps.
const nap = 2 * time.Millisecond

// run sleeps and notes until ctx ends.
func (l *lateness) run(ctx context.Context) {
	for ctx.Err() == nil {
		due := time.Now().Add(nap)
		wait(ctx, nap)
		late := time.Since(due)
		l.mu.Lock()
		l.kind.took = append(l.kind.took, late)
		l.mu.Unlock()
	}
}

// reset returns what was noted since the last time.
func (l *lateness) reset() kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kind
	l.kind = kind{name: "driver"}
	return k
}
