package presence

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// maxEndAlls is how many end-alls one peer keeps. What the oldest one beyond them ended stays
// ended, but a report of it that comes late may open it again.
const maxEndAlls = 8

// An EndAll is one report that ends many sessions: those of its source whose ids begin with Prefix
// and whose greatest report is older than At. At a tie the session is open.
//
// It is kept beside the sessions, and what it ends is derived whenever they are judged. So the
// state is the greatest report of each session and the greatest end-all of each prefix, and reports
// may come in any order, twice and apart: a session that is reported late finds the end-all, and
// one that turns out to be newer was never ended. docs/decisions/0115 says why.
type EndAll struct {
	Source Source
	Prefix SessionID // empty: every session of Source
	At     Millis    // by the clock of the source
	Ahead  Millis    // how far At was ahead of the receipt, see [Report].Ahead
	Cause  Cause
	Hold   time.Duration
}

func endAllOf(r *Report) EndAll {
	return EndAll{Source: r.Source, Prefix: r.Session, At: r.At, Ahead: r.Ahead, Cause: r.Cause, Hold: r.Hold}
}

// seen returns when e was true as far as this process knows, as [Session.Seen].
func (e *EndAll) seen() Millis { return e.At - e.Ahead }

// ending returns when and why the sessions end.
func (e *EndAll) ending() ending { return ending{e.seen(), e.Cause, e.Hold} }

// weigh orders end-alls, in full so that the order of arrival decides nothing.
func (e *EndAll) weigh(o *EndAll) int {
	return cmp.Or(
		cmp.Compare(e.At, o.At), cmp.Compare(e.Cause, o.Cause), cmp.Compare(e.Hold, o.Hold),
		// Of one report received twice, the first receipt counts.
		cmp.Compare(e.Ahead, o.Ahead),
	)
}

// spans reports whether a session of source with id is among those that e speaks of.
func (e *EndAll) spans(source Source, id SessionID) bool {
	return e.Source == source && strings.HasPrefix(string(id), string(e.Prefix))
}

// ends reports whether e ends s.
func (e *EndAll) ends(s *Session) bool {
	return s.At < e.At && !e.corrected(s) && e.spans(s.Source, s.ID)
}

// corrected reports whether s comes of a right clock and was true after e was received, whose clock
// was far ahead, as [Session.corrected]: without it the peer could not come back until that time.
// It does not look at the time now, so that the order of arrival decides nothing.
func (e *EndAll) corrected(s *Session) bool {
	return e.Ahead != 0 && s.Ahead == 0 && s.At > e.seen() && e.At > s.At+clockStep
}

// covers reports whether o says nothing that e does not say.
func (e *EndAll) covers(o *EndAll) bool { return e.spans(o.Source, o.Prefix) && e.weigh(o) >= 0 }

// applyEndAll merges an end-all, leases are judged at now. quiet: no answer changes by it.
func (st *State) applyEndAll(r *Report, now Millis, rules *Rules) (v Verdict, quiet bool) {
	hash := deliveryHash(r)
	if hash != 0 && st.saw(hash) {
		return Double, false
	}
	n := endAllOf(r)
	for i := range st.EndAlls {
		if o := &st.EndAlls[i]; *o == n {
			return Double, false
		} else if o.covers(&n) {
			return Late, false
		}
	}
	open := 0
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(now) && n.ends(s) {
			open++
		}
	}
	if rules.stale(r, now) && open == 0 {
		return Stale, false
	}
	if hash != 0 {
		st.see(hash, r.At)
	}
	st.EndAlls = keep(st.EndAlls, func(o *EndAll) bool { return !n.covers(o) })
	i, _ := slices.BinarySearchFunc(st.EndAlls, &n, func(o EndAll, n *EndAll) int {
		return cmp.Or(strings.Compare(string(o.Source), string(n.Source)), strings.Compare(string(o.Prefix), string(n.Prefix)))
	})
	st.EndAlls = slices.Insert(st.EndAlls, i, n)
	for len(st.EndAlls) > maxEndAlls {
		st.writeOldestEndAll()
	}
	st.overAll()
	return Taken, open == 0 && st.Status != Unknown
}

// overAll derives which sessions the end-alls have ended.
func (st *State) overAll() {
	for i := range st.Sessions {
		st.over(&st.Sessions[i])
	}
}

// over derives whether an end-all has ended s: the greatest of those that do says when and why.
func (st *State) over(s *Session) {
	s.Over = EndAll{}
	if s.Ended {
		return
	}
	for i := range st.EndAlls {
		if e := &st.EndAlls[i]; e.ends(s) && (s.Over.At == 0 || e.weigh(&s.Over) > 0) {
			s.Over = *e
		}
	}
	if s.ID == SessionFound {
		overFound(s, st.Sessions)
	}
}

// writeOldestEndAll drops the end-all that is the least, and has what it ended lapse.
func (st *State) writeOldestEndAll() {
	least := 0
	for i := range st.EndAlls {
		if st.EndAlls[i].weigh(&st.EndAlls[least]) < 0 {
			least = i
		}
	}
	e := st.EndAlls[least]
	for i := range st.Sessions {
		if s := &st.Sessions[i]; !s.Ended && e.ends(s) {
			if end := e.ending(); end.at < s.Until {
				st.leave(s)
				s.Node, s.Until, s.Cause, s.Hold = "", end.at, end.cause, end.hold
			}
		}
	}
	st.EndAlls = slices.Delete(st.EndAlls, least, least+1)
}

// leave notes when s was last seen before it, or what ended it, is forgotten.
func (st *State) leave(s *Session) {
	if s.overEarly() {
		st.LastSeen = max(st.LastSeen, s.End())
	}
}

// pruneEndAlls drops end-alls that are as old as forgotten sessions. One that a session is still
// ended by stays as long as that.
func (st *State) pruneEndAlls(old Millis) {
	before := len(st.EndAlls)
	st.EndAlls = keep(st.EndAlls, func(e *EndAll) bool {
		return e.seen() > old || slices.ContainsFunc(st.Sessions, func(s Session) bool { return !s.Ended && e.ends(&s) })
	})
	if len(st.EndAlls) == before {
		return
	}
	if st.Status == Offline && st.LastSeen == 0 {
		st.LastSeen = st.Since // it stays what it was shown as, and no assumption
	}
	st.overAll()
}

func (st *State) packEndAlls(b []byte) []byte {
	b = appendMillis(b, st.LastSeen, st.Since)
	for i := range st.EndAlls {
		e := &st.EndAlls[i]
		b = appendString(appendSource(b, e.Source), string(e.Prefix))
		b = binary.AppendUvarint(appendMillis(b, e.At, st.Since), uint64(e.Ahead))
		b = binary.AppendUvarint(append(b, byte(e.Cause)), uint64(e.Hold/time.Millisecond))
	}
	return b
}

func (r *unpacker) endAlls(st *State) {
	st.LastSeen = r.millis()
	for r.left() > 0 && !r.bad {
		e := EndAll{Source: r.source(), Prefix: SessionID(r.string()), At: r.millis(), Ahead: Millis(r.uvarint()), Cause: r.cause(), Hold: r.duration()}
		if e.Ahead < 0 || e.Ahead > maxMillis {
			r.fail()
		}
		st.EndAlls = append(st.EndAlls, e)
	}
}
