package presence

import (
	"context"
	"sync"
	"time"
)

// Shared is what a store adds that several processes write to. A store without it is written by
// this process alone, and the [Service] keeps the books itself.
type Shared interface {
	// Epoch names the identity of what is stored. Revisions of two epochs cannot be compared: after
	// a restore or an empty restart the epoch is another one.
	Epoch() uint64
	// Horizon returns a revision such that every write of that or a lesser one, by any process, is
	// visible to a read that starts now, and every other write gets a greater one. It may lag; it
	// must not be ahead.
	Horizon(now Millis) uint64
}

// inflight knows which writes are under way, so that a token can name a revision below all of them.
// A write takes off at its time, or just above the last horizon given out when the clock stands
// behind that.
type inflight struct {
	mu     sync.Mutex
	under  map[uint64]int
	failed []failure
	given  uint64
}

// A failure is a write that ended with an error and may still come to be seen.
type failure struct {
	start uint64
	at    Millis
}

// failedFor is how long a failed write holds the horizon back: longer than any store goes on with a
// call it gave up.
const failedFor = 10 * time.Second

func (f *inflight) enter(now Millis) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	start := max(uint64(now), f.given+1)
	if f.under == nil {
		f.under = map[uint64]int{}
	}
	f.under[start]++
	return start
}

func (f *inflight) leave(start uint64, now Millis, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed = append(f.failed, failure{start, now})
		return
	}
	f.land(start)
}

func (f *inflight) land(start uint64) {
	if f.under[start]--; f.under[start] <= 0 {
		delete(f.under, start)
	}
}

func (f *inflight) horizon(now Millis) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.failed) > 0 && now >= f.failed[0].at.Add(failedFor) {
		f.land(f.failed[0].start)
		f.failed = f.failed[1:]
	}
	h := max(uint64(now), f.given+1)
	for start := range f.under {
		h = min(h, start)
	}
	f.given = h - 1
	return f.given
}

// Horizon returns a revision below that of every write that is not yet visible: a caller that reads
// after this call and later asks for all that is newer misses nothing.
func (s *Service) Horizon(now Millis) uint64 {
	if shared, ok := s.store.(Shared); ok {
		return shared.Horizon(now)
	}
	return s.inflight.horizon(now)
}

// Epoch names the identity of what is stored, for tokens: revisions of two epochs cannot be
// compared. A store of this process alone gets another one with every start.
func (s *Service) Epoch() uint64 {
	if shared, ok := s.store.(Shared); ok {
		return shared.Epoch()
	}
	return s.epoch
}

// update writes through the store under the eyes of [Service.Horizon]. The time it hands down gives
// revisions only; what merge needs of leases it carries itself.
func (s *Service) update(ctx context.Context, keys []Key, now Millis, merge Merge) error {
	start := s.inflight.enter(now)
	err := s.store.Update(ctx, keys, Millis(start), merge)
	s.inflight.leave(start, now, err)
	return err
}

// settle is update for what follows from time alone.
func (s *Service) settle(ctx context.Context, keys []Key, now Millis, merge Merge) error {
	st, ok := s.store.(Settler)
	if !ok {
		return s.update(ctx, keys, now, merge)
	}
	start := s.inflight.enter(now)
	err := st.Settle(ctx, keys, Millis(start), merge)
	s.inflight.leave(start, now, err)
	return err
}

// Horizons are samples of [Service.Horizon], for a room that follows the signals of the store: a
// horizon is safe to name once the signals of its time have arrived.
type Horizons struct{ samples []horizonSample }

type horizonSample struct {
	at      time.Time
	horizon uint64
}

// Sample takes one at at, which is now by the wall clock, unless the last is less than least old.
func (h *Horizons) Sample(s *Service, at time.Time, now Millis, least time.Duration) {
	if n := len(h.samples); n > 0 && at.Sub(h.samples[n-1].at) < least {
		return
	}
	h.samples = append(h.samples, horizonSample{at, s.Horizon(now)})
}

// Settled returns the latest that was taken lag or longer before start, and forgets it and those
// before it; ok is false when there is none.
func (h *Horizons) Settled(start time.Time, lag time.Duration) (horizon uint64, ok bool) {
	n := 0
	for n < len(h.samples) && start.Sub(h.samples[n].at) >= lag {
		n++
	}
	if n == 0 {
		return 0, false
	}
	horizon = h.samples[n-1].horizon
	h.samples = h.samples[:copy(h.samples, h.samples[n:])]
	return horizon, true
}

// Clear forgets all: writes that the store does not signal may lie below them.
func (h *Horizons) Clear() { h.samples = h.samples[:0] }
