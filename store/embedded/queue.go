package embedded

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"rollcall/internal/wake"
	"rollcall/presence"
)

// queue holds the ops that wait for the committer.
type queue struct {
	mu     sync.Mutex
	ops    []*op
	keys   int
	bound  int
	closed bool
	wake   wake.Signal

	full atomic.Int64 // ops refused
}

func (q *queue) push(o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed
	}
	if q.keys > 0 && q.keys+len(o.keys) > q.bound {
		q.full.Add(1)
		return fmt.Errorf("%w: %d peers wait to be written", presence.ErrFull, q.keys)
	}
	q.keys += len(o.keys)
	q.ops = append(q.ops, o)
	if len(q.ops) == 1 {
		q.wake.Wake()
	}
	return nil
}

// gather lets callers that are about to run queue what they bring: a sync costs the same for one op
// as for many. Callers are looked for, not waited for, so that one alone loses nothing.
func (q *queue) gather() {
	for before, n := 0, q.waiting(); n > before && before < gatherEnough; n = q.waiting() {
		before = n
		runtime.Gosched()
	}
}

// gatherEnough is how many ops make the sync's share of each small.
const gatherEnough = 64

// waiting returns how many ops wait.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ops)
}

// take swaps what waits against the empty slice it is given.
func (q *queue) take(empty []*op) []*op {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.ops
	q.ops, q.keys = empty[:0], 0
	return taken
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.keys
}
