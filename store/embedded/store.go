package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/sysmem"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// A Store keeps the states of peers in memory and, when it has a path, on disk. It implements
// presence.Store.
type Store struct {
	cfg  Config
	deps Deps
	run  uint64 // names this run, in cursors

	bound int64 // of index.used; zero for none
	shed  struct {
		sync.Mutex
		shard int // where the next search begins
	}

	index    *index
	apps     *apps
	wheel    *wheel
	nodes    nodes
	rearming sync.Mutex // one Due at a time

	// The greatest rev of a peer that was forgotten: new peers start above it.
	floor     atomic.Uint64
	alive     atomic.Int64 // the greatest time of an update
	listeners atomic.Pointer[[]*listener]
	listening sync.Mutex
	closed    atomic.Bool
	batches   sync.Pool

	writer  sync.Mutex // held while the index changes
	merging sync.Mutex // held while merges run, taken after writer
	group   group

	snapshots sync.Mutex // one at a time; taken before writer

	queue queue
	log   *log // nil: memory only
	stats counters
}

type listener struct{ fn func([]presence.Key) }

var (
	_ presence.Store   = (*Store)(nil)
	_ presence.Settler = (*Store)(nil)
	_ presence.Shedder = (*Store)(nil)

	errClosed = fmt.Errorf("%w: the store is closed", presence.ErrUnavailable)
)

// unavailable marks err as one after which sending again is safe.
func unavailable(err error) error {
	if errors.Is(err, presence.ErrUnavailable) || errors.Is(err, presence.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
}

func newStore(cfg Config, deps Deps) *Store {
	s := &Store{
		cfg: cfg, deps: deps, run: rand.Uint64(),
		index: newIndex(), apps: newApps(), wheel: newWheel(),
		nodes: nodes{byID: map[presence.NodeID]*node{}},
		group: group{byHash: map[uint64]int32{}},
		queue: queue{bound: cfg.MaxQueue, wake: wake.NewSignal()},
		bound: cmp.Or(cfg.MaxMemory, sysmem.Limit()/2),
	}
	s.listeners.Store(&[]*listener{})
	s.batches.New = func() any { return &batch{hint: int(rand.Uint32() % readers)} }
	return s
}

// Open returns the store that cfg describes, with what its path holds. The nodes that restored
// sessions hang on have the grace from now to send a heartbeat.
func Open(cfg Config, deps Deps, now presence.Millis) (*Store, error) {
	if err := configload.Validate(&cfg); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	s := newStore(cfg.withDefaults(), deps.withDefaults())
	if deps.Path == "" {
		return s, nil
	}
	if err := s.openLog(now); err != nil {
		return nil, fmt.Errorf("open %s: %w", deps.Path, err)
	}
	return s, nil
}

// LastAlive returns the greatest time of an update that the store remembers: until then renewals
// were surely received. Zero for an empty store.
func (s *Store) LastAlive() presence.Millis { return presence.Millis(s.alive.Load()) }

func (s *Store) key(app uint32, peer []byte) presence.Key {
	return presence.Key{App: s.apps.id(app), Peer: presence.PeerID(peer)}
}

// Statuses sets out[i] to what peers[i] is at now. No answer has an age: the store is here.
func (s *Store) Statuses(_ context.Context, id presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	a := s.apps.lookup(id)
	if a == nil {
		clear(out[:len(peers)])
		return 0, nil
	}
	bt := s.batches.Get().(*batch)
	s.index.statuses(bt, a.num, peers, now, &s.deps.Rules, out)
	s.batches.Put(bt)
	return 0, nil
}

// Summaries sets out[i] to the summary of keys[i] as it was last written. No answer has an age.
func (s *Store) Summaries(_ context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	if s.closed.Load() {
		return 0, errClosed
	}
	var room [256]byte
	b := room[:0]
	for i, k := range keys {
		out[i] = presence.Summary{}
		if a := s.apps.lookup(k.App); a != nil {
			b = s.index.get(b[:0], a.num, string(k.Peer))
			out[i] = presence.PeekSummary(b)
		}
	}
	return 0, nil
}

// Load reads the whole state of one peer.
func (s *Store) Load(_ context.Context, key presence.Key, st *presence.State) error {
	*st = presence.State{}
	_, err := s.load(key, st, nil)
	return err
}

// load reads the state of one peer into the memory of st. It returns room, grown to what that took.
func (s *Store) load(key presence.Key, st *presence.State, room []byte) ([]byte, error) {
	if s.closed.Load() {
		return room, errClosed
	}
	room = room[:0]
	if a := s.apps.lookup(key.App); a != nil {
		room = s.index.get(room, a.num, string(key.Peer))
	}
	if len(room) == 0 {
		*st = presence.State{}
		return room, nil
	}
	if err := st.Unpack(room); err != nil {
		return room, unavailable(err)
	}
	return room, nil
}

// Loads reads the whole states of many peers, into the memory of out.
func (s *Store) Loads(_ context.Context, keys []presence.Key, out []presence.State) error {
	var part *presence.PartError
	var room []byte
	for i, key := range keys {
		if s.closed.Load() {
			return errClosed
		}
		var err error
		if room, err = s.load(key, &out[i], room); err == nil {
			continue
		}
		out[i] = presence.State{}
		if part == nil {
			part = &presence.PartError{Err: err}
		}
		part.Failed = append(part.Failed, i)
	}
	if part != nil {
		return part
	}
	return nil
}

// Due returns up to limit peers whose deadline has come by now. They come again until they are
// settled.
func (s *Store) Due(ctx context.Context, now presence.Millis, limit int) ([]presence.Key, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	s.rearming.Lock()
	defer s.rearming.Unlock()
	if err := s.rearm(ctx, now); err != nil {
		return nil, err
	}
	var (
		keys []presence.Key
		st   presence.State
	)
	if limit <= 0 {
		return nil, nil
	}
	deadline := func(prefix uint64) presence.Millis {
		var first presence.Millis
		s.withPrefix(prefix, &st, func(d presence.Millis, _ uint32, _ []byte) {
			if first == 0 || d < first {
				first = d
			}
		})
		return first
	}
	s.wheel.due(now, deadline, func(prefix uint64) bool {
		s.withPrefix(prefix, &st, func(d presence.Millis, app uint32, peer []byte) {
			if d <= now && len(keys) < limit {
				keys = append(keys, s.key(app, peer))
			}
		})
		return len(keys) < limit
	})
	return keys, nil
}

// withPrefix calls fn for the peers with a hash prefix that have a deadline: one, but for
// collisions.
func (s *Store) withPrefix(prefix uint64, st *presence.State, fn func(d presence.Millis, app uint32, peer []byte)) {
	s.index.withTag(int(prefix>>32), uint32(prefix), func(app uint32, peer, packed []byte) {
		if st.Unpack(packed) != nil {
			return
		}
		if d := st.Deadline(&s.deps.Rules); d != 0 {
			fn(d, app, peer)
		}
	})
}

// rearm arms what comes near. In step with time that is one shard now and then; after a start or a
// jump of time it is all of them.
func (s *Store) rearm(ctx context.Context, now presence.Millis) error {
	var st presence.State
	for i := range shards {
		covered := s.wheel.coveredUntil(i)
		if covered > now+span/2 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return unavailable(err)
		}
		until := now + span
		if covered == 0 {
			// So that they do not all come round at once.
			until -= span / 2 / shards * presence.Millis(i)
		}
		s.wheel.cover(i, until)
		for tag, more := uint32(0), true; more; {
			tag, more = s.index.scan(i, tag, scanStep, func(tag, _ uint32, _, packed []byte) {
				if st.Unpack(packed) != nil {
					return
				}
				if d := st.Deadline(&s.deps.Rules); d != 0 && d < until {
					s.wheel.arm(uint64(i)<<32|uint64(tag), d)
				}
			})
		}
	}
	return nil
}

// Counts counts the peers of an app. A lease that has run out counts until it is settled.
func (s *Store) Counts(_ context.Context, id presence.AppID, now presence.Millis) (presence.Counts, error) {
	if s.closed.Load() {
		return presence.Counts{}, errClosed
	}
	a := s.apps.lookup(id)
	if a == nil {
		return presence.Counts{}, nil
	}
	return a.counts(now, &s.deps.Rules), nil
}

// Listen has the store call fn with the peers whose answers have changed.
func (s *Store) Listen(fn func(keys []presence.Key)) (stop func()) {
	l := &listener{fn}
	s.listening.Lock()
	defer s.listening.Unlock()
	next := append(append([]*listener{}, *s.listeners.Load()...), l)
	s.listeners.Store(&next)
	return func() {
		s.listening.Lock()
		defer s.listening.Unlock()
		var rest []*listener
		for _, o := range *s.listeners.Load() {
			if o != l {
				rest = append(rest, o)
			}
		}
		s.listeners.Store(&rest)
	}
}

// Close writes what is queued and lets go of the directory.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.queue.close()
	s.nodes.mu.Lock() // wait for writers of the list of drained nodes
	defer s.nodes.mu.Unlock()
	s.closeHeartbeats()
	if s.log == nil {
		s.writer.Lock() // wait for updates under way
		defer s.writer.Unlock()
		return nil
	}
	return s.closeLog()
}
