package embedded

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

// An op is one Update on its way.
type op struct {
	keys  []presence.Key
	now   presence.Millis
	merge presence.Merge
	// settles: the update draws conclusions that any later sweep would draw again, so it need not
	// be durable.
	settles bool

	state atomic.Int32 // opQueued, then which was faster
	err   error
	done  chan struct{}
}

const (
	opQueued = iota
	opTaken
	opLeft // the caller stopped waiting before the committer took it
)

var ops = sync.Pool{New: func() any { return &op{done: make(chan struct{}, 1)} }}

// An entry is one state that an op of the group has made.
type entry struct {
	hash     uint64
	app      *app
	key      presence.Key
	from, to int // the packed state in group.buf
	was, is  standing
	deadline presence.Millis
	gone     bool // nothing is left to remember
	shown    bool // some answer changes
	newer    bool // a later entry of the group is about the same peer
}

// A group is what is written and acknowledged together. The committer reuses one.
type group struct {
	buf     []byte // the frame under way, or only the packed states
	entries []entry
	byHash  map[uint64]int32 // latest entry, when there are many
	state   presence.State
	packed  []byte
	used    []*app          // by the entries
	time    presence.Millis // the latest of the ops
	added   int64           // bytes of peers not known before
}

// manyEntries is from when on a map finds entries faster than a walk over them.
const manyEntries = 32

func (g *group) reset() {
	clear(g.entries)
	g.entries, g.time, g.added = g.entries[:0], 0, 0
	clear(g.byHash)
	if cap(g.buf) > 2*maxGroup {
		g.buf = nil
	}
	g.buf = g.buf[:0]
}

// find returns the latest entry about key, or nil.
func (g *group) find(h uint64, key presence.Key) *entry {
	if len(g.entries) >= manyEntries {
		i, ok := g.byHash[h]
		if !ok {
			return nil
		}
		if e := &g.entries[i]; e.key == key {
			return e
		}
	}
	for i := len(g.entries) - 1; i >= 0; i-- {
		if e := &g.entries[i]; e.hash == h && e.key == key {
			return e
		}
	}
	return nil
}

func (g *group) add(e entry) {
	g.entries = append(g.entries, e)
	switch n := len(g.entries); {
	case n == manyEntries:
		for i := range g.entries {
			g.byHash[g.entries[i].hash] = int32(i)
		}
	case n > manyEntries:
		g.byHash[e.hash] = int32(n - 1)
	}
}

// mergeOp has an op change the states of its peers on top of the index and of the ops before it.
func (s *Store) mergeOp(g *group, o *op) error {
	g.time = max(g.time, o.now)
	for i, key := range o.keys {
		if err := s.mergeKey(g, o, i, key); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) mergeKey(g *group, o *op, i int, key presence.Key) error {
	a := s.apps.intern(key.App)
	h := s.index.hash(a.num, string(key.Peer))
	var was standing
	prior := g.find(h, key)
	switch {
	case prior != nil:
		g.packed = append(g.packed[:0], g.buf[prior.from:prior.to]...)
		was = prior.is
	default:
		g.packed = s.index.getAt(g.packed[:0], h, a.num, string(key.Peer))
	}
	st := &g.state
	if len(g.packed) == 0 {
		*st = presence.State{Rev: s.floor.Load(), Sessions: st.Sessions[:0], Slots: st.Slots[:0], Deliveries: st.Deliveries[:0]}
	} else if err := st.Unpack(g.packed); err != nil {
		return unavailable(fmt.Errorf("read the state of a peer: %w", err))
	}
	if prior == nil {
		was = standing{st.Status, st.Day}
	}
	rev := st.Rev
	effect := o.merge(i, st)
	if effect == presence.Same {
		return nil
	}
	st.Rev = presence.NextRev(rev, o.now)
	e := entry{
		hash: h, app: a, key: key, was: was, is: standing{st.Status, st.Day},
		deadline: st.Deadline(&s.deps.Rules), gone: st.Forgotten(), shown: effect == presence.Shown,
	}
	if e.gone {
		e.is, e.deadline = standing{}, 0
	}
	g.packed = st.Pack(g.packed[:0])
	if len(g.packed) > maxState {
		return fmt.Errorf("%w: the state of a peer takes %d bytes, more than %d", presence.ErrFull, len(g.packed), maxState)
	}
	if was == (standing{}) && prior == nil && !e.gone {
		g.added += int64(recordSize(a.num, string(key.Peer), state{b: g.packed})) + 12
		if s.bound > 0 && s.index.used.Load()+g.added > s.bound {
			return fmt.Errorf("%w: the index takes %d bytes, max_memory is %d", presence.ErrFull, s.index.used.Load(), s.bound)
		}
	}
	if prior != nil {
		prior.newer = true
	}
	g.buf = appendEntry(g.buf, a.num, string(key.Peer), g.packed)
	e.from, e.to = len(g.buf)-len(g.packed), len(g.buf)
	g.add(e)
	return nil
}

// show makes a group visible, and arms the leases of its peers.
func (s *Store) show(g *group) {
	for i := range g.entries {
		e := &g.entries[i]
		e.app.count(e.was, e.is)
		if e.newer {
			continue
		}
		packed := g.buf[e.from:e.to]
		if e.gone {
			s.floor.Store(max(s.floor.Load(), presence.Rev(packed)))
			s.index.remove(e.hash, e.app.num, string(e.key.Peer))
			continue
		}
		s.index.put(e.hash, e.app.num, string(e.key.Peer), packed)
		s.wheel.arm(prefixOf(e.hash), e.deadline)
	}
	s.alive.Store(max(s.alive.Load(), int64(g.time)))
}

// notify signals the peers of a group whose answers have changed.
func (s *Store) notify(g *group) {
	listeners := *s.listeners.Load()
	if len(listeners) == 0 {
		return
	}
	keys := make([]presence.Key, 0, len(g.entries))
	for i := range g.entries {
		if e := &g.entries[i]; e.shown {
			keys = append(keys, e.key)
		}
	}
	if len(keys) == 0 {
		return
	}
	for _, l := range listeners {
		l.fn(keys)
	}
}

// Update merges into the states of keys and keeps what comes of it.
func (s *Store) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return s.update(ctx, keys, now, merge, false)
}

// Settle is Update for what follows from time alone. While the disk fails it goes on in memory,
// because any later sweep would conclude the same.
func (s *Store) Settle(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return s.update(ctx, keys, now, merge, true)
}

func (s *Store) update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge, settles bool) error {
	if len(keys) == 0 {
		return nil
	}
	if s.log == nil {
		return s.updateMemory(ctx, keys, now, merge)
	}
	o := ops.Get().(*op)
	o.keys, o.now, o.merge, o.settles, o.err = keys, now, merge, settles, nil
	o.state.Store(opQueued)
	if err := s.queue.push(o); err != nil {
		ops.Put(o)
		return err
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		if o.state.CompareAndSwap(opQueued, opLeft) {
			return unavailable(ctx.Err()) // the committer will drop it
		}
		// It has been taken: merge may be running and writes to what our caller owns, so wait until
		// it surely is not.
		s.merging.Lock()
		s.merging.Unlock() //nolint:staticcheck // only to wait
		select {
		case <-o.done:
		default:
			return unavailable(ctx.Err())
		}
	}
	err := o.err
	o.keys, o.merge = nil, nil
	ops.Put(o)
	return err
}

// updateMemory is the road without a log: no goroutine, no group.
func (s *Store) updateMemory(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	g := &s.group
	g.reset()
	o := op{keys: keys, now: now, merge: merge}
	err := s.mergeOp(g, &o)
	// What was merged before a failure is kept: the contract allows it, and outcomes were given.
	s.show(g)
	s.notify(g)
	return err
}
