package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	spooled "rollcall/store/outage"
)

const (
	watchEvery = 50 * time.Millisecond
	checkEvery = 5 * time.Second
	// stillAfter is the shortest outage after which leases stand still: a shorter one cannot have kept a renewal away for a
	// third of the shortest lease.
	stillAfter = 2 * time.Second
)

// An outage is all that is done while Redis is away and when it comes back.
type outage struct {
	box *spooled.Box // the spool, what is overlaid by it, and the journal
	// open from the first failed call until everybody is told of the return: in between, what has run out in Redis is not
	// believed, for nobody could renew it. The primaries of a Cluster have a mark each, see [link]; this one is then for
	// words that may be lost and for beats that are refused.
	open atomic.Bool
	// refused while Redis, that answers, does not take the beat of a node, as when its memory is full: those of the others
	// are not taken either, and nobody is to be found lost.
	refused atomic.Bool

	// doubt is the age of the store, in ms, of answers since Redis may have lost something; 0 when it has not.
	doubt, doubted atomic.Int64
	settledAt      atomic.Int64      // when the last doubt ended
	asserting      []<-chan struct{} // close when those who hold sessions have reported them again; the watchman's
	back           int64             // since when all nodes are known to Redis again; the watchman's

	mu    sync.Mutex
	since int64 // when the present outage began, ms of the store's age; 0 for none
	fns   map[int]func(a, n presence.Millis) <-chan struct{}
	fnSeq int
	lost  bool // words may be lost: say them again
	// others are the nodes that were known before Redis may have lost something; nil while it has not.
	others map[presence.NodeID]struct{}
	// missed is the longest absence before a loss whose journal is not applied yet. It is the watchman's.
	missed time.Duration
	wake   chan struct{}
}

// failed takes note of an error of a call to the primary behind k; nil when it is not known which.
func (s *Store) failed(k *link, err error) {
	if err == nil || !isAway(err) || s.closed() {
		return
	}
	if k == nil {
		if k = s.single; k == nil {
			return
		}
	}
	if errors.Is(err, rueidis.ErrNoSlot) && s.single == nil {
		// Said of every command of a batch of which one is for a primary that the client knows no node of any more.
		nodes := s.client.Nodes()
		for _, k := range s.links() {
			if nodes[k.addr] == nil {
				s.gone(k, err)
			}
		}
		return
	}
	if timedOut(err) {
		s.suspect(k, err)
		return
	}
	s.gone(k, err)
}

// gone calls the primary behind k away.
func (s *Store) gone(k *link, err error) {
	if !k.away.CompareAndSwap(0, s.millis()) {
		return
	}
	s.stats.outages.Add(1)
	s.log.Warn("redis is away", "addr", s.called(k), "err", err)
	o := &s.outage
	k.open.Store(true)
	if s.single != nil {
		o.open.Store(true)
	}
	o.mu.Lock()
	if o.since == 0 {
		o.since = s.millis()
	}
	o.mu.Unlock()
	s.wakeWatchman()
}

// failedSince takes note of an error of a call that began at begun, to the primary of key. That the time was over is not the
// fault of a primary that was hardly given any of it.
func (s *Store) failedSince(begun time.Time, key string, err error) {
	if errors.Is(err, context.DeadlineExceeded) && time.Since(begun) < s.cfg.Deadline/2 {
		return
	}
	s.failed(s.linkOfKey(key), err)
}

// beatTold takes note of what Redis said to a beat.
func (s *Store) beatTold(err error) {
	o := &s.outage
	if err == nil {
		if o.refused.Swap(false) {
			s.wakeWatchman()
		}
		return
	}
	if _, told := rueidis.IsRedisErr(err); !told || isAway(err) || s.closed() {
		return
	}
	o.open.Store(true)
	o.mu.Lock()
	if o.since == 0 {
		o.since = s.millis()
	}
	o.mu.Unlock()
	o.refused.Store(true)
	s.wakeWatchman()
}

func (s *Store) wakeWatchman() {
	select {
	case s.outage.wake <- struct{}{}:
	default:
	}
}

// anyAway returns a link whose primary is away, or nil.
func (s *Store) anyAway() *link {
	for _, k := range s.links() {
		if k.away.Load() != 0 {
			return k
		}
	}
	return nil
}

// staleness returns how old the oldest of the caches is whose link is lost; ok is false when none is, or when it is too old.
func (s *Store) staleness() (age time.Duration, ok bool) {
	now := s.millis()
	for _, k := range s.links() {
		if k.away.Load() == 0 && s.proven(k) && !k.suspected.Load() {
			continue
		}
		age = max(age, time.Duration(now-k.heardAt.Load())*time.Millisecond, time.Millisecond)
	}
	return age, age > 0 && age <= s.cfg.Stale
}

// Age implements [presence.Remote].
func (s *Store) Age() time.Duration {
	age, _ := s.staleness()
	return max(age, s.doubtAge())
}

// AgeOf implements [presence.Remote].
func (s *Store) AgeOf(key presence.Key) time.Duration { return max(s.unheard(key), s.doubtAge()) }

// Ready returns why this store cannot do all that it should, or nil.
func (s *Store) Ready() error {
	if s.closed() {
		return errClosed
	}
	links := s.links()
	if len(links) == 0 {
		return fmt.Errorf("%w: the cluster has no primaries", presence.ErrUnavailable)
	}
	n := 0
	for _, k := range links {
		if k.away.Load() != 0 {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%w: %d of %d redis primaries are away", presence.ErrUnavailable, n, len(links))
	}
	if why := s.uncovered(); why != nil {
		return why
	}
	if n := s.outage.box.Waiting(); n > 0 {
		return fmt.Errorf("%w: %d reports wait in the spool", presence.ErrUnavailable, n)
	}
	if s.outage.refused.Load() {
		return fmt.Errorf("%w: redis does not take the beat of a node", presence.ErrUnavailable)
	}
	if s.tracking.Load() {
		if err := s.linksDown(); err != nil {
			return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
		}
	}
	if other := s.owner.other.Load(); other != nil {
		return fmt.Errorf("%w: the recipe's keys in redis belong to app %q", presence.ErrUnavailable, *other)
	}
	if p := s.policy.Load(); p != nil {
		return errors.New(*p)
	}
	return nil
}

// Acknowledged implements [presence.Remote].
func (s *Store) Acknowledged(reports []presence.Report, now presence.Millis) {
	s.outage.box.Acknowledged(reports, now)
}

// OnReturn implements [presence.Remote].
func (s *Store) OnReturn(fn func(asOf, now presence.Millis) (done <-chan struct{})) (stop func()) {
	o := &s.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.fnSeq
	o.fnSeq++
	o.fns[n] = fn
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.fns, n)
	}
}

// returned has those who hold sessions report them again, and returns what closes when they have.
func (o *outage) returned(asOf, now presence.Millis) (done []<-chan struct{}) {
	o.mu.Lock()
	fns := make([]func(a, n presence.Millis) <-chan struct{}, 0, len(o.fns))
	for _, fn := range o.fns {
		fns = append(fns, fn)
	}
	o.mu.Unlock()
	for _, fn := range fns {
		if d := fn(asOf, now); d != nil {
			done = append(done, d)
		}
	}
	return done
}

// lostWords notes that what was acknowledged may not stand any more. Until it is reported again answers are as old as asOf.
func (s *Store) lostWords(why string, asOf int64) {
	s.log.Warn("redis is another than before; saying again what it may have lost", "why", why)
	s.raiseFloor()
	o := &s.outage
	o.mu.Lock()
	o.lost = true
	o.mu.Unlock()
	s.doubt(asOf)
	o.open.Store(true)
	s.wakeWatchman()
}

// runWatchman asks a primary that is away until it is back, says again what may be lost, and empties the spool.
func (s *Store) runWatchman() {
	defer s.wg.Done()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.outage.wake:
		case <-tick.C:
			s.check()
		}
		for s.ctx.Err() == nil && !s.recovered() {
			select {
			case <-s.ctx.Done():
			case <-time.After(watchEvery):
			}
		}
	}
}

// check looks now and then at what may change without a sign.
func (s *Store) check() {
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	if err := s.syncClock(ctx); err != nil {
		s.failed(nil, err)
		return
	}
	_ = s.checkEpoch(ctx) // once more with the next check
	s.checkStrangers(ctx)
	if err := s.checkPolicy(ctx); err != nil {
		was := s.policy.Swap(ptr(err.Error()))
		if was == nil {
			s.log.Error("redis may evict peers that are online", "err", err)
		}
	} else {
		s.policy.Store(nil)
	}
}

func ptr[T any](v T) *T { return &v }

// recovered does what is to be done after an outage, as far as it can be done now; it reports whether all is. A primary of a
// Cluster that is back need not wait for another that is not.
func (s *Store) recovered() bool {
	var back time.Duration // the longest absence that is over
	for _, k := range s.links() {
		if since := k.away.Load(); since != 0 && s.answers(k) {
			back = max(back, time.Duration(s.millis()-since)*time.Millisecond)
			k.away.Store(0)
			s.outage.box.Again()
			s.log.Info("redis is back", "addr", s.called(k))
		}
	}
	whole := s.anyAway() == nil && s.uncovered() == nil
	if !whole && s.single != nil {
		return false
	}
	o := &s.outage
	if o.refused.Load() {
		s.outage.box.Drain(s.ctx.Done()) // there may be room for some
		return false
	}
	o.mu.Lock()
	lost := o.lost
	o.lost = false
	if whole && o.since != 0 {
		back = time.Duration(s.millis()-o.since) * time.Millisecond
		o.since = 0
	}
	o.mu.Unlock()
	if back > 0 || lost {
		if now := s.Now(); lost || back >= stillAfter {
			o.asserting = append(o.asserting, o.returned(now.Add(-back), now)...)
		}
		s.signal(nil)
	}
	if !s.believe() {
		whole = false
	}
	if lost {
		o.missed = max(o.missed, back)
		if !s.sayAgain(o.missed) {
			o.mu.Lock()
			o.lost = true
			o.mu.Unlock()
			return false
		}
		o.missed = 0
	}
	drained := s.outage.box.Drain(s.ctx.Done())
	return s.settled() && drained && whole
}

// believe lets what has run out on the primaries that are there be ended again; it reports whether that is so of all.
func (s *Store) believe() bool {
	o, all := &s.outage, true
	o.open.Store(false)
	for _, k := range s.links() {
		if k.away.Load() == 0 && (k.up.Load() || k.born) {
			k.open.Store(false)
		}
		if k.away.Load() != 0 { // it may have gone away again meanwhile
			k.open.Store(true)
			o.open.Store(s.single != nil)
		}
		all = all && !k.open.Load()
	}
	return all
}

// answers reports whether the primary behind k can be asked, and its link is up so that it is known who it is.
func (s *Store) answers(k *link) bool {
	if s.tracking.Load() && !s.cache.Epoch(k.number).Up() {
		return false
	}
	ctx, cancel := s.deadline(s.ctx)
	defer cancel()
	return s.ask(ctx, k) == nil
}

// sayAgain applies the journal once more, after the store could take nothing for away.
func (s *Store) sayAgain(away time.Duration) bool {
	lost := s.lostNow()
	if err := s.outage.box.Reassert(away); err != nil {
		s.log.Warn("replay failed; will retry", "err", err)
		return false
	}
	return s.lostNow() == lost // what went away meanwhile has not been told
}

func (s *Store) linkOfKey(key string) *link {
	if s.single == nil && s.route.Load() == nil {
		return nil
	}
	return s.linkOf(slotOf(key))
}
