package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/presence"
	spooled "rollcall/store/outage"
	"rollcall/store/redisstore/nearcache"
)

func (s *Store) openSpool() (err error) {
	o := &s.outage
	o.box, err = spooled.Open(spooled.Config{
		Dir: s.cfg.Spool, Bytes: s.cfg.SpoolBytes, Journal: s.cfg.Journal, Rules: s.rules, Log: s.log,
	}, below{s})
	if err == nil && o.box.Spooling() {
		s.wakeWatchman()
	}
	return err
}

func (s *Store) closeSpool() {
	if s.outage.box != nil {
		_ = s.outage.box.Close()
	}
}

// below is the store as its [spooled.Box] sees it.
type below struct{ s *Store }

func (b below) Replay(list []spooled.Record) []error {
	s := b.s
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].Report.Key()
	}
	now := s.Now()
	return s.updateEach(s.ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		report := list[i].Report
		_, e := st.Replay(&report, list[i].Received, now, &s.rules)
		return e
	})
}

func (b below) Waits(err error) (waits, held bool) { return mayWait(err), errors.Is(err, errNewer) }

// mayWait reports whether err says that the peer cannot be written now, and that nothing else is the matter.
func mayWait(err error) bool { return errors.Is(err, errAway) || errors.Is(err, errNewer) }

func (b below) Last(key presence.Key) ([]byte, bool) {
	packed, how := b.s.cache.Get(b.s.cache.Space(key.App), []byte(key.Peer), nil)
	return packed, how != nearcache.Missing
}

func (b below) Signal(keys []presence.Key) { b.s.signal(keys) }

func (b below) Now() presence.Millis { return b.s.Now() }

// uncovered returns an error when some slots of a Cluster have no primary.
func (s *Store) uncovered() error {
	r := s.route.Load()
	if r == nil {
		return nil
	}
	n := 0
	for _, l := range r.slots {
		if l == nearcache.NoLink {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d slots of the cluster have no primary", presence.ErrUnavailable, n, slots)
}

// Spool implements [presence.Remote].
func (s *Store) Spool(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if s.closed() {
		return errClosed
	}
	if !s.outage.box.Keeps() {
		return errAway
	}
	s.acquaint(ctx, reports)
	if err := s.outage.box.Spool(reports, now, out); err != nil {
		return err
	}
	s.wakeWatchman()
	return nil
}

// acquaint has the cache hold the peers of reports that Redis does not take while it can be read, such as when its
// memory is full, so that their layers are not blind.
func (s *Store) acquaint(ctx context.Context, reports []presence.Report) {
	if s.anyAway() != nil {
		return
	}
	byApp := map[presence.AppID][][]byte{}
	for i := range reports {
		byApp[reports[i].App] = append(byApp[reports[i].App], []byte(reports[i].Peer))
	}
	for app, peers := range byApp {
		_, _ = s.Statuses(ctx, app, peers, s.Now(), make([]presence.Status, len(peers))) // without it they stay blind
	}
}

// An overlay is what a query has of the spool.
type overlay struct {
	over map[int][]spooled.Record // what is to be applied over what is read, by place in the batch
	last map[int]presence.Summary // what to answer of these when they cannot be read
	age  time.Duration            // of the oldest answer
}

// layer answers for the peer at i of a batch from the overlay. read is true when the state is to be read instead, and the
// records of the layer applied over it.
func (ov *overlay) layer(s *Store, i int, key presence.Key) (sum presence.Summary, read, ok bool) {
	l, ok := s.outage.box.Layer(key)
	if !ok {
		return sum, false, false
	}
	old := s.unheard(key)
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
	case old > s.cfg.Stale || !l.Known:
		return sum, false, false // others may have reported since
	}
	ov.age = max(ov.age, old)
	return l.Summary, false, true
}

// apply returns the state that was read for the peer at i with its records applied.
func (ov *overlay) apply(s *Store, i int, packed []byte) []byte {
	if records := ov.over[i]; len(records) > 0 {
		return spooled.Over(packed, records, s.Now(), &s.rules)
	}
	return packed
}

// unread answers for those of chosen that have reports in the spool and could not be read over what was last known, by use, and
// returns the others. ok is false when nothing was known of one.
func (ov *overlay) unread(s *Store, chosen []int, key func(i int) presence.Key, use func(i int, sum presence.Summary)) (left []int, ok bool) {
	for _, i := range chosen {
		if _, over := ov.over[i]; !over {
			left = append(left, i)
			continue
		}
		sum, known := ov.last[i]
		old := s.silence(s.linkOfPeer(key(i)))
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
		sum, read, ok := ov.layer(s, i, presence.Key{App: app, Peer: presence.PeerID(p)})
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

// unheard returns for how long the primary of key has sent nothing; 0 while the link is up.
func (s *Store) unheard(key presence.Key) time.Duration {
	k := s.linkOfPeer(key)
	if k != nil && k.away.Load() == 0 && !k.suspected.Load() && s.proven(k) {
		return 0
	}
	return s.silence(k)
}

// linkOfPeer returns the link to the primary of a peer, nil when there is none now.
func (s *Store) linkOfPeer(key presence.Key) *link {
	if s.single != nil {
		return s.single
	}
	return s.linkOf(slotOf(string(s.keys.summaryKey(nil, key.App, []byte(key.Peer)))))
}

// silence returns how long ago the primary of the link k last proved to be there.
func (s *Store) silence(k *link) time.Duration {
	var heardAt int64
	if k != nil {
		heardAt = k.heardAt.Load()
	} else {
		s.outage.mu.Lock()
		heardAt = s.outage.since
		s.outage.mu.Unlock()
	}
	return max(time.Duration(s.millis()-heardAt)*time.Millisecond, time.Millisecond)
}
