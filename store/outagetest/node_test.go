package outagetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/spool"
	"rollcall/presence"
	"rollcall/store/outage"
	"rollcall/watch"
)

// A node is a process: a service over a switched store, and a watcher of all peers.
type node struct {
	w       *world
	number  int
	cut     atomic.Bool
	queue   *memory // survives a kill
	box     *outage.Box
	svc     *presence.Service
	hub     *watch.Hub
	since   atomic.Pointer[time.Time] // cut
	cache   map[presence.Key][]byte
	mu      sync.Mutex
	ears    []func([]presence.Key)
	seenAt  int64 // losses seen
	stop    chan struct{}
	stopped sync.WaitGroup

	toldMu   sync.Mutex
	notified map[presence.PeerID]presence.Status
}

func (n *node) away() bool { return n.cut.Load() || n.w.stopped.Load() }

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

var _ outage.Queue = (*spool.Spool)(nil)

// A switched store is the embedded one as a node reaches it.
type switched struct {
	presence.Store
	n *node
}

func (s switched) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	n := s.n
	if n.away() {
		return errCut
	}
	var waits []int
	if n.box.Spooling() {
		waits = n.box.Waits(keys)
	}
	var rest []presence.Key
	var index []int
	for i, k := range keys {
		if !slices.Contains(waits, i) {
			rest, index = append(rest, k), append(index, i)
		}
	}
	if len(rest) > 0 {
		if err := s.Store.Update(ctx, rest, now, func(i int, st *presence.State) presence.Effect { return merge(index[i], st) }); err != nil {
			return err
		}
	}
	switch {
	case len(waits) == 0:
		return nil
	case len(rest) == 0:
		return errCut
	}
	return &presence.PartError{Failed: waits, Err: errCut}
}

func (s switched) state(k presence.Key) (packed []byte, age time.Duration, err error) {
	n := s.n
	l, overlaid := n.box.Layer(k)
	if n.away() {
		age = max(time.Since(*n.since.Load()), time.Millisecond)
		if overlaid && l.Known {
			return nil, age, nil
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		packed, ok := n.cache[k]
		if !ok || overlaid {
			return nil, 0, errCut
		}
		return packed, age, nil
	}
	packed = n.w.packed(k)
	if overlaid {
		packed = outage.Over(packed, l.Records, wall(), &n.w.rules)
	}
	return packed, 0, nil
}

func (s switched) Summaries(_ context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	for i, k := range keys {
		packed, old, err := s.state(k)
		if err != nil {
			return 0, err
		}
		out[i] = presence.PeekSummary(packed)
		if l, ok := s.n.box.Layer(k); ok && old > 0 {
			out[i] = l.Summary
		}
		age = max(age, old)
	}
	return age, nil
}

func (s switched) Listen(fn func([]presence.Key)) func() {
	s.n.mu.Lock()
	s.n.ears = append(s.n.ears, fn)
	s.n.mu.Unlock()
	return s.Store.Listen(fn)
}

func (s switched) Spool(_ context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	return s.n.box.Spool(reports, now, out)
}

func (s switched) Acknowledged(reports []presence.Report, now presence.Millis) {
	s.n.box.Acknowledged(reports, now)
}

func (s switched) OnReturn(func(asOf, now presence.Millis) <-chan struct{}) func() { return func() {} }

func (s switched) Age() time.Duration {
	if s.n.away() {
		return max(time.Since(*s.n.since.Load()), time.Millisecond)
	}
	return 0
}

func (s switched) AgeOf(presence.Key) time.Duration { return s.Age() }

var _ presence.Remote = switched{}

func (s switched) Epoch() uint64 { return uint64(s.n.w.lost.Load()) + 1 }

func (s switched) Horizon(now presence.Millis) uint64 { return uint64(now.Add(-10 * time.Second)) }

// below is what a box sees of the switched store. Its writes fail in the middle of a batch when the node is cut.
type below struct{ n *node }

func (b below) Replay(list []outage.Record) []error {
	n := b.n
	errs := make([]error, len(list))
	for i, r := range list {
		n.w.rand.pause(20) // others come in between
		if n.away() {
			errs[i] = errCut
			continue
		}
		errs[i] = n.w.below.Update(context.Background(), []presence.Key{r.Report.Key()}, wall(), func(_ int, st *presence.State) presence.Effect {
			report := r.Report
			_, e := st.Replay(&report, r.Received, wall(), &n.w.rules)
			return e
		})
		if n.w.rand.IntN(50) == 0 && !n.w.healed.Load() {
			errs[i] = errCut // the answer is lost: it will be applied twice
		}
	}
	return errs
}

func (b below) Waits(err error) (waits, held bool) {
	return errors.Is(err, errCut) && b.n.w.rand.IntN(2) == 0, false
}

func (b below) Last(key presence.Key) ([]byte, bool) {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	packed, ok := b.n.cache[key]
	return packed, ok
}

func (b below) Signal(keys []presence.Key) {
	b.n.mu.Lock()
	ears := slices.Clone(b.n.ears)
	b.n.mu.Unlock()
	for _, fn := range ears {
		fn(keys)
	}
}

func (b below) Now() presence.Millis { return wall() }
