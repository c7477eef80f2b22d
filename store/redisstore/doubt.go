package redisstore

import (
	"maps"
	"time"

	"rollcall/presence"
)

const (
	// doubtFor is the time for which answers have an age when all nodes are back after Redis may
	// have lost something: they report again what they hold.
	doubtFor = 500 * time.Millisecond
	// othersWithin is how long nodes are waited for; those without a heartbeat by then may be gone.
	othersWithin = 3 * time.Second
	// doubtAtMost ends the wait for what this node holds.
	doubtAtMost = 10 * time.Second
)

// beginDoubt begins, or goes on with, the time in which Redis may miss what it had acknowledged, as
// of asOf, in ms of the age of the store.
func (o *recovery) beginDoubt(asOf int64) {
	o.nodes.mu.Lock()
	others := maps.Clone(o.nodes.book)
	o.nodes.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.others == nil {
		o.others = others // those that were known before the first loss
	}
	o.doubted.Store(o.conn.Millis())
	o.doubt.CompareAndSwap(0, asOf)
}

// doubtAge returns how old answers are because of what Redis may have lost; 0 when nothing is known
// of that.
func (o *recovery) doubtAge() time.Duration {
	since := o.doubt.Load()
	if since == 0 {
		return 0
	}
	return max(time.Duration(o.conn.Millis()-since)*time.Millisecond, time.Millisecond)
}

// readAge returns the age of an answer about keys that were read since begun, in ms of the age of
// the store. A primary whose link is down may be another than before, and not have what was
// acknowledged. The links come first: one that is up again after a loss has begun the doubt before.
// A doubt that has ended meanwhile counts too, for the keys may have been read during it.
func (o *recovery) readAge(app presence.AppID, peers [][]byte, chosen []int, begun int64) (age time.Duration) {
	if o.conn.LinkDown() != nil {
		for _, i := range chosen {
			age = max(age, o.silent(presence.Key{App: app, Peer: presence.PeerID(peers[i])}))
		}
	}
	if d := o.doubtAge(); d > 0 {
		return max(age, d)
	}
	if o.settledAt.Load() >= begun {
		return max(age, time.Duration(o.conn.Millis()-begun)*time.Millisecond, time.Millisecond)
	}
	return age
}

// othersBack reports whether every node that was known before the loss is known to Redis: a node
// sends a heartbeat first, and then reports what it holds.
func (o *recovery) othersBack() bool {
	if !o.conn.Reaches(o.keys.nodes()) {
		return false
	}
	ctx, cancel := o.conn.Deadline(o.conn.Context())
	defer cancel()
	now, err := o.conn.Do(ctx, o.conn.B().Hgetall().Key(o.keys.nodes()).Build()).AsStrMap()
	if err != nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for node := range o.others {
		if _, back := now[string(node)]; !back {
			return false
		}
	}
	return true
}

// settled ends the doubt when all that this node holds is reported again. Only run uses it.
func (o *recovery) settled() bool {
	if o.doubt.Load() == 0 {
		return true
	}
	now := o.conn.Millis()
	waited := time.Duration(now-o.doubted.Load()) * time.Millisecond
	waiting := o.asserting[:0]
	for _, done := range o.asserting {
		select {
		case <-done:
		default:
			waiting = append(waiting, done)
		}
	}
	o.asserting = waiting
	if len(waiting) > 0 && waited < doubtAtMost {
		return false
	}
	if waited < othersWithin {
		if !o.othersBack() {
			o.back = 0
			return false
		}
		if o.back == 0 {
			o.back = now
		}
		if time.Duration(now-o.back)*time.Millisecond < doubtFor {
			return false
		}
	}
	o.asserting, o.back = nil, 0
	o.mu.Lock()
	o.others = nil
	o.mu.Unlock()
	o.settledAt.Store(o.conn.Millis())
	o.doubt.Store(0)
	o.signal(nil)
	o.reindex.Wake()
	return true
}
