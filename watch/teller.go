package watch

import (
	"runtime"
	"sync"
	"time"
)

// A Teller tells batches without waiting. While the goroutine of its watcher waits in [Watcher.Next], the hub tells it what is
// queued on a goroutine of its own, so that nobody must be woken for a change. Its methods are never called beside
// each other, nor while that goroutine is out of Next.
type Teller interface {
	// Ready reports whether a batch may be told now. When it may not, Next returns a batch that is [Stuck].
	Ready() bool
	// Tell tells b, which is valid during the call only, and must not wait. It reports false when something of b is left to do;
	// then Next returns a batch that is Stuck, and b counts as told.
	Tell(b *Batch) bool
}

// Offer has the hub tell t from now on whenever it can. It is for the goroutine that calls Next.
func (w *Watcher) Offer(t Teller) { w.teller = t }

// try tells the teller what is queued. It reports false when the watcher's own goroutine must be woken to go on.
func (w *Watcher) try(p *press, now time.Time) bool {
	if !w.turn.TryLock() {
		return false // it is awake, or somebody else tells; what is queued must not be left to luck
	}
	defer w.turn.Unlock()
	if w.teller == nil {
		return false
	}
	if w.stuck || !w.teller.Ready() {
		w.stuck = true
		return false
	}
	if ok, err := w.take(&p.next); !ok || err != nil {
		return err == nil
	}
	b := p.set()
	p.sent += int64(len(b.Words))
	p.batches++
	w.sent = now
	w.stuck = !w.teller.Tell(b)
	return !w.stuck && !b.Token.IsZero() // without a token more is queued
}

// share is how many watchers are worth a goroutine to tell them.
const share = 256

// rouse tells watchers what is queued, or wakes those that cannot be told at once.
func (h *Hub) rouse(watchers []*Watcher) {
	now := time.Now()
	part := max(share, (len(watchers)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var others sync.WaitGroup
	for len(watchers) > part {
		mine := watchers[:part]
		watchers = watchers[part:]
		others.Go(func() { h.rouseEach(mine, now) })
	}
	h.rouseEach(watchers, now)
	others.Wait()
}

func (h *Hub) rouseEach(watchers []*Watcher, now time.Time) {
	p := presses.Get().(*press)
	defer p.rest(&h.stats)
	for _, w := range watchers {
		if !w.try(p, now) {
			w.prod()
		}
	}
}
