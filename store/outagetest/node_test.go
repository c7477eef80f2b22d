package outagetest_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/spool"
	"rollcall/presence"
	"rollcall/store/outage"
	"rollcall/store/outagetest"
	"rollcall/watch"
)

// A node is a process: a service over a switched store, and a watcher of all peers.
type node struct {
	w       *world
	number  int
	cut     atomic.Bool
	away    atomic.Int64 // ns that it was cut at most
	queue   *memory      // survives a kill
	store   store
	svc     *presence.Service
	hub     *watch.Hub
	seenAt  int64 // losses seen
	ctx     context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup

	notifiedMu sync.Mutex
	notified   map[presence.PeerID]presence.Status
}

// turn puts the store out of the node's reach, or back, as it now is.
func (n *node) turn(known ...presence.Key) {
	if n.cut.Load() || n.w.stopped.Load() {
		n.store.Switch.Leave(nil, known...)
	} else if away := n.store.Switch.Return(); away > 0 {
		n.away.Store(max(n.away.Load(), int64(away)))
	}
}

// memory is a spool that is not on disk.
type memory struct {
	rand  *dice
	slow  int // ms that the disk may take
	mu    sync.Mutex
	last  spool.ID
	queue []spool.Record
}

func (m *memory) Append(records [][]byte) (ids []spool.ID, err error) {
	m.rand.pause(m.slow)
	m.mu.Lock()
	for _, r := range records {
		m.last++
		ids, m.queue = append(ids, m.last), append(m.queue, spool.Record{ID: m.last, Data: r})
	}
	m.mu.Unlock()
	m.rand.pause(m.slow) // it may be read before it is synced
	return ids, nil
}

func (m *memory) Next(after spool.ID, n int) (records []spool.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.queue {
		if r.ID > after && len(records) < n {
			records = append(records, r)
		}
	}
	return records, nil
}

func (m *memory) Ack(ids ...spool.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = slices.DeleteFunc(m.queue, func(r spool.Record) bool { return slices.Contains(ids, r.ID) })
	return nil
}

func (m *memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

func (m *memory) Size() (int64, int64) { return 0, 1 << 30 }
func (m *memory) Close() error         { return nil }

// A store is the embedded one as a node reaches it.
type store struct {
	outagetest.Wrapped
	w *world
}

var (
	_ presence.Remote = store{}
	_ presence.Shared = store{}
)

func (s store) Epoch() uint64 { return uint64(s.w.lost.Load()) + 1 }

func (s store) Horizon(now presence.Millis) uint64 { return uint64(now.Add(-10 * time.Second)) }

// A shaky store below is cut in the middle of what is replayed, and loses answers.
type shaky struct {
	*outagetest.Switch
	w *world
}

type replaying struct{}

func (s shaky) UpdateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	if ctx.Value(replaying{}) == nil {
		return s.Switch.UpdateEach(ctx, keys, now, merge)
	}
	errs := make([]error, len(keys))
	for i := range keys {
		s.w.rand.pause(20) // others come in between
		errs[i] = outage.Partly(s.Switch.UpdateEach(ctx, keys[i:i+1], wall(), func(_ int, st *presence.State) presence.Effect { return merge(i, st) }))
		if s.w.rand.IntN(50) == 0 && !s.w.healed.Load() {
			errs[i] = outagetest.ErrAway // the answer is lost: it will be applied twice
		}
	}
	return errs
}

func (s shaky) Waits(err error) (waits, held bool) {
	waits, held = s.Switch.Waits(err)
	return waits && s.w.rand.IntN(2) == 0, held
}
