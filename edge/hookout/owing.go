package hookout

import (
	"context"
	"slices"
	"time"

	"rollcall/presence"
)

// An owing is what the sender knows of sessions that are owed an offline hook. Sender.mu guards it.
type owing struct {
	// debts are the sessions whose online hook was taken here, and those that were taken over, until their offline hook was answered.
	debts map[ref]debt

	enter   []*Event        // to be recorded
	held    []*Event        // heads that wait until they are
	settled []settlement    // to be taken off the record
	found   []*Event        // to be claimed
	taken   map[peer][]owed // taken over, and not in a queue yet
	review  bool            // the record may have lost sessions of this node, or have sessions that this node does not know of
	failing bool            // said in the log

	wake chan struct{}
}

// A debt is what is known of a session that is owed an offline hook.
type debt struct {
	tag    string
	ending bool // it has ended: the hook is in a queue, or will be
	taken  bool // over from another node
}

func (o *owing) init() {
	o.debts, o.taken, o.wake = map[ref]debt{}, map[peer][]owed{}, make(chan struct{}, 1)
}

func (o *owing) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *owing) begin(e *Event) {
	o.debts[e.ref()] = debt{tag: e.Tag}
	o.enter = append(o.enter, e)
	o.poke()
}

func (o *owing) settle(r ref) {
	o.settled = append(o.settled, settlement{r, o.debts[r].taken})
	delete(o.debts, r)
	o.poke()
}

// end takes note that the hook of e is over.
func (o *owing) end(e *Event) {
	switch {
	case e.void:
		delete(o.debts, e.ref()) // another node owes it, or has sent it
	case !e.Online:
		o.settle(e.ref())
	}
}

// take adds sessions whose offline hooks this node has to send, once they have ended.
func (o *owing) take(now presence.Millis, list ...owed) (n int64) {
	for _, w := range list {
		w.taken = now
		if _, known := o.debts[w.ref]; known {
			continue
		}
		o.debts[w.ref] = debt{tag: w.tag, ending: true, taken: true}
		p := peer{w.app, w.peer}
		o.taken[p] = append(o.taken[p], w)
		n++
	}
	if n > 0 {
		o.poke()
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
				s.count.takenOver.Add(s.owing.take(s.ledger.Now(), w))
			}
		},
		Unsure: s.Review,
	}
}

// Review compares the record with what this node knows: after a failure of the store one may lack what the other has.
func (s *Sender) Review() {
	s.mu.Lock()
	s.owing.review = true
	s.mu.Unlock()
	s.owing.poke()
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
		case <-s.owing.wake:
		case <-t.C:
		}
		err := s.keepRecord()
		s.mu.Lock()
		again := err != nil || len(s.owing.taken) > 0
		said := s.owing.failing
		s.owing.failing = err != nil
		s.mu.Unlock()
		if s.ctx.Err() != nil {
			return
		}
		if err != nil && !said {
			s.log.Warn("recording hooks in the store failed; online hooks wait", "err", err)
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
	batch := s.owing.enter[:min(len(s.owing.enter), recordBatch)]
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
	if s.owing.enter = s.owing.enter[len(batch):]; len(s.owing.enter) == 0 {
		s.owing.enter = nil
	}
	s.letGo()
	s.mu.Unlock()
	s.release()
	return true, nil
}

// settleEnded takes sessions whose offline hooks were answered off the record.
func (s *Sender) settleEnded() (more bool, err error) {
	s.mu.Lock()
	batch := s.owing.settled[:min(len(s.owing.settled), recordBatch)]
	s.mu.Unlock()
	if len(batch) == 0 {
		return false, nil
	}
	if err := s.ledger.settle(s.ctx, batch); err != nil {
		return false, err
	}
	s.mu.Lock()
	if s.owing.settled = s.owing.settled[len(batch):]; len(s.owing.settled) == 0 {
		s.owing.settled = nil
	}
	s.mu.Unlock()
	return true, nil
}

// settleLast is settleEnded while the sender closes: what stays on record is sent again by a survivor.
func (s *Sender) settleLast() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.mu.Lock()
	settled := s.owing.settled
	s.owing.settled = nil
	s.mu.Unlock()
	for len(settled) > 0 {
		n := min(len(settled), recordBatch)
		if s.ledger.settle(ctx, settled[:n]) != nil {
			return
		}
		settled = settled[n:]
	}
}

// claimFound claims the sessions of which the journal of an earlier run has events. What another node has taken over, and what was
// never on record and so never sent, is struck out.
func (s *Sender) claimFound() (more bool, err error) {
	s.mu.Lock()
	found := s.owing.found
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
			s.owing.take(s.ledger.Now(), owed{ref: e.ref(), tag: e.Tag, from: e.Node, alive: s.ledger.Now()}) // unless its end follows
		default:
			s.owing.debts[e.ref()] = debt{tag: e.Tag, ending: true, taken: true}
			s.owing.untake(e.ref())
		}
	}
	s.owing.found = s.owing.found[len(found):]
	s.letGo()
	s.mu.Unlock()
	s.release()
	return true, nil
}

// letGo makes the heads ready that the ledger has by now. s.mu is held.
func (s *Sender) letGo() {
	held := s.owing.held[:0]
	for _, e := range s.owing.held {
		if e.recorded {
			s.ready = append(s.ready, e)
		} else {
			held = append(held, e)
		}
	}
	clear(s.owing.held[len(held):])
	s.owing.held = held
}

// untake removes what is in a queue now.
func (o *owing) untake(r ref) {
	p := peer{r.app, r.peer}
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

// reviewRecord compares the record with what this node knows. Sessions that the store has lost are recorded again. Of those that another
// node has taken over and that live here all the same the app was sent the end, or will be: it is sent the beginning again. Sessions on
// record that this node does not know of are taken.
func (s *Sender) reviewRecord() (more bool, err error) {
	s.mu.Lock()
	review := s.owing.review
	s.owing.review = false
	var all []owed
	if review {
		for r, t := range s.owing.debts {
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
	for _, w := range s.owing.settled {
		settled[w.ref] = true
	}
	list = slices.DeleteFunc(list, func(w owed) bool { return settled[w.ref] })
	s.count.takenOver.Add(s.owing.take(s.ledger.Now(), list...))
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
	s.poke()
	// What is settled meanwhile waits in owing.settled, and is taken off the record after this.
	return s.ledger.enter(s.ctx, lost)
}

// beginAgain queues the online hook of a session once more, unless one is in the queue. s.mu is held.
func (s *Sender) beginAgain(w owed) {
	for _, e := range s.queues[peer{w.app, w.peer}] {
		if e.ref() == w.ref {
			return // it finds out
		}
	}
	if t, owed := s.owing.debts[w.ref]; !owed || t.ending {
		return
	}
	e := &Event{
		Version: eventVersion, App: w.app, Peer: w.peer, Session: string(w.session), Start: int64(w.start), Node: s.ledger.Node,
		Tag: w.tag, Online: true, Reconnect: true, At: int64(s.ledger.Now()), recorded: true,
	}
	s.fresh = append(s.fresh, e)
	s.enqueue(e)
}

// queueEnded queues the offline hooks of sessions that were taken over and have ended, unless others come before. A peer with events in its
// queue waits: the online hook of a newer session takes the older ones with it, see dueBehind.
func (s *Sender) queueEnded() (more bool, err error) {
	s.mu.Lock()
	var list []owed
	for p, some := range s.owing.taken {
		if len(s.queues[p]) == 0 {
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
		end := &Event{taken: true, App: w.app, Peer: w.peer, Session: string(w.session), Start: int64(w.start)}
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
		s.count.takenOver.Add(s.owing.take(s.ledger.Now(), p.stray...))
		if !p.wait && len(s.queues[peer{w.app, w.peer}]) == 0 {
			e := s.endOf(w, f.cause)
			s.owing.untake(w.ref)
			s.fresh = append(s.fresh, e)
			s.enqueue(e)
		}
		s.mu.Unlock()
	}
	s.poke()
	return nil
}

// foundLost is longer than a dead node is taken for alive.
const foundLost = time.Minute

// giveBack gives a session that was taken over to the node that it is open on, if that is alive: it was taken for dead and has reported the
// session since, or it would have been found lost by now.
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
	s.owing.untake(w.ref)
	delete(s.owing.debts, w.ref)
	return true, nil
}

// endOf returns the event of the end of a session that was taken over. s.mu is held.
func (s *Sender) endOf(w owed, cause presence.Cause) *Event {
	return &Event{
		Version: eventVersion, App: w.app, Peer: w.peer, Session: string(w.session), Start: int64(w.start), Node: s.ledger.Node,
		Tag: w.tag, Cause: cause, At: int64(s.ledger.Now()), taken: true,
	}
}

// dueBehind delivers the offline hooks of older sessions that come before e: an online hook, or the offline hook of a session that
// was taken over, from this node or by it. Those of nodes that live are sent there, and waited for. It reports false, without the turn,
// when the sender closes before.
func (s *Sender) dueBehind(e *Event) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		over, ends, err := s.before(e)
		if !s.sendEnds(ends) {
			return false
		}
		if over && err == nil || time.Since(time.UnixMilli(e.At)) > s.cfg.GiveUp {
			return true
		}
		if !s.pause(wait) {
			return false
		}
	}
}

// sendEnds sends the offline hooks of sessions that were taken over. It reports false, without the turn, when the sender closes before.
func (s *Sender) sendEnds(ends []*Event) bool {
	for _, end := range ends {
		for retry := 500 * time.Millisecond; !s.attempt(end); retry = min(2*retry, time.Minute) {
			if !s.pause(retry) || !s.due(end) {
				return false
			}
			if end.void {
				break
			}
		}
		s.mu.Lock()
		s.owing.end(end)
		s.mu.Unlock()
	}
	return true
}

// due finds out whether e, an offline hook, is still to be sent from here. What another node has taken over that one sends, or gives back:
// then the order is not what it was. It reports false, without the turn, when the sender closes before.
func (s *Sender) due(e *Event) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		standings, err := s.ledger.standings(s.ctx, []ref{e.ref()})
		switch {
		case err == nil && standings[0] == elsewhere && !e.taken:
			e.behind = true
			return s.dueBehind(e)
		case err == nil:
			e.void = standings[0] == ended || standings[0] == elsewhere
			return true
		case time.Since(time.UnixMilli(e.At)) > s.cfg.GiveUp:
			return true
		}
		if !s.pause(wait) {
			return false
		}
	}
}

// before returns the events that this process has to deliver before e, and whether there is nothing else to wait for.
func (s *Sender) before(e *Event) (over bool, ends []*Event, err error) {
	l, err := s.ledger.before(s.ctx, e.ref(), func(r ref) bool { return s.waitsFor(e, r) })
	if err != nil {
		if l.unsure {
			s.Review()
		}
		return false, nil, err
	}
	s.mu.Lock()
	s.count.takenOver.Add(s.owing.take(s.ledger.Now(), l.stray...)) // whatever becomes of e, this node owes them now
	ending := s.owing.debts[e.ref()].ending
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

// endsBefore returns the event of the end of the oldest session that was taken over, is older than that of e, and has ended; or whether
// that waits for others.
func (s *Sender) endsBefore(e *Event) (ends []*Event, wait bool, err error) {
	s.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(s.owing.taken[peer{e.App, e.Peer}]), func(w owed) bool { return !w.olderThan(e.ref()) })
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
			if !s.ledger.Akin(w.session, presence.SessionID(e.Session)) {
				continue
			}
			f.cause = presence.CauseReplaced // its node is gone, and its client is here
		}
		end := &Event{taken: true, App: w.app, Peer: w.peer, Session: string(w.session), Start: int64(w.start)}
		if p, _ := s.ledger.prospect(w.ref, &records[i], &peers[i], func(r ref) bool { return s.waitsFor(end, r) }); p.wait {
			return nil, true, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.owing.untake(w.ref)
		return []*Event{s.endOf(w, f.cause)}, false, nil
	}
	return nil, false, nil
}

// waitsFor reports whether e waits for the end of an older session on record here: of one that is being taken over and not known yet; and,
// when e is the end of one that was taken over, of one that the same client may have left.
func (s *Sender) waitsFor(e *Event, r ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.owing.debts[r]
	return !known || e.taken && !t.ending && s.ledger.Akin(r.session, presence.SessionID(e.Session)) &&
		s.ledger.Now() <= presence.Millis(e.Start).Add(akinWait)
}
