package hookout

import (
	"context"
	"time"

	"rollcall/internal/wake"
	"rollcall/presence"
)

// A pending is what the sender knows of sessions that are owed an offline hook. Sender.mu guards
// it.
type pending struct {
	// hooks are the sessions whose online hook was taken here, and those that were taken over,
	// until their offline hook was answered.
	hooks map[ref]pendingHook

	enter   []*Event                // to be recorded
	held    []*Event                // heads that wait until they are
	settled []settlement            // to be taken off the record
	found   []*Event                // to be claimed
	taken   map[presence.Key][]owed // taken over, and not in a queue yet
	// The record may have lost sessions of this node, or have sessions that this node does not know
	// of.
	review bool

	wake wake.Signal // of keepRecords
}

// A pendingHook is what is known of a session that is owed an offline hook.
type pendingHook struct {
	tag    string
	ending bool // it has ended: the hook is in a queue, or will be
	taken  bool // over from another node
}

func (o *pending) init() {
	o.hooks, o.taken, o.wake = map[ref]pendingHook{}, map[presence.Key][]owed{}, wake.NewSignal()
}

func (o *pending) begin(e *Event) {
	o.hooks[e.ref()] = pendingHook{tag: e.Tag}
	o.enter = append(o.enter, e)
	o.wake.Wake()
}

func (o *pending) settle(r ref) {
	o.settled = append(o.settled, settlement{r, o.hooks[r].taken})
	delete(o.hooks, r)
	o.wake.Wake()
}

// end takes note that the hook of e is over.
func (o *pending) end(e *Event) {
	switch {
	case e.void:
		delete(o.hooks, e.ref()) // another node owes it, or has sent it
	case !e.Online:
		o.settle(e.ref())
	}
}

// take adds sessions whose offline hooks this node has to send, once they have ended.
func (o *pending) take(now presence.Millis, list ...owed) (n int64) {
	for _, w := range list {
		w.taken = now
		if _, known := o.hooks[w.ref]; known {
			continue
		}
		o.hooks[w.ref] = pendingHook{tag: w.tag, ending: true, taken: true}
		p := presence.Key{App: w.app, Peer: w.peer}
		o.taken[p] = append(o.taken[p], w)
		n++
	}
	if n > 0 {
		o.wake.Wake()
	}
	return n
}

// Successor returns how the work of lost nodes comes to this sender.
func (s *Sender) Successor() presence.Successor {
	return presence.Successor{
		Suffix: LedgerSuffix, Node: s.ledger.Node,
		Moved: func(key presence.Key, sessions []presence.Session, from presence.LostNode) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for i := range sessions {
				w := owedOf(key, &sessions[i])
				w.from, w.alive = from.Node, from.At
				s.count.takenOver.Add(s.pending.take(s.ledger.Now(), w))
			}
		},
		Unsure: s.Review,
	}
}

const (
	recordBatch = 512
	recordRetry = 500 * time.Millisecond
)

// keepRecords keeps the ledger until the sender closes.
func (s *Sender) keepRecords() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.pending.wake:
		case <-t.C:
		}
		err := s.keepRecord()
		s.mu.Lock()
		again := err != nil || len(s.pending.taken) > 0
		s.mu.Unlock()
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			if more, due := s.lines.unrecorded.Due(time.Now().UnixMilli()); due {
				s.log.Warn("recording hooks in the store failed; online hooks wait", "err", err, "more", more)
			}
		}
		if again {
			t.Reset(recordRetry)
		}
	}
}

// keepRecord does all that is to be done with the ledger once.
func (s *Sender) keepRecord() error {
	for _, step := range []func() (bool, error){s.claimFound, s.enterNew, s.settleEnded, s.reviewRecord, s.queueEnded} {
		for more := true; more; {
			var err error
			if more, err = step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// enterNew records sessions, and lets their online hooks go.
func (s *Sender) enterNew() (more bool, err error) {
	s.mu.Lock()
	batch := s.pending.enter[:min(len(s.pending.enter), recordBatch)]
	s.mu.Unlock()
	if len(batch) == 0 {
		return false, nil
	}
	list := make([]owed, len(batch))
	for i, e := range batch {
		list[i] = owed{ref: e.ref(), tag: e.Tag}
	}
	if err := s.ledger.enter(s.ctx, list); err != nil {
		return false, err
	}
	s.mu.Lock()
	for _, e := range batch {
		e.recorded = true
	}
	if s.pending.enter = s.pending.enter[len(batch):]; len(s.pending.enter) == 0 {
		s.pending.enter = nil
	}
	s.letGo()
	s.mu.Unlock()
	return true, nil
}

// settleEnded takes sessions whose offline hooks were answered off the record.
func (s *Sender) settleEnded() (more bool, err error) {
	s.mu.Lock()
	batch := s.pending.settled[:min(len(s.pending.settled), recordBatch)]
	s.mu.Unlock()
	if len(batch) == 0 {
		return false, nil
	}
	if err := s.ledger.settle(s.ctx, batch); err != nil {
		return false, err
	}
	s.mu.Lock()
	if s.pending.settled = s.pending.settled[len(batch):]; len(s.pending.settled) == 0 {
		s.pending.settled = nil
	}
	s.mu.Unlock()
	return true, nil
}

// settleLast is settleEnded while the sender closes: what stays on record is sent again by a
// survivor.
func (s *Sender) settleLast() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.mu.Lock()
	settled := s.pending.settled
	s.pending.settled = nil
	s.mu.Unlock()
	for len(settled) > 0 {
		n := min(len(settled), recordBatch)
		if s.ledger.settle(ctx, settled[:n]) != nil {
			return
		}
		settled = settled[n:]
	}
}

// claimFound claims the sessions of which the journal of an earlier run has events. What another
// node has taken over, and what was never on record and so never sent, is struck out.
func (s *Sender) claimFound() (more bool, err error) {
	s.mu.Lock()
	found := s.pending.found
	s.mu.Unlock()
	if len(found) == 0 {
		return false, nil
	}
	found = found[:min(len(found), recordBatch)]
	refs, from := make([]ref, len(found)), make([]presence.NodeID, len(found))
	for i, e := range found {
		refs[i], from[i] = e.ref(), e.Node
	}
	mine, err := s.ledger.claim(s.ctx, from, refs)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	for i, e := range found {
		e.recorded, e.void = true, !mine[i]
		switch {
		case e.void:
		case e.Online:
			// Unless its end follows.
			s.pending.take(s.ledger.Now(), owed{ref: e.ref(), tag: e.Tag, from: e.Node, alive: s.ledger.Now()})
		default:
			s.pending.hooks[e.ref()] = pendingHook{tag: e.Tag, ending: true, taken: true}
			s.pending.untake(e.ref())
		}
	}
	s.pending.found = s.pending.found[len(found):]
	s.letGo()
	s.mu.Unlock()
	return true, nil
}

// letGo makes the heads ready that the ledger has by now. s.mu is held.
func (s *Sender) letGo() {
	held := s.pending.held[:0]
	for _, e := range s.pending.held {
		if e.recorded {
			s.box.Release(e)
		} else {
			held = append(held, e)
		}
	}
	clear(s.pending.held[len(held):])
	s.pending.held = held
}

// untake removes what is in a queue now.
func (o *pending) untake(r ref) {
	p := presence.Key{App: r.app, Peer: r.peer}
	list := o.taken[p][:0]
	for _, w := range o.taken[p] {
		if w.ref != r {
			list = append(list, w)
		}
	}
	if o.taken[p] = list; len(list) == 0 {
		delete(o.taken, p)
	}
}
