package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/internal/spool"
	"rollcall/presence"
)

// emptying is how far the spool is emptied. Records that have to wait, for a lost primary or for a newer rollcall, do not hold up
// those behind them.
type emptying struct {
	at, head int64              // behind at no record was looked at; before head none waits
	done     map[int64]struct{} // where records begin that are applied while an older one waits
	old      int64              // records that begin before were left by an earlier process
	laid     map[int64]struct{} // those of them that have a layer
	again    bool               // look at all of them again
	whole    time.Time          // when all were looked at last
}

// A layer is the state of a peer as the reports in the spool make it.
type layer struct {
	st presence.State
	n  int // how many of them are in the spool
	// blind when nothing was known of the peer: its reports can tell that it is online, and not that it is offline, for it
	// may have other sessions.
	blind bool
	mute  bool // a newer rollcall keeps the peer, and goes on writing
}

// answers reports whether the layer tells what the peer is.
func (l *layer) answers() bool {
	return !l.mute && (l.st.Status == presence.Online || l.st.Status == presence.Offline && !l.blind)
}

type journaled struct {
	at     int64 // ms of the store's age
	heard  presence.Millis
	report presence.Report
}

func (s *Store) openSpool() error {
	o := &s.outage
	o.overlay = map[presence.Key]*layer{}
	if s.cfg.Spool == "" {
		return nil
	}
	q, err := spool.Open(s.cfg.Spool, s.cfg.SpoolBytes)
	if err != nil {
		return err
	}
	o.spool = q
	if err := s.takeUnread(); err != nil {
		_ = q.Close()
		return err
	}
	if n := q.Lost(); n > 0 {
		s.log.Warn("spool had a torn end", "bytes", n)
	}
	if q.Len() > 0 {
		o.on.Store(true)
		o.carried = true
		o.emptying.old, _ = q.Size()
		s.wakeWatchman()
	}
	return nil
}

func (s *Store) closeSpool() {
	if s.outage.spool != nil {
		_ = s.outage.spool.Close()
	}
	s.outage.unread.close()
}

// spooling reports whether reports must not overtake those in the spool.
func (o *outage) spooling() bool { return o.on.Load() }

// waits returns which of keys have reports in the spool, or may have: others need not queue behind those.
func (o *outage) waits(keys []presence.Key) (index []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, k := range keys {
		if o.carried || o.overlay[k] != nil {
			index = append(index, i)
		}
	}
	return index
}

// overlaid reports whether some reports are acknowledged and not in Redis yet.
func (o *outage) overlaid() bool { return o.layers.Load() > 0 }

// waiting returns how many reports are in the spool that wait for Redis; those on peers that a newer rollcall keeps wait for
// that one, and this node does all else that it should.
func (s *Store) waiting() int64 {
	o := &s.outage
	if o.spool == nil || !o.spooling() {
		return 0
	}
	return int64(o.spool.Len()) - o.passed.Load() - o.kept.Load()
}

// uncovered returns an error when some slots of a Cluster have no primary.
func (s *Store) uncovered() error {
	r := s.route.Load()
	if r == nil {
		return nil
	}
	n := 0
	for _, l := range r.slots {
		if l == noLink {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d slots of the cluster have no primary", presence.ErrUnavailable, n, slots)
}

// Spool implements [presence.Distant].
func (s *Store) Spool(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	o := &s.outage
	if o.spool == nil {
		return errAway
	}
	if s.closed() {
		return errClosed
	}
	records := make([][]byte, len(reports))
	for i := range reports {
		b, err := encodeRecord(&reports[i], now)
		if err != nil {
			return fmt.Errorf("spool a report: %w", err)
		}
		records[i] = b
	}
	s.acquaint(ctx, reports)
	o.turn.RLock()
	defer o.turn.RUnlock()
	o.on.Store(true)
	if err := o.spool.Append(records); err != nil {
		if errors.Is(err, spool.ErrFull) {
			return fmt.Errorf("spool %d reports: %w: %w", len(reports), presence.ErrFull, err)
		}
		return fmt.Errorf("spool %d reports: %w", len(reports), away(err))
	}
	s.stats.spooled.Add(int64(len(reports)))
	o.mu.Lock()
	for i := range reports {
		out[i] = s.lay(&reports[i], now)
	}
	o.mu.Unlock()
	keys := make([]presence.Key, len(reports))
	for i := range reports {
		keys[i] = reports[i].Key()
	}
	s.signal(keys)
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

// lay merges a spooled report into the layer of its peer, which begins with what the cache still holds. The caller holds
// the lock.
func (s *Store) lay(r *presence.Report, now presence.Millis) presence.Outcome {
	o := &s.outage
	key := r.Key()
	l := o.overlay[key]
	if l == nil {
		l = &layer{}
		b, how := s.cache.get(s.space(key.App), []byte(key.Peer), nil)
		l.blind = how == missing
		if len(b) > 0 && l.st.Unpack(b) != nil {
			l.st, l.blind = presence.State{}, true
		}
		o.overlay[key] = l
		o.layers.Add(1)
	}
	l.n++
	out, _ := l.st.Apply(r, now, &s.rules)
	return out
}

// overlaid answers for peers with reports in the spool, and returns the missing ones that it did not answer. age is that of
// the oldest answer, 0 when their primaries can be heard.
func (s *Store) overlaid(app presence.AppID, peers [][]byte, miss []int, out []presence.Status) (left []int, age time.Duration) {
	o := &s.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	answered := map[int]bool{}
	for i, p := range peers {
		key := presence.Key{App: app, Peer: presence.PeerID(p)}
		l := o.overlay[key]
		if l == nil || !l.answers() {
			continue
		}
		old := s.unheard(key)
		if old > s.cfg.Stale {
			continue // others may have heard of it since
		}
		// Leases stand still: what was online when the spool took it over is online.
		out[i] = l.st.Summary().Status
		answered[i] = true
		age = max(age, old)
	}
	left = miss[:0]
	for _, i := range miss {
		if !answered[i] {
			left = append(left, i)
		}
	}
	return left, age
}

// unheard returns for how long the primary of key has told nothing; 0 while it can be heard. The caller holds the lock.
func (s *Store) unheard(key presence.Key) time.Duration {
	k := s.single
	if k == nil {
		k = s.linkOf(slotOf(string(s.keys.summaryKey(nil, key.App, []byte(key.Peer)))))
	}
	heardAt := s.outage.since
	if k != nil {
		if k.away.Load() == 0 && (!s.tracking.Load() || s.cache.links[k.number].good.Load() != 0) {
			return 0
		}
		heardAt = k.heardAt.Load()
	}
	return max(time.Duration(s.millis()-heardAt)*time.Millisecond, time.Millisecond)
}

func (s *Store) overlaySummary(key presence.Key) (sum presence.Summary, age time.Duration, ok bool) {
	o := &s.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.overlay[key]
	if l == nil || !l.answers() {
		return sum, 0, false
	}
	age = s.unheard(key)
	return l.st.Summary(), age, age <= s.cfg.Stale
}

// drain applies what is in the spool, in order, and lets reports take the direct road again when it is empty. It reports
// whether nothing is left but what has to wait.
func (s *Store) drain() bool {
	o := &s.outage
	if o.spool == nil {
		o.on.Store(false)
		return true
	}
	e := &o.emptying
	if e.again || time.Since(e.whole) > lookAgain {
		if e.again {
			o.kept.Store(0)
		}
		e.at, e.again, e.whole = 0, false, time.Now()
	}
	for s.ctx.Err() == nil {
		records, from, ends, err := o.spool.Peek(e.at, replayBatch)
		if err != nil {
			s.log.Error("spool cannot be read", "err", err)
			return false
		}
		if len(records) == 0 {
			if s.emptied() {
				return true
			}
			continue
		}
		if e.at == 0 {
			e.head = from
		}
		if !s.deliver(records, from, ends) {
			return false
		}
	}
	return false
}

// emptied ends a walk through the spool; it reports false when there is more by now.
func (s *Store) emptied() bool {
	o := &s.outage
	e := &o.emptying
	o.turn.Lock()
	defer o.turn.Unlock()
	if more, _, _, err := o.spool.Peek(e.at, 1); err != nil || len(more) > 0 {
		return err != nil
	}
	if o.spool.Len() == 0 {
		o.on.Store(false)
	}
	o.kept.Store(int64(o.spool.Len() - len(e.done)))
	o.mu.Lock()
	o.carried = false // who waits has a layer now
	o.mu.Unlock()
	return true
}

// deliver applies a batch of records, and takes those off the spool before which none waits.
func (s *Store) deliver(records [][]byte, from int64, ends []int64) bool {
	o := &s.outage
	e := &o.emptying
	begins := append([]int64{from}, ends...)
	var list []journaled
	var index []int // in the batch
	gone := make([]bool, len(records))
	for i, b := range records {
		if _, gone[i] = e.done[begins[i]]; gone[i] {
			continue
		}
		j, err := decodeRecord(b)
		if err != nil {
			gone[i] = s.setAside(b, err)
			continue
		}
		list = append(list, j)
		index = append(index, i)
	}
	errs := s.replay(list)
	var applied, layered []journaled
	for k := range list {
		begin := begins[index[k]]
		switch {
		case errs == nil || errs[k] == nil:
			gone[index[k]] = true
			applied = append(applied, list[k])
			if _, laid := e.laid[begin]; laid || begin >= e.old {
				layered = append(layered, list[k])
			}
		case !mayWait(errs[k]):
			s.log.Debug("spool waits", "err", errs[k])
			return false
		default:
			s.keep(&list[k], begin, errors.Is(errs[k], errNewer))
		}
	}
	if err := s.advance(gone, begins); err != nil {
		s.log.Error("spool cannot be emptied", "err", err)
		return false
	}
	s.stats.replayed.Add(int64(len(applied)))
	s.lift(applied, layered)
	return true
}

// keep leaves a record in the spool. One that an earlier process left gets a layer as those of this one have, so that it
// is known who waits.
func (s *Store) keep(j *journaled, begin int64, newer bool) {
	o := &s.outage
	e := &o.emptying
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, laid := e.laid[begin]; !laid && begin < e.old {
		if e.laid == nil {
			e.laid = map[int64]struct{}{}
		}
		e.laid[begin] = struct{}{}
		s.lay(&j.report, j.heard)
	}
	if l := o.overlay[j.report.Key()]; l != nil {
		l.mute = newer
	}
}

// advance takes what is gone off the head of the spool, as far as none waits before it, and notes the rest.
func (s *Store) advance(gone []bool, begins []int64) error {
	o := &s.outage
	e := &o.emptying
	e.at = begins[len(gone)]
	n := 0
	if e.head == begins[0] {
		for n < len(gone) && gone[n] {
			delete(e.done, begins[n])
			delete(e.laid, begins[n])
			n++
		}
	}
	for i := n; i < len(gone); i++ {
		if gone[i] {
			if e.done == nil {
				e.done = map[int64]struct{}{}
			}
			e.done[begins[i]] = struct{}{}
		}
	}
	defer func() { o.passed.Store(int64(len(e.done))) }()
	if n == 0 {
		return nil
	}
	e.head = begins[n]
	moved, err := o.spool.Advance(n, begins[n])
	e.move(moved)
	return err
}

// move follows the spool into a new file, or to the beginning of it.
func (e *emptying) move(by int64) {
	if by == 0 {
		return
	}
	e.at, e.head, e.old = e.at-by, e.head-by, e.old-by
	for _, set := range []*map[int64]struct{}{&e.done, &e.laid} {
		was := *set
		*set = make(map[int64]struct{}, len(was))
		for begin := range was {
			(*set)[begin-by] = struct{}{}
		}
	}
}

// lift takes away the layers of reports that Redis holds now.
func (s *Store) lift(applied, layered []journaled) {
	o := &s.outage
	o.mu.Lock()
	for i := range layered {
		key := layered[i].report.Key()
		l := o.overlay[key]
		if l == nil {
			continue
		}
		if l.n--; l.n <= 0 {
			delete(o.overlay, key)
			o.layers.Add(-1)
		}
	}
	o.mu.Unlock()
	reports := make([]presence.Report, len(applied))
	for i := range applied {
		reports[i] = applied[i].report
	}
	s.Acknowledged(reports, s.Now())
}
