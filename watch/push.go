package watch

import (
	"runtime"
	"sync"
	"time"
)

// A Pusher writes batches without waiting. While the goroutine of its watcher waits in
// [Watcher.Next], the hub pushes what is queued from a goroutine of its own, so that no goroutine
// is woken for a change. Its methods are never called concurrently, nor while that goroutine is out
// of Next.
type Pusher interface {
	// Ready reports whether a batch may be pushed now. When it may not, Next returns a batch that
	// is [Stuck].
	Ready() bool
	// Push writes b, which is valid during the call only, and must not wait. It reports false when
	// a part of b is left to write; then Next returns a batch that is Stuck, and b counts as sent.
	Push(b *Batch) bool
}

// Attach has the hub push to p whenever it can. Only the goroutine that calls Next may call it.
func (w *Watcher) Attach(p Pusher) { w.pusher = p }

// push pushes what is queued. It reports false when the watcher's own goroutine must be woken to go
// on.
func (w *Watcher) push(p *encoder, now time.Time) bool {
	if !w.turn.TryLock() {
		return false // it is awake, or another goroutine pushes; what is queued must not be missed
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

// share is how many watchers are worth a goroutine to push to them.
const share = 256

// deliver pushes to watchers what is queued, or wakes those that cannot be pushed to at once.
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
			w.wakeup.Wake()
		}
	}
}
