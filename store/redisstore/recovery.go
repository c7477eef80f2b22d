package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/internal/wake"
	"rollcall/presence"
	spooled "rollcall/store/outage"
	"rollcall/store/redisstore/conn"
)

const (
	watchEvery = 50 * time.Millisecond
	checkEvery = 5 * time.Second
	// stillAfter is the shortest outage after which leases stand still: a shorter one cannot have
	// kept a renewal away for a third of the shortest lease.
	stillAfter = 2 * time.Second
)

// A recovery is all that is done while Redis is down and when it comes back.
type recovery struct {
	*shared
	owner  *ownership
	nodes  *nodeBook
	writer *writer

	ident  *identity
	policy atomic.Pointer[string] // what is wrong with the eviction policy, if anything

	box *spooled.Store // the spool, what is overlaid by it, and the journal
	// open from the first failed call until the return is announced: in between, what has run out
	// in Redis is not ended, for it could not be renewed. The primaries of a Cluster have a mark
	// each, see [conn.Link]; this one is then for writes that may be lost and for heartbeats that
	// are refused.
	open atomic.Bool
	// refused while Redis, that answers, refuses the heartbeat of a node, as when its memory is
	// full: those of the others are refused too, and no node is to be found lost.
	refused atomic.Bool

	// doubt is the age of the store, in ms, of answers since Redis may have lost something; 0 when
	// it has not.
	doubt, doubted atomic.Int64
	settledAt      atomic.Int64 // when the last doubt ended
	// close when the holders of sessions have reported them again; only run uses it
	asserting []<-chan struct{}
	// since when all nodes are known to Redis again; only run uses it
	back int64

	mu   sync.Mutex
	lost bool // writes may be lost: replay the journal
	// others are the nodes that were known before Redis may have lost something; nil while it has
	// not.
	others map[presence.NodeID]struct{}
	// missed is the longest absence before a loss whose journal is not applied yet. Only run uses
	// it.
	missed time.Duration
	wake   wake.Signal
	// reindex is set when all that may be lost is reported again: the indexes are to be audited.
	reindex wake.Signal
}

// noteHeartbeat records whether Redis takes heartbeats.
func (o *recovery) noteHeartbeat(err error) {
	if err == nil {
		if o.refused.Swap(false) {
			o.wake.Wake()
		}
		return
	}
	if _, answered := rueidis.IsRedisErr(err); !answered || conn.IsDown(err) || o.conn.Closed() {
		return
	}
	o.open.Store(true)
	o.conn.StartOutage()
	o.refused.Store(true)
	o.wake.Wake()
}

// Age implements [presence.Remote].
func (s *Store) Age() time.Duration {
	age, _ := s.conn.Staleness(s.cfg.Stale)
	return max(age, s.outage.doubtAge())
}

// AgeOf implements [presence.Remote].
func (s *Store) AgeOf(key presence.Key) time.Duration {
	return max(s.silent(key), s.outage.doubtAge())
}

// Ready returns why this store cannot do all that it should, or nil.
func (s *Store) Ready() error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	if err := s.conn.CheckPrimaries(); err != nil {
		return err
	}
	if n := s.outage.box.Waiting(); n > 0 {
		return fmt.Errorf("%w: %d reports wait in the spool", presence.ErrUnavailable, n)
	}
	if s.outage.refused.Load() {
		return fmt.Errorf("%w: redis refuses the heartbeat of a node", presence.ErrUnavailable)
	}
	if err := s.conn.LinkDown(); err != nil {
		return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
	}
	if err := s.metWrongType(); err != nil {
		return err
	}
	if other := s.owner.other.Load(); other != nil {
		return fmt.Errorf("%w: the recipe's keys in redis belong to app %q", presence.ErrUnavailable, *other)
	}
	if p := s.outage.policy.Load(); p != nil {
		return errors.New(*p)
	}
	return nil
}

// noteDataLoss records that acknowledged writes may be lost. Until they are reported again answers
// are as old as asOf.
func (o *recovery) noteDataLoss(why string, asOf int64) {
	o.log.Warn("redis identity changed; replaying recent reports", "why", why)
	o.raiseFloor()
	o.mu.Lock()
	o.lost = true
	o.mu.Unlock()
	o.beginDoubt(asOf)
	o.open.Store(true)
	o.wake.Wake()
}

func (o *recovery) closeSpool() {
	if o.box != nil {
		_ = o.box.Box.Close()
	}
}

// run polls unreachable primaries, replays the journal and drains the spool.
func (o *recovery) run() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-o.conn.Context().Done():
			return
		case <-o.wake:
		case <-tick.C:
			o.check()
		}
		for o.conn.Context().Err() == nil && !o.recovered() {
			select {
			case <-o.conn.Context().Done():
			case <-time.After(watchEvery):
			}
		}
	}
}

// check looks now and then at what may change without a sign.
func (o *recovery) check() {
	ctx, cancel := context.WithTimeout(o.conn.Context(), time.Second)
	defer cancel()
	if err := o.conn.SyncClock(ctx); err != nil {
		o.conn.Failed(nil, err)
		return
	}
	_ = o.ident.check(ctx) // once more with the next check
	if err := o.conn.CheckPolicy(ctx); err != nil {
		was := o.policy.Swap(ptr(err.Error()))
		if was == nil {
			o.log.Error("redis may evict online peers", "err", err)
		}
	} else {
		o.policy.Store(nil)
	}
}

func ptr[T any](v T) *T { return &v }

// recovered does what is to be done after an outage, as far as it can be done now; it reports
// whether all is. A primary of a Cluster that is back need not wait for another that is not.
func (o *recovery) recovered() bool {
	var back time.Duration // the longest absence that is over
	for _, k := range o.conn.Links() {
		if k.Down() && o.answers(k) {
			back = max(back, k.MarkUp())
			o.box.Again()
			o.log.Info("redis reachable again", "addr", k.Name())
		}
	}
	whole := !o.conn.AnyDown() && o.conn.Uncovered() == nil
	if !whole && !o.conn.Clustered() {
		return false
	}
	if o.refused.Load() {
		o.box.Drain(o.conn.Context()) // there may be room for some
		return false
	}
	o.mu.Lock()
	lost := o.lost
	o.lost = false
	o.mu.Unlock()
	if whole {
		if d := o.conn.EndOutage(); d != 0 {
			back = d
		}
	}
	if back > 0 || lost {
		if now := o.conn.Now(); lost || back >= stillAfter {
			o.asserting = append(o.asserting, o.box.Returned(now.Add(-back), now)...)
		}
		o.signal(nil)
	}
	if !o.resumeExpiry() {
		whole = false
	}
	if lost {
		o.missed = max(o.missed, back)
		if !o.replayJournal(o.missed) {
			o.mu.Lock()
			o.lost = true
			o.mu.Unlock()
			return false
		}
		o.missed = 0
	}
	drained := o.box.Drain(o.conn.Context())
	return o.settled() && drained && whole
}

// resumeExpiry re-enables expiry on reachable primaries and reports whether all are reachable.
func (o *recovery) resumeExpiry() bool {
	all := true
	o.open.Store(false)
	for _, k := range o.conn.Links() {
		all = k.ResumeExpiry() && all
		if k.Down() { // it may have gone down again meanwhile
			o.open.Store(!o.conn.Clustered())
		}
	}
	return all
}

// answers reports whether the primary behind k can be asked, and its link is up so that its
// identity is known.
func (o *recovery) answers(k *conn.Link) bool {
	if !k.Listening() {
		return false
	}
	ctx, cancel := o.conn.Deadline(o.conn.Context())
	defer cancel()
	return k.Ask(ctx) == nil
}

// replayJournal applies the journal once more, after an outage of the given length.
func (o *recovery) replayJournal(away time.Duration) bool {
	lost := o.conn.Unsettled()
	if err := o.box.Reassert(o.conn.Context(), away); err != nil {
		o.log.Warn("replay failed; will retry", "err", err)
		return false
	}
	return o.conn.Unsettled() == lost // what went down meanwhile has not been replayed
}
