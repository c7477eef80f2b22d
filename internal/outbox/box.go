package outbox

import (
	"context"
	"sync"
	"time"

	"rollcall/internal/spool"
	"rollcall/internal/wake"
)

// A Door makes of events what they say to others. Its methods are called without locks of the box.
type Door[K comparable, E any] interface {
	// Key returns what e is in order with.
	Key(e *E) K
	// Encode returns e as the journal keeps it.
	Encode(e *E) ([]byte, error)
	// Ready reports whether e, the next of its key, may be sent, now that the journal has it. If it
	// may not, the door calls [Box.Release] when it may.
	Ready(e *E) bool
	// Send sends a batch, which follows one another, until it is over. It returns false, without
	// the turn, when the box closes before.
	Send(t *Turn, batch []*E) bool
	// Done takes note that a batch is over, before the next of its key is sent. It calls remove,
	// which takes the batch off its queue, once.
	Done(batch []*E, remove func())
	// Unkept takes note that the journal could not be written. It is tried again with the next
	// event.
	Unkept(err error)
}

// Config says how much a box does at a time.
type Config struct {
	Parallel int // keys
	Batch    int // events of one key in one call; 0 is one
}

// A Box keeps events until they are sent. It is made by [Open].
type Box[K comparable, E any] struct {
	cfg  Config
	door Door[K, E]

	mu      sync.Mutex
	lanes   map[K]*lane[K, E]
	waiting int
	fresh   []*item[E]    // not in the journal yet
	struck  []spool.ID    // to be struck out
	unsafe  []*lane[K, E] // whose first may be sent once the journal has it
	ready   []*lane[K, E] // whose first the journal has

	unwritten wake.Signal // of write
	sendable  wake.Signal // of dispatch
	turns     chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	workers   sync.WaitGroup
	loops     sync.WaitGroup
	journal   *spool.Spool // nil: memory is all there is
}

// A lane is the queue of one key.
type lane[K comparable, E any] struct {
	key   K
	items []*item[E]
	// The first busy items are being sent; after a drop they are not to be.
	busy    int
	dropped chan struct{} // of those being sent, closed by a drop
	gone    bool          // dropped is closed
	// moving: it waits in unsafe, in ready or for its door, or is being sent.
	moving bool
}

type item[E any] struct {
	e    *E
	id   spool.ID // in the journal; zero when it is not there
	kept bool     // the journal was asked to keep it
	over bool
}

// Open makes a box, with what journal has of an earlier run: found, oldest first. The box owns
// journal, which may be nil, from then on.
func Open[K comparable, E any](cfg Config, door Door[K, E], journal *spool.Spool, found []Kept[E]) *Box[K, E] {
	b := &Box[K, E]{
		cfg: cfg, door: door, lanes: map[K]*lane[K, E]{}, journal: journal,
		unwritten: wake.NewSignal(), sendable: wake.NewSignal(), turns: make(chan struct{}, cfg.Parallel),
	}
	b.cfg.Batch = max(1, cfg.Batch)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for _, k := range found {
		b.enqueue(&item[E]{e: k.Event, id: k.ID, kept: true})
	}
	return b
}

// Start begins to send. The door may use the box from its own start on.
func (b *Box[K, E]) Start() {
	b.loops.Go(b.write)
	b.loops.Go(b.dispatch)
	b.unwritten.Wake()
}

// Context ends when the box closes.
func (b *Box[K, E]) Context() context.Context { return b.ctx }

// Waiting returns how many events are not over.
func (b *Box[K, E]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Add takes events behind the others of their keys. It never waits.
func (b *Box[K, E]) Add(events ...*E) {
	b.mu.Lock()
	for _, e := range events {
		it := &item[E]{e: e}
		b.fresh = append(b.fresh, it)
		b.enqueue(it)
	}
	b.mu.Unlock()
	b.unwritten.Wake()
}

// enqueue puts it behind the others of its key. mu is held, or not yet needed.
func (b *Box[K, E]) enqueue(it *item[E]) {
	key := b.door.Key(it.e)
	l := b.lanes[key]
	if l == nil {
		l = &lane[K, E]{key: key}
		b.lanes[key] = l
	}
	l.items = append(l.items, it)
	b.waiting++
	if !l.moving {
		l.moving = true
		b.unsafe = append(b.unsafe, l)
	}
}

// Queue returns the events of key that are not over, those being sent first.
func (b *Box[K, E]) Queue(key K) []*E {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[key]
	if l == nil {
		return nil
	}
	events := make([]*E, len(l.items))
	for i, it := range l.items {
		events[i] = it.e
	}
	return events
}

// First returns the first event of key that is not over, nil when there is none, and how many there
// are.
func (b *Box[K, E]) First(key K) (*E, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[key]
	if l == nil || len(l.items) == 0 {
		return nil, 0
	}
	return l.items[0].e, len(l.items)
}

// Release has events sent that were not [Door.Ready].
func (b *Box[K, E]) Release(events ...*E) {
	b.mu.Lock()
	for _, e := range events {
		if l := b.lanes[b.door.Key(e)]; l != nil {
			b.ready = append(b.ready, l)
		}
	}
	b.mu.Unlock()
	b.sendable.Wake()
}

// Drop forgets every event of key and returns them, those being sent first: a call that is under
// way is not made again.
func (b *Box[K, E]) Drop(key K) []*E {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[key]
	if l == nil {
		return nil
	}
	events := make([]*E, len(l.items))
	for i, it := range l.items {
		events[i] = it.e
		b.strike(it)
	}
	b.waiting -= len(l.items) - l.busy
	clear(l.items[l.busy:])
	l.items = l.items[:l.busy:l.busy]
	if l.busy > 0 && !l.gone {
		l.gone = true
		close(l.dropped)
	}
	b.unwritten.Wake()
	return events
}

// write keeps the journal and lets go what is in it, until the box closes.
func (b *Box[K, E]) write() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.unwritten:
		}
		b.mu.Lock()
		lanes := b.unsafe
		b.unsafe = nil
		b.mu.Unlock()
		b.keep()
		for _, l := range lanes {
			b.letGo(l)
		}
		b.sendable.Wake()
	}
}

// letGo makes l ready, unless its door wants its first event to wait.
func (b *Box[K, E]) letGo(l *lane[K, E]) {
	b.mu.Lock()
	if len(l.items) == 0 { // dropped
		b.rest(l)
		b.mu.Unlock()
		return
	}
	e := l.items[0].e
	b.mu.Unlock()
	if !b.door.Ready(e) {
		return
	}
	b.mu.Lock()
	b.ready = append(b.ready, l)
	b.mu.Unlock()
}

// rest ends the way of l, which has nothing to send. mu is held.
func (b *Box[K, E]) rest(l *lane[K, E]) {
	l.moving = false
	delete(b.lanes, l.key)
}

// dispatch starts the sending of what the journal has, as many lanes at a time as may be.
func (b *Box[K, E]) dispatch() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.sendable:
		}
		b.mu.Lock()
		ready := b.ready
		b.ready = nil
		b.mu.Unlock()
		for _, l := range ready {
			select {
			case <-b.ctx.Done():
				return
			case b.turns <- struct{}{}:
			}
			if t, batch := b.take(l); len(batch) > 0 {
				b.workers.Go(func() { b.deliver(l, t, batch) })
			} else {
				<-b.turns
			}
		}
	}
}

// take returns the next batch of l, with the turn to send it in.
func (b *Box[K, E]) take(l *lane[K, E]) (*Turn, []*E) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.items) == 0 {
		b.rest(l)
		return nil, nil
	}
	var batch []*E
	for _, it := range l.items[:min(len(l.items), b.cfg.Batch)] {
		if !it.kept {
			break
		}
		batch = append(batch, it.e)
	}
	if l.busy = len(batch); l.busy == 0 { // the first was added after a drop
		b.unsafe = append(b.unsafe, l)
		b.unwritten.Wake()
		return nil, nil
	}
	l.dropped, l.gone = make(chan struct{}), false
	return &Turn{ctx: b.ctx, turns: b.turns, dropped: l.dropped}, batch
}

// deliver has a batch sent until it is over, and hands the turn to the next one of its lane.
func (b *Box[K, E]) deliver(l *lane[K, E], t *Turn, batch []*E) {
	if !b.door.Send(t, batch) {
		return
	}
	<-b.turns
	b.door.Done(batch, func() { b.remove(l) })
	b.mu.Lock()
	if len(l.items) == 0 {
		b.rest(l)
	} else {
		b.unsafe = append(b.unsafe, l)
	}
	b.mu.Unlock()
	b.unwritten.Wake()
}

// remove takes what was being sent off l.
func (b *Box[K, E]) remove(l *lane[K, E]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range l.items[:l.busy] {
		b.strike(it)
	}
	b.waiting -= l.busy
	clear(l.items[:l.busy])
	l.items, l.busy = l.items[l.busy:], 0
}

// Close lets what waits be sent until ctx ends, as long as worth reports that it is worth waiting
// for, and keeps the rest in the journal. A nil worth waits for nothing.
func (b *Box[K, E]) Close(ctx context.Context, worth func() bool) error {
	for ctx.Err() == nil && worth != nil && b.Waiting() > 0 && worth() {
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	b.End()
	b.keep()
	return b.closeJournal()
}

// End stops all sending and waits for it; the journal stays open.
func (b *Box[K, E]) End() {
	b.cancel()
	b.loops.Wait()
	b.workers.Wait()
}

// Kill ends b as a kill -9 of its process does, as far as the disk and the receivers can see.
func (b *Box[K, E]) Kill() {
	b.End()
	_ = b.closeJournal()
}
