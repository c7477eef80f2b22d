package outage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// A Lower is a store that can be out of reach, in whole or in part. What it answers by itself is
// what it has: of the spool it knows nothing.
type Lower interface {
	presence.Store
	// Reach reports whether the part of the store that keeps key answers, as far as is known, and
	// how long ago it last did.
	Reach(key presence.Key) (silent time.Duration, up bool)
	// Peek returns what is known of a peer without asking the store: a packed state, empty for an
	// unknown peer. known is false when nothing is.
	Peek(key presence.Key) (packed []byte, known bool)
	// Read calls see with the packed state of each of peers, empty for an unknown one, and returns
	// its age as Statuses does. now is 0 when leases are not judged.
	Read(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, see func(i int, packed []byte)) (age time.Duration, err error)
	// Judge returns the status in a packed state at now.
	Judge(packed []byte, now presence.Millis) presence.Status
	// UpdateEach is Update that returns an error for each key that it could not update, nil when
	// there is none; SettleEach is the same for what follows from time alone, see
	// [presence.Settler].
	UpdateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error
	SettleEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error
	// Waits reports whether err, of UpdateEach, means that the peer cannot be written now and
	// nothing else is the matter; held, that only a later release may write it.
	Waits(err error) (waits, held bool)
}

// A Store is a [Lower] with a box: reports that the store below cannot take are kept, counted in
// the answers and replayed. With Age and AgeOf, which only the store
// below can answer, it is a [presence.Remote]. It is safe for many goroutines.
type Store struct {
	Lower
	*Box
	aged atomic.Int64 // answers with an age

	mu      sync.Mutex // guards what follows
	seq     int
	ears    map[int]func([]presence.Key)
	returns map[int]func(asOf, now presence.Millis) (done <-chan struct{})
}

// Wrap returns low with a box. What an earlier process left in the spool is counted in the answers
// when it returns; [Box.Drain] replays it. The errors are those of [Open].
func Wrap(low Lower, cfg Config) (*Store, error) {
	s := &Store{
		Lower: low, ears: map[int]func([]presence.Key){},
		returns: map[int]func(asOf, now presence.Millis) <-chan struct{}{},
	}
	var err error
	s.Box, err = Open(cfg, below{s})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// below is the store as its box sees it.
type below struct{ *Store }

func (b below) Replay(ctx context.Context, list []Record) []error {
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].Report.Key()
	}
	now := b.cfg.Now()
	return b.UpdateEach(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		report := list[i].Report
		_, e := st.Replay(&report, list[i].Received, now, &b.cfg.Rules)
		return e
	})
}

func (b below) Waits(err error) (waits, held bool) {
	if errors.Is(err, errWaits) {
		return true, false
	}
	return b.Lower.Waits(err)
}

func (b below) Last(key presence.Key) ([]byte, bool) { return b.Peek(key) }

// Signal has the listeners look at keys again, nil at all peers: what they have may be from the
// overlay, or from before an outage.
func (s *Store) Signal(keys []presence.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fn := range s.ears {
		fn(keys)
	}
}

// errWaits is why a peer is not written whose reports are in the spool.
var errWaits = fmt.Errorf("%w: reports on the peer wait in the spool", presence.ErrUnavailable)

// settleStep is how many peers one step of a sweep settles: between two steps, what has come into
// the spool is seen.
const settleStep = 128

// Update implements [presence.Store]. Peers with reports in the spool have to wait for these; they
// do not keep the others from it.
func (s *Store) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return Partly(s.rest(ctx, keys, now, merge, s.UpdateEach))
}

// Settle implements [presence.Settler]: what waits in the spool comes before what follows from
// time.
func (s *Store) Settle(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	errs := make([]error, len(keys))
	for from := 0; from < len(keys); from += settleStep {
		some := keys[from:min(from+settleStep, len(keys))]
		step := func(i int, st *presence.State) presence.Effect { return merge(from+i, st) }
		copy(errs[from:], s.rest(ctx, some, now, step, s.SettleEach))
	}
	return Partly(errs)
}

type updateEach = func(context.Context, []presence.Key, presence.Millis, presence.Merge) []error

// rest updates by each all peers but those that have to wait, and returns an error for each that it
// could not update, nil when there is none.
func (s *Store) rest(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge, each updateEach) []error {
	var waits []int
	if s.Spooling() {
		waits = s.Box.Waits(keys)
	}
	if len(waits) == 0 {
		return each(ctx, keys, now, merge)
	}
	errs := make([]error, len(keys))
	for _, i := range waits {
		errs[i] = errWaits
	}
	var rest []presence.Key
	var index []int
	for i, err := range errs {
		if err == nil {
			rest, index = append(rest, keys[i]), append(index, i)
		}
	}
	if len(rest) == 0 {
		return errs
	}
	for k, err := range each(ctx, rest, now, func(k int, st *presence.State) presence.Effect { return merge(index[k], st) }) {
		errs[index[k]] = err
	}
	return errs
}

// Partly makes one error of those of each peer: nil when there is none, and a [presence.PartError]
// when not all failed.
func Partly(errs []error) error {
	var failed []int
	for i, err := range errs {
		if err != nil {
			failed = append(failed, i)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	err := errs[failed[0]]
	if len(failed) == len(errs) {
		return err
	}
	return &presence.PartError{Failed: failed, Err: err}
}

// Spool is part of [presence.Remote]; for its errors see [Box.Spool].
func (s *Store) Spool(_ context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	return s.Box.Spool(reports, now, out)
}

// Listen implements [presence.Store].
func (s *Store) Listen(fn func(keys []presence.Key)) (stop func()) {
	s.mu.Lock()
	n := s.seq
	s.seq++
	s.ears[n] = fn
	s.mu.Unlock()
	lower := s.Lower.Listen(fn)
	return func() {
		lower()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ears, n)
	}
}

// OnReturn is part of [presence.Remote].
func (s *Store) OnReturn(fn func(asOf, now presence.Millis) (done <-chan struct{})) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.seq
	s.seq++
	s.returns[n] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.returns, n)
	}
}

// Returned has the holders of sessions report them again, since nothing could be renewed between
// asOf and now, and returns what closes when they have.
func (s *Store) Returned(asOf, now presence.Millis) (done []<-chan struct{}) {
	s.mu.Lock()
	fns := make([]func(asOf, now presence.Millis) <-chan struct{}, 0, len(s.returns))
	for _, fn := range s.returns {
		fns = append(fns, fn)
	}
	s.mu.Unlock()
	for _, fn := range fns {
		if d := fn(asOf, now); d != nil {
			done = append(done, d)
		}
	}
	return done
}

// Close closes the spool and the store below, and joins their errors.
func (s *Store) Close() error {
	err := s.Lower.Close()
	return errors.Join(err, s.Box.Close())
}

// Stats returns counts since the store opened, and sizes now, see [Box.Stats].
func (s *Store) Stats() map[string]int64 {
	m := s.Box.Stats()
	m["stale_answers"] = s.aged.Load()
	return m
}
