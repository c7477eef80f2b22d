package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/internal/spool"
	"rollcall/presence"
)

const (
	watchEvery   = 50 * time.Millisecond
	checkEvery   = 5 * time.Second
	replayBatch  = 256
	journalLimit = 1 << 18 // reports
	// stillAfter is the shortest outage after which leases stand still: a shorter one cannot have kept a renewal away for a
	// third of the shortest lease.
	stillAfter = 2 * time.Second
)

// An outage is all that is done while Redis is away and when it comes back.
type outage struct {
	spool *spool.Spool // nil when there is none
	// turn is held for reading while a report goes to the spool, and for writing when the spool is found empty and
	// reports take the direct road again.
	turn   sync.RWMutex
	on     atomic.Bool // reports go to the spool
	layers atomic.Int64
	// open from the first failed call until everybody is told of the return: in between, what has run out in Redis is not
	// believed, for nobody could renew it. The primaries of a Cluster have a mark each, see [link]; this one is then for
	// words that may be lost and for beats that are refused.
	open atomic.Bool
	// refused while Redis, that answers, does not take the beat of a node, as when its memory is full: those of the others
	// are not taken either, and nobody is to be found lost.
	refused atomic.Bool

	mu      sync.Mutex
	since   int64                   // when the present outage began, ms of the store's age; 0 for none
	overlay map[presence.Key]*layer // what spooled reports have made of what was known
	fns     map[int]func(a, n presence.Millis)
	fnSeq   int
	journal []journaled
	start   int  // of the journal; what is before is over
	lost    bool // words may be lost: say them again
	carried bool // the spool holds what an earlier process left, and it is not known yet of whom
	wake    chan struct{}

	emptying emptying // the watchman's
	passed   atomic.Int64
	kept     atomic.Int64 // records that the watchman has looked at and that have to wait
}

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

// lookAgain is how long what waits is left alone when nothing tells that it may go.
const lookAgain = 30 * time.Second

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

// A spooled is a record of the spool.
type spooled struct {
	Heard  presence.Millis
	Report presence.Report
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
		if k.away.Load() == 0 && s.cache.links[k.number].good.Load() != 0 {
			continue
		}
		age = max(age, time.Duration(now-k.heardAt.Load())*time.Millisecond, time.Millisecond)
	}
	return age, age > 0 && age <= s.cfg.Stale
}

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
	if n := s.waiting(); n > 0 {
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
	if p := s.policy.Load(); p != nil {
		return errors.New(*p)
	}
	return nil
}

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
		b, err := json.Marshal(spooled{now, reports[i]})
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
		_ = s.Statuses(ctx, app, peers, s.Now(), make([]presence.Status, len(peers))) // without it they stay blind
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

// Acknowledged implements [presence.Distant].
func (s *Store) Acknowledged(reports []presence.Report, now presence.Millis) {
	o := &s.outage
	at := s.millis()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range reports {
		o.journal = append(o.journal, journaled{at, now, reports[i]})
	}
	over := at - s.cfg.Journal.Milliseconds()
	for o.start < len(o.journal) && (o.journal[o.start].at < over || len(o.journal)-o.start > journalLimit) {
		o.journal[o.start] = journaled{}
		o.start++
	}
	if o.start > 1024 && o.start > len(o.journal)/2 {
		o.journal = append(o.journal[:0], o.journal[o.start:]...)
		o.start = 0
	}
}

// OnReturn implements [presence.Distant].
func (s *Store) OnReturn(fn func(asOf, now presence.Millis)) (stop func()) {
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

// returned tells who holds sessions to say them again.
func (o *outage) returned(asOf, now presence.Millis) {
	o.mu.Lock()
	fns := make([]func(a, n presence.Millis), 0, len(o.fns))
	for _, fn := range o.fns {
		fns = append(fns, fn)
	}
	o.mu.Unlock()
	for _, fn := range fns {
		fn(asOf, now)
	}
}

// lostWords notes that what was acknowledged may not stand any more.
func (s *Store) lostWords(why string) {
	s.log.Warn("redis is another than before; saying again what it may have lost", "why", why)
	s.raiseFloor()
	o := &s.outage
	o.mu.Lock()
	o.lost = true
	o.mu.Unlock()
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
	s.checkEpoch()
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
			s.outage.emptying.again = true
			s.log.Info("redis is back", "addr", s.called(k))
		}
	}
	whole := s.anyAway() == nil && s.uncovered() == nil
	if !whole && s.single != nil {
		return false
	}
	o := &s.outage
	if o.refused.Load() {
		s.drain() // there may be room for some
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
			o.returned(now.Add(-back), now)
		}
		s.signal(nil)
	}
	if !s.believe() {
		whole = false
	}
	if lost && !s.sayAgain() {
		o.mu.Lock()
		o.lost = true
		o.mu.Unlock()
		return false
	}
	return s.drain() && whole
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
	if s.tracking.Load() && s.cache.links[k.number].good.Load() == 0 {
		return false
	}
	ctx, cancel := s.deadline(s.ctx)
	defer cancel()
	key := s.keys.probe(uint16(k.slot.Load()), s.name)
	err := s.do(ctx, s.client.B().Get().Key(key).Build()).Error()
	return err == nil || rueidis.IsRedisNil(err)
}

// sayAgain applies the journal once more. Reports are idempotent: a session is named, and a delivery of a hook has an id.
func (s *Store) sayAgain() bool {
	o := &s.outage
	o.mu.Lock()
	over := s.millis() - s.cfg.Journal.Milliseconds()
	var list []journaled
	for _, j := range o.journal[o.start:] {
		if j.at >= over {
			list = append(list, j)
		}
	}
	o.mu.Unlock()
	lost := s.lostNow()
	for len(list) > 0 {
		n := min(len(list), replayBatch)
		for _, err := range s.replay(list[:n]) {
			if err != nil && !mayWait(err) {
				s.log.Warn("saying again what redis may have lost is held up", "err", err)
				return false
			}
		}
		s.stats.asserted.Add(int64(n))
		list = list[n:]
	}
	return s.lostNow() == lost // what went away meanwhile has not been told
}

// mayWait reports whether err says that the peer cannot be written now, and that nothing else is the matter.
func mayWait(err error) bool { return errors.Is(err, errAway) || errors.Is(err, errNewer) }

// replay applies reports once more and returns what went wrong with each, nil when nothing did.
func (s *Store) replay(list []journaled) []error {
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].report.Key()
	}
	return s.updateEach(s.ctx, keys, s.Now(), func(i int, st *presence.State) presence.Effect {
		_, e := st.Apply(&list[i].report, list[i].heard, &s.rules)
		return e
	})
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
		var r spooled
		if err := json.Unmarshal(b, &r); err != nil {
			s.stats.damaged.Add(1)
			s.log.Error("record of the spool cannot be read", "err", err)
			gone[i] = true
			continue
		}
		list = append(list, journaled{heard: r.Heard, report: r.Report})
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

// An identity is who Redis is: when it is another, words may be lost.
type identity struct {
	mu    sync.Mutex
	of    map[string]string // by address
	epoch string
}

// linkUp notes who answers on a link that has come up.
func (s *Store) linkUp(k *link, who string) {
	id := &s.ident
	id.mu.Lock()
	was, known := id.of[k.addr]
	id.of[k.addr] = who
	id.mu.Unlock()
	first := k.born && !known
	if !first && was != who {
		s.lostWords("primary " + s.called(k))
	}
	if !first {
		s.renewOthers(k)
		s.signal(nil)
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.checkEpoch()
			s.wakeWatchman()
		}()
	}
}

func (s *Store) openEpoch(ctx context.Context) error {
	s.ident.of = map[string]string{}
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

func (s *Store) checkEpoch() {
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	epoch, err := s.readEpoch(ctx)
	if err != nil {
		if isStranger(err) {
			s.stranger(s.keys.epoch())
		}
		return // asked again soon
	}
	s.ident.mu.Lock()
	was := s.ident.epoch
	s.ident.epoch = epoch
	s.ident.mu.Unlock()
	if was != epoch {
		s.lostWords("epoch " + epoch)
	}
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
	c := rueidis.Client(s.client)
	if s.client.Mode() == rueidis.ClientModeCluster {
		if k := s.linkOfKey(s.keys.nodes()); k != nil {
			if n := s.client.Nodes()[k.addr]; n != nil {
				c = n
			}
		}
	}
	before := s.millis()
	list, err := c.Do(ctx, c.B().Time().Build()).AsStrSlice()
	if err != nil {
		return err
	}
	var sec, micro int64
	if _, err := fmt.Sscan(strings.Join(list, " "), &sec, &micro); err != nil {
		return fmt.Errorf("read the time of redis: %w", err)
	}
	after := s.millis()
	if offset := sec*1000 + micro/1000 - (before+after)/2; s.clock.Load() == 0 || after-before < 100 {
		s.clock.Store(offset)
	}
	return nil
}

func (s *Store) linkOfKey(key string) *link {
	if s.single == nil && s.route.Load() == nil {
		return nil
	}
	return s.linkOf(slotOf(key))
}

var errPolicy = errors.New("the eviction policy of redis would drop peers that are online")

// checkServer refuses a server on which peers that are online could be evicted.
func (s *Store) checkServer(ctx context.Context) error {
	err := s.anyNode(ctx, func(ctx context.Context, n rueidis.Client) error {
		return n.Do(ctx, n.B().Ping().Build()).Error()
	})
	if err != nil {
		return fmt.Errorf("ask redis: %w", away(err))
	}
	return s.checkPolicy(ctx)
}

// anyNode asks the nodes in turn until one answers: a Cluster that has lost a primary goes on with the rest.
func (s *Store) anyNode(ctx context.Context, ask func(context.Context, rueidis.Client) error) error {
	err := errors.New("no node of redis is known")
	for _, n := range s.client.Nodes() {
		turn, cancel := context.WithTimeout(ctx, time.Second)
		err = ask(turn, n)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (s *Store) checkPolicy(ctx context.Context) error {
	if s.cfg.Force {
		return nil
	}
	for addr, n := range s.client.Nodes() {
		got, err := n.Do(ctx, n.B().ConfigGet().Parameter("maxmemory-policy").Build()).AsStrMap()
		if err != nil {
			s.log.Debug("redis does not tell its eviction policy", "addr", addr, "err", err)
			continue
		}
		if p := got["maxmemory-policy"]; strings.HasPrefix(p, "allkeys-") {
			return fmt.Errorf("%w: it is %s at %s; set maxmemory-policy to volatile-lru, volatile-ttl or noeviction (or force it)", errPolicy, p, addr)
		}
	}
	return nil
}
