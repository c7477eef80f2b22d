package presence

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"
)

// movedFor is how long the sessions of nodes outlive the export that they are in. Their sockets do
// not move with the state; their clients connect again.
const movedFor = 30 * time.Second

// Moved makes st what another store may take of it, as of at: no session hangs on a node, since
// nothing is known there of the heartbeats of nodes here.
func (st *State) Moved(at Millis) {
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Until == forever {
			s.Until = max(at, s.Seen()).Add(movedFor)
		}
		s.Node = ""
	}
	if st.Status == Online && st.Until == forever {
		st.Until = at.Add(movedFor)
	}
}

// DropOpen removes the open sessions of a state that was exported so long ago that their ends may
// be forgotten by now, see [Rules].Tombstones; it reports whether there were any. The peer is
// offline since the latest report about them.
func (st *State) DropOpen(now Millis) bool {
	var last ending
	st.Sessions = keep(st.Sessions, func(s *Session) bool {
		if !s.Live(now) {
			return true
		}
		if e := (ending{s.Seen(), CauseExpired, s.Hold}); e.later(last) {
			last = e
		}
		st.LastSeen = max(st.LastSeen, s.Seen())
		return false
	})
	if last.at == 0 {
		return false
	}
	if st.Status == Online && st.open(now) == 0 {
		st.Status, st.Cause, st.Since, st.Hold, st.Until = Offline, last.cause, max(last.at, st.Since), last.hold, 0
	}
	return true
}

// Join merges into st a state of the same peer that another store keeps, or that this one exported
// before; leases are judged at now. It is commutative, associative and idempotent, so states may be
// joined in any order and any number of times. docs/decisions/0093 says why each part is joined as
// it is.
//
// For each session, and each end-all, the greater report counts, as when all the reports had come
// here. Hooks without
// time and session are a sum, and sums of two stores cannot be merged: those of the store count
// that knew of the peer later. Since is the latest turn that either knew. An assumption gives way
// to all that is known.
func (st *State) Join(o *State, now Millis, rules *Rules) Effect {
	a, b := st.clone(), o.clone()
	a.prune(now, rules) // what is only too old is no change
	before, was, day := a.packedAs(0), st.Summary(), st.Day
	a.forget(now, rules)
	b.forget(now, rules)
	reached, missed := a.Reached.join(b.Reached), a.Missed || b.Missed
	switch {
	case b.blank(), b.assumed() && !a.assumed() && !a.blank():
	case a.blank(), a.assumed() && !b.assumed():
		b.Day = max(a.Day, b.Day)
		a = b
	case a.assumed():
		a = laterAssumption(&a, &b)
	default:
		a = joinOf(&a, &b, now)
	}
	a.Reached, a.Missed = reached, a.Missed || missed
	a.Expire(now, rules)
	if !rules.OnlineTime {
		a.Days, a.Counted = nil, 0
	}
	a.Rev = st.Rev
	*st = a
	switch is := st.Summary(); {
	case bytes.Equal(before, st.packedAs(0)):
		return Same
	case was.Status == is.Status && was.Cause == is.Cause && was.Since == is.Since && was.LastSeen == is.LastSeen && day == st.Day:
		return Quiet
	}
	return Shown
}

// joinOf returns the join of two states that are known.
func joinOf(a, b *State, now Millis) State {
	st := State{
		Rev: max(a.Rev, b.Rev), Day: max(a.Day, b.Day), LastSeen: max(a.LastSeen, b.LastSeen), Replayed: max(a.Replayed, b.Replayed),
		Sessions: joinSessions(a.Sessions, b.Sessions), Rest: a.Rest,
	}
	if bytes.Compare(b.Rest, a.Rest) > 0 {
		st.Rest = b.Rest
	}
	counted := a
	if b.sums().compare(a.sums()) > 0 {
		counted = b
	}
	st.Slots, st.Histories = counted.Slots, counted.Histories
	joinEndAlls(&st, a, b)
	joinDeliveries(&st, a, b)
	joinDays(&st, a, b)
	joinTurns(&st, a, b, now)
	return st
}

// joinTurns derives what the join of a and b is from its sessions and slots, and since when from
// the turns that a and b knew. What only a lease that has run out since made of one of them is not
// among these: the other may know better.
func joinTurns(st, a, b *State, now Millis) {
	live := st.open(now) > 0
	st.Status = Online // until a turn to offline is found
	var since Millis
	for _, h := range [...]*State{a, b} {
		e := ending{h.Since, h.Cause, h.Hold}
		switch {
		case h.Status == Online && h.open(now) > 0:
			since = max(since, h.Since)
		case h.Status == Offline && !live && e.later(ending{st.Since, st.Cause, st.Hold}):
			st.Status, st.Cause, st.Since, st.Hold = Offline, e.cause, e.at, e.hold
		}
	}
	seen := st.LastSeen
	st.conclude(now, nil)
	st.LastSeen, st.Since = max(st.LastSeen, seen), max(st.Since, since)
}

// packedAs packs st as if its revision were rev.
func (st *State) packedAs(rev uint64) []byte {
	c := *st
	c.Rev = rev
	return c.Pack(nil)
}

// clone returns a copy of st that shares nothing that is changed in place.
func (st *State) clone() State {
	c := *st
	c.Sessions, c.Slots, c.EndAlls = slices.Clone(st.Sessions), slices.Clone(st.Slots), slices.Clone(st.EndAlls)
	for i := range c.Slots {
		c.Slots[i] = c.Slots[i].clone()
	}
	c.Deliveries, c.Histories = slices.Clone(st.Deliveries), slices.Clone(st.Histories)
	c.Reached = slices.Clone(st.Reached)
	c.Days, c.Rest = slices.Clone(st.Days), slices.Clone(st.Rest)
	return c
}

// joinSessions takes the greater report about each session.
func joinSessions(a, b []Session) []Session {
	both := slices.Concat(a, b)
	slices.SortFunc(both, func(x, y Session) int {
		return cmp.Or(strings.Compare(string(x.Source), string(y.Source)), strings.Compare(string(x.ID), string(y.ID)), y.compare(&x))
	})
	for i := len(both) - 1; i > 0; i-- {
		if x, y := &both[i-1], &both[i]; x.Source == y.Source && x.ID == y.ID {
			x.Active = x.latest(y)
		}
	}
	return slices.CompactFunc(both, func(x, y Session) bool { return x.Source == y.Source && x.ID == y.ID })
}

// compare orders two reports about one session, which two stores have received, in full. It is the
// order of [Session.weigh], but by the time of receipt where the clock of the source was ahead:
// only a store that saw both can know which of two clocks was right.
func (s *Session) compare(n *Session) int {
	if c := cmp.Compare(s.Incarnation, n.Incarnation); c != 0 {
		return c
	}
	if s.Incarnation != 0 && s.Ended != n.Ended {
		return sign(s.Ended)
	}
	return cmp.Or(
		cmp.Compare(s.Seen(), n.Seen()), cmp.Compare(s.At, n.At), cmp.Compare(s.Seq, n.Seq),
		sign(n.Ended)-sign(s.Ended), // an online at a tie
		sign(s.lapsed())-sign(n.lapsed()),
		sign(s.Node != "")-sign(n.Node != ""),
		cmp.Compare(s.lease(), n.lease()), cmp.Compare(s.Cause, n.Cause), cmp.Compare(s.Hold, n.Hold),
		strings.Compare(string(s.Node), string(n.Node)), cmp.Compare(s.Ahead, n.Ahead),
		cmp.Compare(n.Start, s.Start), strings.Compare(s.Device, n.Device),
	)
}

// sums describes the slots of a state, which are joined as one: a slot that is closed is forgotten,
// so that a state has no slot says that it was closed before the state was written last.
type sums struct {
	known   Millis // until when the state knows of the peer
	counted Millis // the last hook; 0 for none
	content []byte
}

func (st *State) sums() sums {
	s := sums{known: st.LastSeen, content: (&State{Slots: st.Slots, Histories: st.Histories}).Pack(nil)}
	for i := range st.Slots {
		s.counted = max(s.counted, st.Slots[i].At)
	}
	s.known = max(s.known, s.counted)
	return s
}

// compare orders sums in full. Of two that are known until the same time the one without slots
// wins, and next the one whose last hook that was.
func (s sums) compare(o sums) int {
	latest := func(s sums) int {
		switch s.counted {
		case 0:
			return 2
		case s.known:
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(s.known, o.known), cmp.Compare(latest(s), latest(o)), cmp.Compare(s.counted, o.counted),
		bytes.Compare(s.content, o.content),
	)
}

// joinEndAlls keeps the end-alls of both, and derives what they end.
func joinEndAlls(st, a, b *State) {
	all := slices.Concat(a.EndAlls, b.EndAlls)
	slices.SortFunc(all, func(x, y EndAll) int {
		return cmp.Or(strings.Compare(string(x.Source), string(y.Source)), strings.Compare(string(x.Prefix), string(y.Prefix)), y.weigh(&x))
	})
	all = slices.CompactFunc(all, func(x, y EndAll) bool { return x.Source == y.Source && x.Prefix == y.Prefix })
	st.EndAlls = slices.DeleteFunc(slices.Clone(all), func(e EndAll) bool {
		return slices.ContainsFunc(all, func(o EndAll) bool { return o != e && o.covers(&e) })
	})
	for len(st.EndAlls) > maxEndAlls {
		st.writeOldestEndAll()
	}
	st.overAll()
}

// joinDeliveries remembers what either has counted, but for what is in a history.
func joinDeliveries(st, a, b *State) {
	all := slices.Concat(a.Deliveries, b.Deliveries)
	slices.SortFunc(all, func(x, y Delivery) int { return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Hash, y.Hash)) })
	all = keep(slices.Compact(all), func(d *Delivery) bool { return !st.counts(d.Hash) })
	st.Deliveries = all[max(len(all)-maxDeliveries, 0):]
}

// joinDays takes the longer time online of each day: either store may have missed some, and neither
// has made any up.
func joinDays(st, a, b *State) {
	st.Counted = max(a.Counted, b.Counted)
	all := slices.Concat(a.Days, b.Days)
	slices.SortFunc(all, func(x, y Day) int { return cmp.Or(cmp.Compare(x.Day, y.Day), cmp.Compare(y.Online, x.Online)) })
	all = slices.CompactFunc(all, func(x, y Day) bool { return x.Day == y.Day })
	if n := len(all); n > 0 {
		all = keep(all, func(d *Day) bool { return d.Day > all[n-1].Day-OnlineDays })
	}
	st.Days = all
}
