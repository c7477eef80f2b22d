package redistest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Patience is how long a test waits for what is to come when the time it takes is not the point:
// also a machine that hardly gives the test any of its time gets there.
const Patience = 2 * time.Minute

// A Pace measures how late this machine runs what is due, so that a promise about time is not
// broken by a process that is starved.
type Pace struct{ worst atomic.Int64 }

const paceStep = 5 * time.Millisecond

// NewPace measures until the test ends.
func NewPace(t testing.TB) *Pace {
	p := &Pace{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			begun := time.Now()
			select {
			case <-done:
				return
			case <-time.After(paceStep):
			}
			p.worst.Store(max(p.worst.Load(), int64(time.Since(begun)-paceStep)))
		}
	})
	t.Cleanup(func() { close(done); wg.Wait() })
	return p
}

// Allow returns how long what is promised within d may take here: d on a calm machine, more on one
// that ran things late. What takes place in several processes is late several times.
func (p *Pace) Allow(d time.Duration) time.Duration {
	late := time.Duration(p.worst.Load())
	if late < paceStep {
		return d
	}
	return d + 20*late
}
