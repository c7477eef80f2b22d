package presence

import (
	"cmp"
	"strings"
	"time"
)

// forever is the lease end of a session that lives by the heartbeats of its node.
const forever Millis = maxMillis

// A Session is what is known of one live or ended connection that its source can name.
type Session struct {
	Source Source
	ID     SessionID
	Node   NodeID // of which it is, empty for none; it hangs on it unless it is [Session.Leased]
	Device string

	Incarnation Millis // zero: the source does not name incarnations
	At          Millis // time of the greatest report, by the clock of the source
	Ahead       Millis // how far At was ahead of the receipt, see [Report].Ahead
	Seq         uint64 // see [Report].Seq
	Start       Millis // since when it has been open
	Until       Millis // lease end; forever while it hangs on Node
	Ended       bool   // its end was reported, not inferred
	// Of the end: as reported, or that of its node; a lease that ran out leaves it unknown.
	Cause Cause
	Hold  time.Duration

	Active Active // what the user does in it

	// Over is the end-all that ended it, zero when none did. It is derived, see [EndAll].
	Over EndAll
}

// clockStep is how far ahead of now a session's time must still be for a report of a right clock to
// count as later: the clock of the source was wrong and was put right.
const clockStep = Millis(time.Minute / time.Millisecond)

// Seen returns when the greatest report of s was true as far as this process knows: At, unless the
// source's clock is ahead.
func (s *Session) Seen() Millis { return s.At - s.Ahead }

// open reports whether no report says that s ended.
func (s *Session) open() bool { return !s.Ended && s.Over.At == 0 }

// Live reports whether s is open at now.
func (s *Session) Live(now Millis) bool { return s.open() && now < s.Until }

// overEarly reports whether an end-all ended s before its lease ran out.
func (s *Session) overEarly() bool { return s.Over.At != 0 && max(s.Over.seen(), s.Seen()) < s.Until }

// Outlives reports whether s is spared at now when its node is found lost, whose lease ended at at:
// the node reported s after that, and not longer than [NodeLease] ago.
func (s *Session) Outlives(at, now Millis) bool {
	return s.Seen() > at && now < s.Seen().Add(NodeLease)
}

// End returns when s ended, if it is not live: what the source said, or when its lease ran out.
func (s *Session) End() Millis {
	switch {
	case s.Ended:
		return s.Seen()
	case s.overEarly():
		return max(s.Over.seen(), s.Seen())
	}
	return s.Until
}

// sessionOf returns the session as r alone describes it.
func sessionOf(r *Report, lease time.Duration) Session {
	s := Session{
		Source: r.Source, ID: r.Session, Node: r.Node, Device: r.Device,
		Incarnation: r.Incarnation, At: r.At, Ahead: r.Ahead, Seq: r.Seq, Start: r.seen(), Hold: r.Hold,
		Active: activeOf(r),
	}
	for _, start := range [...]Millis{r.Incarnation, r.Start} {
		if start -= r.Ahead; start > 0 && start < s.Start {
			s.Start = start
		}
	}
	switch {
	case r.Kind == KindOffline:
		s.Ended, s.Until, s.Node, s.Cause = true, r.seen(), "", r.Cause
	case r.Node != "" && r.Lease == 0:
		s.Until = forever
	default:
		s.Until = r.seen().Add(lease)
	}
	return s
}

// EndCause returns why s ended, if it is not live.
func (s *Session) EndCause() Cause {
	switch {
	case s.overEarly():
		return s.Over.Cause
	case !s.Ended && s.Cause == CauseUnknown:
		return CauseExpired
	}
	return s.Cause
}

// ending returns when and why s ended, if it is not live.
func (s *Session) ending() ending {
	if s.overEarly() {
		return ending{s.End(), s.Over.Cause, s.Over.Hold}
	}
	return ending{s.End(), s.EndCause(), s.Hold}
}

// weigh orders two words about the same session: positive when n, the new one, is greater than what
// s holds.
//
// The order is (incarnation, time, the source's number, offline before online at a tie); within one
// named incarnation an offline is greater than any online. The time is that of the source, however
// wrong its clock. What follows after that only makes it total, so that the greatest of a set of
// reports does not depend on the order in which they came.
func (s *Session) weigh(n *Session) int {
	if c := cmp.Compare(n.Incarnation, s.Incarnation); c != 0 {
		return c
	}
	if s.Incarnation != 0 && n.Ended != s.Ended {
		return sign(n.Ended)
	}
	if c := cmp.Compare(n.At, s.At); c != 0 {
		return c
	}
	if c := cmp.Compare(n.Seq, s.Seq); c != 0 {
		return c
	}
	if n.Ended != s.Ended {
		return -sign(n.Ended)
	}
	if s.lapsed() && !n.Ended {
		return 0 // a repeated old report does not bring back a session of a dead node
	}
	if s.Until == forever && n.Leased() && n.Node == s.Node {
		return 0 // its node has sent a heartbeat since it was first reported
	}
	return cmp.Or(
		sign(n.Node != "")-sign(s.Node != ""), // its heartbeat makes it forever
		cmp.Compare(n.lease(), s.lease()),
		cmp.Compare(n.Cause, s.Cause),
		cmp.Compare(n.Hold, s.Hold),
		strings.Compare(string(n.Node), string(s.Node)),
		// Of one report received twice, the first receipt counts.
		cmp.Compare(max(n.Ahead, s.Ahead), s.Ahead),
	)
}

// lease returns how long s is live from when it was last seen; forever while its node sends
// heartbeats.
func (s *Session) lease() Millis {
	if s.Until == forever {
		return forever
	}
	return s.Until - s.Seen()
}

// lapsed reports whether s was open when its node was lost or drained.
func (s *Session) lapsed() bool { return !s.Ended && s.Cause != CauseUnknown }

// corrected reports whether n, received at now, comes of a right clock and was true after s was
// received, whose clock was ahead: that one was put right, since s is still far in the future, or n
// says that what hung on a lost node is there. Two clocks have no common order, so the receipt
// decides.
func (s *Session) corrected(n *Session, now Millis) bool {
	if s.Ahead == 0 || n.Ahead != 0 || n.At <= s.Seen() || s.At <= max(now, n.At)+clockStep && (!s.lapsed() || n.Ended) {
		return false
	}
	return s.Incarnation == 0 || n.Incarnation != s.Incarnation || n.Ended || !s.Ended
}

// merge takes n, received at now, into s and returns what became of it.
func (s *Session) merge(n *Session, now Millis) Verdict {
	active := s.latest(n)
	switch c := s.weigh(n); {
	case c < 0 && s.corrected(n, now):
		if n.Active.At != 0 {
			active = n.Active // by the clock that is right
		}
	case c <= 0 && active != s.Active:
		s.Active = active
		return Taken
	case c < 0:
		return Late
	case c == 0:
		return Double
	}
	if s.open() && n.Incarnation == s.Incarnation {
		n.Start = min(n.Start, s.Start) // the same run goes on, or ends
	}
	if n.Device == "" {
		n.Device = s.Device
	}
	*s = *n
	s.Active = active
	return Taken
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}
