package hookout

import (
	"slices"
	"time"

	"rollcall/internal/outbox"
	"rollcall/presence"
)

// dueBehind delivers the offline hooks of older sessions that come before e: an online hook, or the
// offline hook of a session that was taken over, from this node or by it. Those of nodes that live
// are sent there, and waited for. It reports false, without the turn, when the sender closes
// before.
func (s *Sender) dueBehind(t *outbox.Turn, e *Event) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		over, ends, err := s.before(e)
		if !s.sendEnds(t, ends) {
			return false
		}
		if over && err == nil || time.Since(e.At.Time()) > s.cfg.GiveUp {
			return true
		}
		if !t.Pause(wait) {
			return false
		}
	}
}

// sendEnds sends the offline hooks of sessions that were taken over. It reports false, without the
// turn, when the sender closes before.
func (s *Sender) sendEnds(t *outbox.Turn, ends []*Event) bool {
	for _, end := range ends {
		tried := false
		sent := t.Retry(func() outbox.Progress {
			if tried && !s.due(t, end) {
				return outbox.Closed
			}
			if tried = true; end.void {
				return outbox.Over
			}
			return s.attempt(end)
		})
		if !sent {
			return false
		}
		s.mu.Lock()
		s.pending.end(end)
		s.mu.Unlock()
	}
	return true
}

// due finds out whether e, an offline hook, is still to be sent from here. What another node has
// taken over that one sends, or gives back: then the order is not what it was. It reports false,
// without the turn, when the sender closes before.
func (s *Sender) due(t *outbox.Turn, e *Event) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		standings, err := s.ledger.standings(s.ctx, []ref{e.ref()})
		switch {
		case err == nil && standings[0] == elsewhere && !e.taken:
			e.behind = true
			return s.dueBehind(t, e)
		case err == nil:
			e.void = standings[0] == ended || standings[0] == elsewhere
			return true
		case time.Since(e.At.Time()) > s.cfg.GiveUp:
			return true
		}
		if !t.Pause(wait) {
			return false
		}
	}
}

// before returns the events that this process has to deliver before e, and whether there is nothing
// else to wait for.
func (s *Sender) before(e *Event) (over bool, ends []*Event, err error) {
	l, err := s.ledger.before(s.ctx, e.ref(), func(r ref) bool { return s.waitsFor(e, r) })
	if err != nil {
		if l.unsure {
			s.Review()
		}
		return false, nil, err
	}
	s.mu.Lock()
	// Whatever becomes of e, this node owes them now.
	s.count.takenOver.Add(s.pending.take(s.ledger.Now(), l.stray...))
	ending := s.pending.hooks[e.ref()].ending
	s.mu.Unlock()
	switch gone := l.self == elsewhere || l.self == ended; {
	case e.behind && l.self == elsewhere:
		l.wait = true // for what that node does; it may wait for older ones here
	case e.behind && l.self == absent:
		e.void = true
		return true, nil, nil
	case gone && (!e.Online || ending || l.self == ended && l.newer):
		e.void = true // another node took this one for dead, and sends the end, or has
		return true, nil, nil
	case l.self == ended || l.self == absent && e.Online:
		if err := s.ledger.enter(s.ctx, []owed{{ref: e.ref(), tag: e.Tag}}); err != nil {
			return false, nil, err
		}
		l.wait = true
	case gone:
		l.wait = true
	}
	ends, wait, err := s.endsBefore(e)
	return !l.wait && !wait && len(ends) == 0, ends, err
}

// endsBefore returns the event of the end of the oldest session that was taken over, is older than
// that of e, and has ended; or whether that waits for others.
func (s *Sender) endsBefore(e *Event) (ends []*Event, wait bool, err error) {
	s.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(s.pending.taken[presence.Key{App: e.App, Peer: e.Peer}]), func(w owed) bool { return !w.olderThan(e.ref()) })
	s.mu.Unlock()
	if len(list) == 0 {
		return nil, false, nil
	}
	slices.SortFunc(list, oldestFirst)
	records, peers, err := s.ledger.load(s.ctx, list)
	if err != nil {
		return nil, true, err
	}
	for i, w := range list {
		f := fateOf(&peers[i], w.ref, s.ledger.Now())
		if back, err := s.giveBack(w, f); err != nil || back {
			return nil, true, err
		}
		if f.open {
			if !s.ledger.Akin(w.session, e.Session) {
				continue
			}
			f.cause = presence.CauseReplaced // its node is gone, and its client is here
		}
		end := &Event{taken: true, App: w.app, Peer: w.peer, Session: w.session, Start: w.start}
		if p, _ := s.ledger.prospect(w.ref, &records[i], &peers[i], func(r ref) bool { return s.waitsFor(end, r) }); p.wait {
			return nil, true, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending.untake(w.ref)
		return []*Event{s.endOf(w, f.cause)}, false, nil
	}
	return nil, false, nil
}

// waitsFor reports whether e waits for the end of an older session on record here: of one that is
// being taken over and not known yet; and, when e is the end of one that was taken over, of one
// that the same client may have left.
func (s *Sender) waitsFor(e *Event, r ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.pending.hooks[r]
	return !known || e.taken && !t.ending && s.ledger.Akin(r.session, e.Session) &&
		s.ledger.Now() <= e.Start.Add(akinWait)
}
