package redisstore

import (
	"maps"
	"time"

	"rollcall/presence"
)

const (
	// provenFor is how long the proof of a link lasts for the near cache. A link proves itself every second; one that has not for
	// longer is silent, or this process did not run.
	provenFor = 3 * time.Second
	// doubtFor is the time for which answers have an age when all nodes are back after Redis may have lost something: they report again
	// what they hold.
	doubtFor = 500 * time.Millisecond
	// othersWithin is how long nodes are waited for; those that do not beat by then may be gone.
	othersWithin = 3 * time.Second
	// doubtAtMost ends the wait for what this node holds.
	doubtAtMost = 10 * time.Second
)

// prove computes until when the links that are up are proven.
func (s *Store) prove() {
	until := int64(1<<63 - 1)
	for _, k := range s.links() {
		if s.cache.Epoch(k.number).Up() {
			until = min(until, k.heardAt.Load()+provenFor.Milliseconds())
		}
	}
	s.provenUntil.Store(until)
}

// unproven reports whether a link that is called up has proven nothing for too long, as when this process has slept: then the near
// cache does not answer, and Redis is asked.
func (s *Store) unproven() bool {
	return s.tracking.Load() && s.millis() > s.provenUntil.Load()
}

// proven reports whether the cache may answer for what hangs on the link k.
func (s *Store) proven(k *link) bool {
	return !s.tracking.Load() ||
		s.cache.Epoch(k.number).Up() && s.millis() <= k.heardAt.Load()+provenFor.Milliseconds()
}

// doubt begins, or goes on with, the time in which Redis may miss what it had acknowledged, as of asOf, in ms of the age of the store.
func (s *Store) doubt(asOf int64) {
	s.nodes.mu.Lock()
	others := maps.Clone(s.nodes.book)
	s.nodes.mu.Unlock()
	o := &s.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.others == nil {
		o.others = others // those that were known before the first loss
	}
	o.doubted.Store(s.millis())
	o.doubt.CompareAndSwap(0, asOf)
}

// doubtAge returns how old answers are because of what Redis may have lost; 0 when nothing is known of that.
func (s *Store) doubtAge() time.Duration {
	since := s.outage.doubt.Load()
	if since == 0 {
		return 0
	}
	return max(time.Duration(s.millis()-since)*time.Millisecond, time.Millisecond)
}

// readAge returns the age of an answer about keys that were read since begun, in ms of the age of the store. A primary whose link is down may
// be another than before, and not have what was acknowledged. The links come first: one that is up again after a loss has begun the doubt
// before. A doubt that has ended meanwhile counts too, for the keys may have been read during it.
func (s *Store) readAge(app presence.AppID, peers [][]byte, chosen []int, begun int64) (age time.Duration) {
	if s.tracking.Load() && s.linksDown() != nil {
		for _, i := range chosen {
			age = max(age, s.unheard(presence.Key{App: app, Peer: presence.PeerID(peers[i])}))
		}
	}
	if d := s.doubtAge(); d > 0 {
		return max(age, d)
	}
	if s.outage.settledAt.Load() >= begun {
		return max(age, time.Duration(s.millis()-begun)*time.Millisecond, time.Millisecond)
	}
	return age
}

// othersBack reports whether every node that was known before the loss is known to Redis: a node beats first, and then reports what it
// holds.
func (s *Store) othersBack() bool {
	if !s.reaches(s.keys.nodes()) {
		return false
	}
	ctx, cancel := s.deadline(s.ctx)
	defer cancel()
	now, err := s.do(ctx, s.client.B().Hgetall().Key(s.keys.nodes()).Build()).AsStrMap()
	if err != nil {
		return isStranger(err)
	}
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	for node := range s.outage.others {
		if _, back := now[string(node)]; !back {
			return false
		}
	}
	return true
}

// settled ends the doubt when all that this node holds is reported again. It is the watchman's.
func (s *Store) settled() bool {
	if s.outage.doubt.Load() == 0 {
		return true
	}
	now := s.millis()
	waited := time.Duration(now-s.outage.doubted.Load()) * time.Millisecond
	waiting := s.outage.asserting[:0]
	for _, done := range s.outage.asserting {
		select {
		case <-done:
		default:
			waiting = append(waiting, done)
		}
	}
	s.outage.asserting = waiting
	if len(waiting) > 0 && waited < doubtAtMost {
		return false
	}
	if waited < othersWithin {
		if !s.othersBack() {
			s.outage.back = 0
			return false
		}
		if s.outage.back == 0 {
			s.outage.back = now
		}
		if time.Duration(now-s.outage.back)*time.Millisecond < doubtFor {
			return false
		}
	}
	s.outage.asserting, s.outage.back = nil, 0
	s.outage.mu.Lock()
	s.outage.others = nil
	s.outage.mu.Unlock()
	s.outage.settledAt.Store(s.millis())
	s.outage.doubt.Store(0)
	s.signal(nil)
	return true
}
