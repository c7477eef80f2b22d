package outbox

import (
	"context"
	"time"
)

// A Turn is the right to make calls, as one of those that may be under way.
type Turn struct {
	ctx     context.Context
	turns   chan struct{}
	dropped <-chan struct{}
}

// Dropped reports whether the events of the turn were dropped.
func (t *Turn) Dropped() bool {
	select {
	case <-t.dropped:
		return true
	default:
		return false
	}
}

// Pause gives up the turn for a while: what fails keeps its order, not its place among those that
// may be under way. A drop ends it. It reports false, without the turn, when the box closes before.
func (t *Turn) Pause(d time.Duration) bool {
	<-t.turns
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		return false
	case <-t.dropped:
	case <-timer.C:
	}
	select {
	case <-t.ctx.Done():
		return false
	case t.turns <- struct{}{}:
		return true
	}
}

// The pauses between attempts double from the first to the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// A Progress is what an attempt came to.
type Progress int

// What an attempt comes to.
const (
	Again  Progress = iota // after a pause
	Over                   // delivered, or not to be
	Closed                 // the box closes, and the turn is given up
)

// Retry makes attempts with growing pauses until what is to be done is over. It reports false,
// without the turn, when the box closes before.
func (t *Turn) Retry(attempt func() Progress) bool {
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		switch attempt() {
		case Over:
			return true
		case Closed:
			return false
		}
		if !t.Pause(wait) {
			return false
		}
		if t.Dropped() {
			return true
		}
	}
}
