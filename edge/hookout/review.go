package hookout

import (
	"slices"
	"time"

	"rollcall/presence"
)

// Review compares the record with what this node knows: after a failure of the store one may lack
// what the other has.
func (s *Sender) Review() {
	s.mu.Lock()
	s.pending.review = true
	s.mu.Unlock()
	s.pending.wake.Wake()
}

// reviewRecord compares the record with what this node knows. Sessions that the store has lost are
// recorded again. Of those that another node has taken over and that live here all the same the app
// was sent the end, or will be: it is sent the beginning again. Sessions on record that this node
// does not know of are taken.
func (s *Sender) reviewRecord() (more bool, err error) {
	s.mu.Lock()
	review := s.pending.review
	s.pending.review = false
	var all []owed
	if review {
		for r, t := range s.pending.hooks {
			if !t.ending {
				all = append(all, owed{ref: r, tag: t.tag})
			}
		}
	}
	s.mu.Unlock()
	if !review {
		return false, nil
	}
	defer func() {
		if err != nil {
			s.Review()
		}
	}()
	list, err := s.ledger.onRecord(s.ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	settled := map[ref]bool{}
	for _, w := range s.pending.settled {
		settled[w.ref] = true
	}
	list = slices.DeleteFunc(list, func(w owed) bool { return settled[w.ref] })
	s.count.takenOver.Add(s.pending.take(s.ledger.Now(), list...))
	s.mu.Unlock()
	for some := range slices.Chunk(all, recordBatch) {
		if err := s.reviewSome(some); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (s *Sender) reviewSome(list []owed) error {
	refs := make([]ref, len(list))
	for i, w := range list {
		refs[i] = w.ref
	}
	standings, err := s.ledger.standings(s.ctx, refs)
	if err != nil {
		return err
	}
	var lost []owed
	s.mu.Lock()
	for i, w := range list {
		switch standings[i] {
		case absent:
			lost = append(lost, w)
		case elsewhere, ended:
			s.beginAgain(w)
		case here:
		}
	}
	s.mu.Unlock()
	// What is settled meanwhile waits in pending.settled, and is taken off the record after this.
	return s.ledger.enter(s.ctx, lost)
}

// beginAgain queues the online hook of a session once more, unless one is in the queue. s.mu is
// held.
func (s *Sender) beginAgain(w owed) {
	for _, e := range s.box.Queue(w.key()) {
		if e.ref() == w.ref {
			return // it finds out
		}
	}
	if t, owed := s.pending.hooks[w.ref]; !owed || t.ending {
		return
	}
	e := &Event{
		Version: eventVersion, App: w.app, Peer: w.peer, Session: w.session, Start: w.start, Node: s.ledger.Node,
		Tag: w.tag, Online: true, Reconnect: true, At: s.ledger.Now(), recorded: true,
	}
	s.box.Add(e)
}

// queueEnded queues the offline hooks of sessions that were taken over and have ended, unless
// others come before. A peer with events in its queue waits: the online hook of a newer session
// takes the older ones with it, see dueBehind.
func (s *Sender) queueEnded() (more bool, err error) {
	s.mu.Lock()
	var list []owed
	for p, some := range s.pending.taken {
		if _, n := s.box.First(p); n == 0 {
			list = append(list, slices.MinFunc(some, oldestFirst))
		}
	}
	s.mu.Unlock()
	for some := range slices.Chunk(list, recordBatch) {
		if err := s.queueSome(some); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (s *Sender) queueSome(list []owed) error {
	records, peers, err := s.ledger.load(s.ctx, list)
	if err != nil {
		return err
	}
	for i, w := range list {
		f := fateOf(&peers[i], w.ref, s.ledger.Now())
		if back, err := s.giveBack(w, f); err != nil {
			return err
		} else if back || f.open {
			continue
		}
		end := &Event{taken: true, App: w.app, Peer: w.peer, Session: w.session, Start: w.start}
		ours := func(r ref) bool { return s.waitsFor(end, r) }
		p, theirs := s.ledger.prospect(w.ref, &records[i], &peers[i], ours)
		if p.wait || len(theirs) > 0 { // for nodes that are gone, perhaps
			if p, err = s.ledger.before(s.ctx, w.ref, ours); err != nil {
				if p.unsure {
					s.Review()
				}
				return err
			}
		}
		s.mu.Lock()
		s.count.takenOver.Add(s.pending.take(s.ledger.Now(), p.stray...))
		if _, n := s.box.First(w.key()); !p.wait && n == 0 {
			e := s.endOf(w, f.cause)
			s.pending.untake(w.ref)
			s.box.Add(e)
		}
		s.mu.Unlock()
	}
	return nil
}

// foundLost is longer than a dead node is taken for alive.
const foundLost = time.Minute

// giveBack gives a session that was taken over to the node that it is open on, if that is alive: it
// was taken for dead and has reported the session since, or it would have been found lost by now.
func (s *Sender) giveBack(w owed, f fate) (bool, error) {
	back := f.node == w.from && f.at > w.alive || s.ledger.Now() > w.taken.Add(foundLost)
	if !back || !f.open || f.node == s.ledger.Node || !s.ledger.Shared {
		return false, nil
	}
	if err := s.ledger.giveBack(s.ctx, w, f.node); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.untake(w.ref)
	delete(s.pending.hooks, w.ref)
	return true, nil
}

// endOf returns the event of the end of a session that was taken over. s.mu is held.
func (s *Sender) endOf(w owed, cause presence.Cause) *Event {
	return &Event{
		Version: eventVersion, App: w.app, Peer: w.peer, Session: w.session, Start: w.start, Node: s.ledger.Node,
		Tag: w.tag, Cause: cause, At: s.ledger.Now(), taken: true,
	}
}
