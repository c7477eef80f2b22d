package redisstore

import (
	"context"
	"errors"

	"rollcall/presence"
	spooled "rollcall/store/outage"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

func (o *recovery) openSpool() (err error) {
	o.box, err = spooled.Open(spooled.Config{
		Dir: o.cfg.Spool, Bytes: o.cfg.SpoolBytes, Journal: o.cfg.Journal, Rules: o.rules, Log: o.log,
	}, below{o.shared, o.writer})
	if err == nil && o.box.Spooling() {
		o.wakeUp()
	}
	return err
}

func (o *recovery) closeSpool() {
	if o.box != nil {
		_ = o.box.Close()
	}
}

// below is the store as its [spooled.Box] sees it.
type below struct {
	*shared
	w *writer
}

func (b below) Replay(list []spooled.Record) []error {
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].Report.Key()
	}
	now := b.conn.Now()
	return b.w.updateEach(b.conn.Context(), keys, now, func(i int, st *presence.State) presence.Effect {
		report := list[i].Report
		_, e := st.Replay(&report, list[i].Received, now, &b.rules)
		return e
	})
}

func (b below) Waits(err error) (waits, held bool) { return mayWait(err), errors.Is(err, errNewer) }

// mayWait reports whether err means that this peer cannot be written now, and nothing else.
func mayWait(err error) bool { return errors.Is(err, conn.ErrDown) || errors.Is(err, errNewer) }

func (b below) Last(key presence.Key) ([]byte, bool) {
	packed, how := b.cache.Get(b.cache.Space(key.App), []byte(key.Peer), nil)
	return packed, how != nearcache.Missing
}

func (b below) Signal(keys []presence.Key) { b.signal(keys) }

func (b below) Now() presence.Millis { return b.conn.Now() }

// Spool implements [presence.Remote].
func (s *Store) Spool(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	if !s.outage.box.Keeps() {
		return conn.ErrDown
	}
	s.acquaint(ctx, reports)
	if err := s.outage.box.Spool(reports, now, out); err != nil {
		return err
	}
	s.outage.wakeUp()
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
