package redisstore

import (
	"time"

	spooled "rollcall/store/outage"

	"rollcall/presence"
)

// An overlay is what a query has of the spool.
type overlay struct {
	over map[int][]spooled.Record // what is to be applied over what is read, by place in the batch
	last map[int]presence.Summary // what to answer of these when they cannot be read
	age  time.Duration            // of the oldest answer
}

// layer answers for the peer at i of a batch from the overlay. read is true when the state is to be
// read instead, and the records of the layer applied over it.
func (ov *overlay) layer(o *recovery, i int, key presence.Key) (sum presence.Summary, read, ok bool) {
	l, ok := o.box.Layer(key)
	if !ok {
		return sum, false, false
	}
	old := o.unheard(key)
	switch {
	case old == 0:
		if ov.over == nil {
			ov.over, ov.last = map[int][]spooled.Record{}, map[int]presence.Summary{}
		}
		ov.over[i] = l.Records
		if l.Known {
			ov.last[i] = l.Summary
		}
		return sum, true, true
	case old > o.cfg.Stale || !l.Known:
		return sum, false, false // others may have reported since
	}
	ov.age = max(ov.age, old)
	return l.Summary, false, true
}

// apply returns the state that was read for the peer at i with its records applied.
func (ov *overlay) apply(s *shared, i int, packed []byte) []byte {
	if records := ov.over[i]; len(records) > 0 {
		return spooled.Over(packed, records, s.conn.Now(), &s.rules)
	}
	return packed
}

// unread answers for those of chosen that have reports in the spool and could not be read over what
// was last known, by use, and returns the others. ok is false when nothing was known of one.
func (ov *overlay) unread(s *shared, chosen []int, key func(i int) presence.Key, use func(i int, sum presence.Summary)) (left []int, ok bool) {
	for _, i := range chosen {
		if _, over := ov.over[i]; !over {
			left = append(left, i)
			continue
		}
		sum, known := ov.last[i]
		old := s.conn.Silence(s.linkOfPeer(key(i)))
		if !known || old > s.cfg.Stale {
			return nil, false
		}
		use(i, sum)
		ov.age = max(ov.age, old)
	}
	return left, true
}

// overlaid answers for peers with reports in the spool, and returns what is left to read.
func (s *Store) overlaid(ov *overlay, app presence.AppID, peers [][]byte, miss []int, out []presence.Status) (left []int) {
	seen := map[int]bool{}
	for i, p := range peers {
		sum, read, ok := ov.layer(s.outage, i, presence.Key{App: app, Peer: presence.PeerID(p)})
		if seen[i] = ok; read {
			left = append(left, i)
		} else if ok {
			// Leases stand still: what was online when the spool took it over is online.
			out[i] = sum.Status
		}
	}
	for _, i := range miss {
		if !seen[i] {
			left = append(left, i)
		}
	}
	return left
}
