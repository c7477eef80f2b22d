package watch

import (
	"runtime"
	"sync"
	"time"
)

// A Pusher tells batches without waiting. While the goroutine of its watcher waits in [Watcher.Next], the hub tells it what is
// queued on a goroutine of its own, so that nobody must be woken for a change. Its methods are never called beside
// each other, nor while that goroutine is out of Next.
type Pusher interface {
	// Ready reports whether a batch may be told now. When it may not, Next returns a batch that is [Stuck].
	Ready() bool
	// Tell tells b, which is valid during the call only, and must not wait. It reports false when something of b is left to do;
	// then Next returns a batch that is Stuck, and b counts as told.
	Push(b *Batch) bool
}

// Attach has the hub tell t from now on whenever it can. It is for the goroutine that calls Next.
func (w *Watcher) Attach(p Pusher) { w.pusher = p }

// push pushes to the teller what is queued. It reports false when the watcher's own goroutine must be woken to go on.
func (w *Watcher) push(p *encoder, now time.Time) bool {
	if !w.turn.TryLock() {
		return false // it is awake, or somebody else tells; what is queued must not be left to luck
	}
	defer w.turn.Unlock()
	if w.pusher == nil {
		return false
	}
	if w.stuck || !w.pusher.Ready() {
		w.stuck = true
		return false
	}
	if ok, err := w.take(&p.next); !ok || err != nil {
		return err == nil
	}
	b := p.set()
	p.sent += int64(len(b.Updates))
	p.batches++
	w.sent = now
	w.stuck = !w.pusher.Push(b)
	return !w.stuck && !b.Token.IsZero() // without a token more is queued
}

// share is how many watchers are worth a goroutine to tell them.
const share = 256

// deliver pushes to watchers what is queued, or wakes those that cannot be told at once.
func (h *Hub) deliver(watchers []*Watcher) {
	now := time.Now()
	part := max(share, (len(watchers)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var others sync.WaitGroup
	for len(watchers) > part {
		mine := watchers[:part]
		watchers = watchers[part:]
		others.Go(func() { h.pushEach(mine, now) })
	}
	h.pushEach(watchers, now)
	others.Wait()
}

func (h *Hub) pushEach(watchers []*Watcher, now time.Time) {
	p := encoders.Get().(*encoder)
	defer p.rest(&h.stats)
	for _, w := range watchers {
		if !w.push(p, now) {
			w.wake()
		}
	}
}
