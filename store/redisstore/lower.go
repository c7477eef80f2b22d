package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"rollcall/presence"
	spooled "rollcall/store/outage"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

// wrap puts the spool around the store.
func (s *Store) wrap() (err error) {
	s.outage.box, err = spooled.Wrap(lower{s}, spooled.Config{
		Dir: s.deps.Spool, Bytes: s.deps.SpoolBytes, Journal: s.deps.Journal, Rules: s.rules, Stale: s.cfg.Stale, Now: s.conn.Now, Log: s.log,
	})
	if err == nil && s.outage.box.Spooling() {
		s.outage.wake.Wake()
	}
	return err
}

// lower is the store without its spool, as a [spooled.Store] sees it.
type lower struct{ *Store }

var _ spooled.Lower = lower{}

func (l lower) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	return l.statuses(ctx, app, peers, now, out)
}

func (l lower) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	return l.summaries(ctx, keys, out)
}

func (l lower) Listen(fn func(keys []presence.Key)) (stop func()) { return l.shared.Listen(fn) }

// Reach counts what Redis may have lost: while it is out of reach that is not mended.
func (l lower) Reach(key presence.Key) (silent time.Duration, up bool) {
	k := l.linkOfPeer(key)
	return max(l.conn.Silence(k), l.outage.doubtAge()), k != nil && k.Reachable() && k.Proven()
}

func (l lower) Peek(key presence.Key) ([]byte, bool) {
	packed, how := l.cache.Get(l.cache.Space(key.App), []byte(key.Peer), nil)
	return packed, how != nearcache.Missing
}

func (l lower) Read(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, see func(i int, packed []byte)) (time.Duration, error) {
	all := make([]int, len(peers))
	for i := range all {
		all[i] = i
	}
	begun, space := l.conn.Millis(), l.cache.Space(app)
	if l.conn.Unproven() {
		space = 0
	}
	if err := l.reader.read(ctx, app, space, peers, all, now, true, see); err != nil {
		return 0, err
	}
	return l.outage.readAge(app, peers, all, begun), nil
}

func (l lower) Judge(packed []byte, now presence.Millis) presence.Status {
	return l.reader.judge(packed, now, l.nodes.deadNodes())
}

func (l lower) UpdateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	return l.writer.updateEach(ctx, keys, now, merge)
}

func (l lower) SettleEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	if l.conn.Closed() {
		return slices.Repeat([]error{conn.ErrClosed}, len(keys))
	}
	ctx, cancel := context.WithTimeout(ctx, max(settleWithin, l.cfg.Deadline))
	defer cancel()
	return l.writer.updateWith(ctx, keys, now, merge, &l.writer.doubts)
}

func (l lower) Waits(err error) (waits, held bool) { return mayWait(err), errors.Is(err, errNewer) }

// mayWait reports whether err means that this peer cannot be written now, and nothing else.
func mayWait(err error) bool { return errors.Is(err, conn.ErrDown) || errors.Is(err, errNewer) }

// Statuses implements [presence.Store]. While Redis is down the answer has an age if everything
// asked for is in the cache, or in the spool, and not too old.
func (s *Store) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	if s.conn.Closed() {
		return 0, conn.ErrClosed
	}
	return s.outage.box.Statuses(ctx, app, peers, now, out)
}

// Summaries implements [presence.Store].
func (s *Store) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	if s.conn.Closed() {
		return 0, conn.ErrClosed
	}
	return s.outage.box.Summaries(ctx, keys, out)
}

// Update implements [presence.Store]. A peer that cannot be written, because its primary is lost, a
// newer rollcall keeps it, or reports on it wait in the spool, does not keep the others from it.
func (s *Store) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	if !s.conn.Clustered() && !s.conn.LinkOf("").Reachable() && s.outage.box.Keeps() {
		return conn.ErrDown // the spool is not to wait for the deadline
	}
	return s.outage.box.Update(ctx, keys, now, merge)
}

// Settle implements [presence.Settler]. An end that Redis carried out for this process counts here
// once, also when its answer was lost: a later sweep finds out. One that another process carried
// out does not count here.
func (s *Store) Settle(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return s.outage.box.Settle(ctx, keys, now, merge)
}

// Listen implements [presence.Store].
func (s *Store) Listen(fn func(keys []presence.Key)) (stop func()) { return s.outage.box.Listen(fn) }

// Acknowledged implements [presence.Remote].
func (s *Store) Acknowledged(reports []presence.Report, now presence.Millis) {
	s.outage.box.Acknowledged(reports, now)
}

// OnReturn implements [presence.Remote].
func (s *Store) OnReturn(fn func(asOf, now presence.Millis) (done <-chan struct{})) (stop func()) {
	return s.outage.box.OnReturn(fn)
}

// Spool implements [presence.Remote].
func (s *Store) Spool(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	if !s.outage.box.Keeps() {
		return conn.ErrDown
	}
	s.acquaint(ctx, reports)
	if err := s.outage.box.Spool(ctx, reports, now, out); err != nil {
		return err
	}
	s.outage.wake.Wake()
	return nil
}

// acquaint has the cache hold the peers of reports that Redis does not take while it can be read,
// such as when its memory is full, so that their layers are not blind.
func (s *Store) acquaint(ctx context.Context, reports []presence.Report) {
	if s.conn.AnyDown() {
		return
	}
	byApp := map[presence.AppID][][]byte{}
	for i := range reports {
		byApp[reports[i].App] = append(byApp[reports[i].App], []byte(reports[i].Peer))
	}
	for app, peers := range byApp {
		// without it they stay blind
		_, _ = s.Statuses(ctx, app, peers, s.conn.Now(), make([]presence.Status, len(peers)))
	}
}
