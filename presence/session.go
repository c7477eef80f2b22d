package presence

import (
	"cmp"
	"strings"
	"time"
)

// forever is the lease end of a session whose node beats for it.
const forever Millis = maxMillis

// A Session is what is known of one live or ended connection that its source can name.
type Session struct {
	Source Source
	ID     SessionID
	Node   NodeID // of which it is, empty for none; it hangs on it unless it is [Session.Leased]
	Device string

	Incarnation Millis // zero: the source does not name incarnations
	At          Millis // time of the greatest report
	Start       Millis // since when it has been open
	Until       Millis // lease end; forever while it hangs on Node
	Ended       bool   // its end was reported, not inferred
	Cause       Cause  // of the end: as reported, or that of its node; a lease that ran out leaves it unknown
	Hold        time.Duration
}

// Live reports whether s is open at now.
func (s *Session) Live(now Millis) bool { return !s.Ended && now < s.Until }

// Outlives reports whether s is spared at now when its node is found lost, whose lease ended at at: the node told s after
// that, and not longer than [NodeLease] ago.
func (s *Session) Outlives(at, now Millis) bool { return s.At > at && now < s.At.Add(NodeLease) }

// end returns when s ended: what the source said, or when its lease ran out.
func (s *Session) end() Millis {
	if s.Ended {
		return s.At
	}
	return s.Until
}

// sessionOf returns the session as r alone tells it.
func sessionOf(r *Report, at Millis, lease time.Duration) Session {
	s := Session{
		Source: r.Source, ID: r.Session, Node: r.Node, Device: r.Device,
		Incarnation: r.Incarnation, At: at, Start: at, Hold: r.Hold,
	}
	for _, start := range [...]Millis{r.Incarnation, r.Start} {
		if start > 0 && start < s.Start {
			s.Start = start
		}
	}
	switch {
	case r.Kind == KindOffline:
		s.Ended, s.Until, s.Node, s.Cause = true, at, "", r.Cause
	case r.Node != "" && r.Lease == 0:
		s.Until = forever
	default:
		s.Until = at.Add(lease)
	}
	return s
}

// EndCause returns why s ended, if it is not live.
func (s *Session) EndCause() Cause {
	if !s.Ended && s.Cause == CauseUnknown {
		return CauseExpired
	}
	return s.Cause
}

// ending returns when and why s ended, if it is not live.
func (s *Session) ending() ending { return ending{s.end(), s.EndCause(), s.Hold} }

// weigh orders two words about the same session: positive when n, the new one, is greater than what s holds.
//
// The order is (incarnation, time, offline before online at a tie); within one named incarnation an offline is greater
// than any online. What follows after that only makes it total, so that the greatest of a set of reports does not depend
// on the order in which they came.
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
	if n.Ended != s.Ended {
		return -sign(n.Ended)
	}
	if s.lapsed() && !n.Ended {
		return 0 // an old word, told again, does not bring back what hung on a dead node
	}
	if s.Until == forever && n.Leased() && n.Node == s.Node {
		return 0 // its node has sent a heartbeat since it was first reported
	}
	return cmp.Or(
		cmp.Compare(n.Until, s.Until),
		cmp.Compare(n.Cause, s.Cause),
		cmp.Compare(n.Hold, s.Hold),
		strings.Compare(string(n.Node), string(s.Node)),
	)
}

// lapsed reports whether s was open when its node was lost or drained.
func (s *Session) lapsed() bool { return !s.Ended && s.Cause != CauseUnknown }

// merge takes n into s and tells what became of it.
func (s *Session) merge(n *Session) Verdict {
	switch c := s.weigh(n); {
	case c < 0:
		return Late
	case c == 0:
		return Double
	}
	if !s.Ended && n.Incarnation == s.Incarnation {
		n.Start = min(n.Start, s.Start) // the same run goes on, or ends
	}
	if n.Device == "" {
		n.Device = s.Device
	}
	*s = *n
	return Taken
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}
