package presence

import (
	"cmp"
	"slices"
	"time"
)

// An ending is one end of a session or slot.
type ending struct {
	at    Millis
	cause Cause
	hold  time.Duration
}

// later orders endings, in full so that the order of arrival decides nothing.
func (e ending) later(o ending) bool {
	return cmp.Or(cmp.Compare(e.at, o.at), cmp.Compare(e.cause, o.cause), cmp.Compare(e.hold, o.hold)) > 0
}

// conclude derives Status and its fields from the sessions and slots at now, after r, which may be
// nil. It reports whether the status turned.
func (st *State) conclude(now Millis, r *Report) bool {
	is := st.standing(now, r)
	switch {
	case is.live.at > 0:
		turned := st.Status != Online
		if turned {
			st.Status, st.Cause, st.Since = Online, CauseUnknown, is.start
		}
		st.Until, st.Hold = is.live.at, is.live.hold
		return turned
	case st.Status == Online || st.Status == Unknown && is.last.at > 0:
		st.Status, st.Cause, st.Hold, st.Since, st.Until = Offline, is.last.cause, is.last.hold, is.last.at, 0
		return true
	case st.Status == Offline && is.reported.later(ending{st.Since, st.Cause, st.Hold}):
		// It was online in between, unheard of.
		st.Cause, st.Hold, st.Since = is.reported.cause, is.reported.hold, is.reported.at
	}
	return false
}

// A standing is what the sessions and slots of a peer say together.
type standing struct {
	live     ending // the lease that runs out last
	start    Millis // of the earliest that is live
	last     ending // the latest end of any
	reported ending // the latest end of a session
}

// open takes a session or a slot that is live since start, until l.
func (is *standing) open(start Millis, l ending) {
	if l.later(is.live) {
		is.live = l
	}
	if is.start == 0 || start < is.start {
		is.start = start
	}
}

// standing adds up the sessions and slots, and raises LastSeen to the latest of those that ended.
func (st *State) standing(now Millis, r *Report) (is standing) {
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Live(now) {
			is.open(s.Start, ending{at: s.Until, hold: s.Hold})
			continue
		}
		if !s.overEarly() {
			st.LastSeen = max(st.LastSeen, s.Seen())
		}
		if e := s.ending(); e.later(is.reported) {
			is.reported = e
		}
	}
	is.last = is.reported
	for i := range st.Slots {
		s := &st.Slots[i]
		if s.Live(now) {
			is.open(s.Start, ending{at: s.Until})
			continue
		}
		st.LastSeen = max(st.LastSeen, s.At)
		if e := s.ending(r); e.later(is.last) {
			is.last = e
		}
	}
	if st.Status == Unknown {
		for i := range st.EndAlls {
			if e := st.EndAlls[i].ending(); e.later(is.last) {
				is.last = e
			}
		}
	}
	return is
}

// forget makes a peer unknown that has been offline longer than offline is remembered.
func (st *State) forget(now Millis, rules *Rules) bool {
	if st.Status != Offline || now < st.Since.Add(rules.OfflineMemory) {
		return false
	}
	if len(st.Reached) > 0 {
		var gone []string
		for i := range st.Sessions {
			gone = st.Sessions[i].gone(gone)
		}
		st.Sessions = nil
		missDevices(st, gone)
	}
	*st = State{Rev: st.Rev, Day: st.Day, Reached: st.Reached, Missed: st.Missed && len(st.Reached) > 0}
	return true
}

// Forgotten reports whether nothing of st is worth keeping.
func (st *State) Forgotten() bool { return st.blank() && len(st.Reached) == 0 }

// blank reports whether st says nothing about whether the peer is online.
func (st *State) blank() bool {
	return st.Status == Unknown && len(st.Sessions) == 0 && len(st.Slots) == 0
}

// prune drops tombstones that are old or too many, slots with nothing to remember, and old delivery
// ids.
func (st *State) prune(now Millis, rules *Rules) bool {
	before := len(st.Sessions) + len(st.EndAlls) + len(st.Slots) + len(st.Deliveries) + len(st.Reached)
	old, dead := now.Add(-rules.Tombstones), 0
	var gone []string // what those that are dropped ran on, but for what was logged out
	st.Sessions = keep(st.Sessions, func(s *Session) bool {
		switch {
		case s.Live(now):
			return true
		case s.End() > old:
			dead++
			return true
		}
		st.leave(s)
		gone = s.gone(gone)
		return false
	})
	for ; dead > maxTombstones; dead-- {
		gone = st.dropOldest(now, gone)
	}
	if dead > 1 {
		gone = st.dropConnections(now, gone)
	}
	missDevices(st, gone)
	st.pruneEndAlls(old)
	st.Slots = keep(st.Slots, func(s *Slot) bool { return !s.blank(now, rules) })
	st.Deliveries = keep(st.Deliveries, func(s *Delivery) bool { return s.At > now.Add(-rules.Detect) })
	st.pruneHistories(now, rules)
	st.Reached.prune(now)
	return len(st.Sessions)+len(st.EndAlls)+len(st.Slots)+len(st.Deliveries)+len(st.Reached) != before
}

// dropConnections removes the ends of connections that need not be remembered beside the latest. It
// adds to gone what they ran on.
func (st *State) dropConnections(now Millis, gone []string) []string {
	var ends []Millis
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Source == SourceGateway && s.Ended {
			ends = append(ends, s.At)
		}
	}
	if len(ends) < 2 {
		return gone
	}
	slices.Sort(ends)
	latest, first := ends[len(ends)-1], now.Add(-connectionMemory)
	if len(ends) > maxConnections {
		first = max(first, ends[len(ends)-maxConnections])
	}
	first = min(first, latest)
	st.Sessions = keep(st.Sessions, func(s *Session) bool {
		if s.Source != SourceGateway || !s.Ended || s.At >= first {
			return true
		}
		gone = s.gone(gone)
		return false
	})
	return gone
}

// keep removes from all, in place, what is not wanted. Mostly everything is, and then nothing
// moves.
func keep[T any](all []T, wanted func(*T) bool) []T {
	n := 0
	for i := range all {
		if !wanted(&all[i]) {
			continue
		}
		if n < i {
			all[n] = all[i]
		}
		n++
	}
	clear(all[n:])
	return all[:n]
}

// dropOldest removes the tombstone that ended first. It adds to gone what that ran on.
func (st *State) dropOldest(now Millis, gone []string) []string {
	oldest := -1
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if !s.Live(now) && (oldest < 0 || s.End() < st.Sessions[oldest].End()) {
			oldest = i
		}
	}
	if oldest >= 0 {
		st.leave(&st.Sessions[oldest])
		gone = st.Sessions[oldest].gone(gone)
		st.Sessions = slices.Delete(st.Sessions, oldest, oldest+1)
	}
	return gone
}
