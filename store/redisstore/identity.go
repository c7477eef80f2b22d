package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// An identity is who Redis is: when it is another, words may be lost.
type identity struct {
	mu    sync.Mutex
	of    map[string]string // by address
	epoch string
	turn  chan struct{} // held while the epoch is compared
}

// linkUp records the identity behind a link that has come up. It fails when Redis does not return the epoch, without which it is not known
// whether data was lost.
func (s *Store) linkUp(k *link, who string) error {
	id := &s.ident
	id.mu.Lock()
	was, known := id.of[k.addr]
	id.of[k.addr] = who
	id.mu.Unlock()
	first := k.born && !known
	if first {
		return nil
	}
	if was != who {
		s.lostWords("primary "+s.called(k), k.heardAt.Load())
	}
	if err := s.checkEpochAt(k); err != nil {
		return err
	}
	s.outage.box.Again()
	s.renewOthers(k)
	s.signal(nil)
	return nil
}

// checkEpochAt compares the epoch before the cache trusts the link k again. Of a Cluster one primary has it: for the others it is compared
// when that one can be reached, and its absence does not keep them down.
func (s *Store) checkEpochAt(k *link) error {
	if !s.reaches(s.keys.epoch()) {
		return nil
	}
	ctx, cancel := s.pulse.within(s.ctx, time.Second)
	defer cancel()
	err := s.checkEpoch(ctx)
	if err != nil && (s.single != nil || s.linkOfKey(s.keys.epoch()) == k) {
		return fmt.Errorf("read the epoch: %w", err)
	}
	return nil
}

func (s *Store) openEpoch(ctx context.Context) error {
	s.ident.of, s.ident.turn = map[string]string{}, make(chan struct{}, 1)
	if err := s.syncClock(ctx); err != nil {
		return fmt.Errorf("ask redis for the time: %w", away(err))
	}
	epoch, err := s.readEpoch(ctx)
	if err != nil {
		return fmt.Errorf("read the epoch, %s: %w", s.keys.epoch(), away(err))
	}
	s.ident.epoch = epoch
	s.raiseFloor()
	return nil
}

// raiseFloor puts the revisions of peers without a state above those that may have been given out for states that are
// gone: these may run ahead of the clock by a write or a few.
func (s *Store) raiseFloor() {
	for {
		was := s.floor.Load()
		if s.floor.CompareAndSwap(was, max(was, uint64(s.Now()))+1000) {
			return
		}
	}
}

// readEpoch returns the word that is lost with everything else, and writes a new one when it is.
func (s *Store) readEpoch(ctx context.Context) (string, error) {
	key := s.keys.epoch()
	v, err := s.do(ctx, s.client.B().Get().Key(key).Build()).ToString()
	if err == nil || !rueidis.IsRedisNil(err) {
		return v, err
	}
	mine := fmt.Sprintf("%d-%s", s.Now(), s.name)
	err = s.do(ctx, s.client.B().Set().Key(key).Value(mine).Nx().Build()).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", err
	}
	return s.do(ctx, s.client.B().Get().Key(key).Build()).ToString()
}

// checkEpoch reads the epoch and, when it is another than before, has answers carry an age before it returns. An epoch of the wrong type
// decides nothing.
func (s *Store) checkEpoch(ctx context.Context) error {
	select {
	case s.ident.turn <- struct{}{}:
		defer func() { <-s.ident.turn }()
	case <-ctx.Done():
		return away(ctx.Err())
	}
	epoch, err := s.readEpoch(ctx)
	if isStranger(err) {
		s.stranger(s.keys.epoch())
		return nil
	}
	if err != nil {
		return away(err)
	}
	s.doubtOwner()
	_ = s.owned(ctx)
	s.ident.mu.Lock()
	was := s.ident.epoch
	s.ident.epoch = epoch
	s.ident.mu.Unlock()
	if was != epoch {
		s.lostWords("epoch "+epoch, s.millis())
	}
	return nil
}

// sameEpoch checks an epoch that was read together with states. When it is not the one that is known, Redis was emptied or replaced before
// its link said so: then an answer goes out with an age or not at all.
func (s *Store) sameEpoch(ctx context.Context, read []byte) error {
	s.ident.mu.Lock()
	same := s.ident.epoch == string(read)
	s.ident.mu.Unlock()
	if same {
		return nil
	}
	return s.checkEpoch(ctx)
}

// Epoch implements [presence.Shared]: it is another one when Redis is.
func (s *Store) Epoch() uint64 {
	id := &s.ident
	id.mu.Lock()
	defer id.mu.Unlock()
	var sum uint64
	add := func(text string) {
		h := uint64(14695981039346656037)
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
		sum += h // the order of the primaries does not matter
	}
	add("epoch " + id.epoch)
	for _, k := range s.links() {
		add(id.of[k.addr])
	}
	return sum
}

// horizonLag is longer than any write goes on after it took its time.
const horizonLag = 10 * time.Second

// Horizon implements [presence.Shared].
func (s *Store) Horizon(now presence.Millis) uint64 {
	return uint64(max(min(now, s.Now()).Add(-horizonLag), 0))
}

// Now returns the time of Redis, which all nodes share: whoever judges leases by it is at one with the others, however
// its own clock stands. It runs on the monotonic clock between looks at Redis.
func (s *Store) Now() presence.Millis { return presence.Millis(s.clock.Load() + s.millis()) }

func (s *Store) syncClock(ctx context.Context) error {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return s.clockOf(ctx, s.client)
	}
	if k := s.linkOfKey(s.keys.nodes()); k != nil {
		if n := s.client.Nodes()[k.addr]; n != nil {
			return s.clockOf(ctx, n)
		}
	}
	// At the start no link stands yet, and one of the primaries may be lost.
	return s.anyNode(ctx, s.clockOf)
}

// clockSamples is how often the time is asked for in a row: the nodes order hooks by it, so the quickest answer counts.
const clockSamples = 3

// clockOf takes the time of one server.
func (s *Store) clockOf(ctx context.Context, c rueidis.Client) error {
	var offset, took int64
	for n := range clockSamples {
		before := s.millis()
		list, err := c.Do(ctx, c.B().Time().Build()).AsStrSlice()
		if err != nil {
			return err
		}
		var sec, micro int64
		if _, err := fmt.Sscan(strings.Join(list, " "), &sec, &micro); err != nil {
			return fmt.Errorf("read the time of redis: %w", err)
		}
		if after := s.millis(); n == 0 || after-before < took {
			offset, took = sec*1000+micro/1000-(before+after)/2, after-before
		}
	}
	if s.clock.Load() == 0 || took < 100 {
		s.clock.Store(offset)
	}
	return nil
}
