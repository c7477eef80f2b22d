package presence

import (
	"strings"
	"time"
)

// forever is the lease end of a session whose node beats for it.
const forever Millis = maxMillis

// A Session is what is known of one live or ended connection that its source can name.
type Session struct {
	Source Source
	ID     SessionID
	Node   NodeID // empty: nobody beats for it
	Device string

	Incarnation Millis // zero: the source does not name incarnations
	At          Millis // time of the greatest report
	Start       Millis // since when it has been open
	Until       Millis // lease end; forever while Node beats
	Ended       bool   // its end was reported, not inferred
	Cause       Cause  // of the end, reported or inferred
	Hold        time.Duration
}

// Live reports whether s is open at now.
func (s *Session) Live(now Millis) bool { return !s.Ended && now < s.Until }

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
		Incarnation: r.Incarnation, At: at, Start: at, Cause: r.Cause, Hold: r.Hold,
	}
	if r.Incarnation > 0 && r.Incarnation < at {
		s.Start = r.Incarnation
	}
	switch {
	case r.Kind == KindOffline:
		s.Ended, s.Until, s.Node = true, at, ""
	case r.Node != "":
		s.Until = forever
	default:
		s.Until = at.Add(lease)
	}
	return s
}

// weigh orders two words about the same session: positive when n, the new one, is greater than what s holds.
//
// The order is (incarnation, time, offline before online, lease end, node); within one named incarnation an offline is greater than
// any online. It is total up to fields that only display, so the greatest of a set of reports does not depend on the
// order in which they came. design: "Session merge".
func (s *Session) weigh(n *Session) int {
	if c := compare(n.Incarnation, s.Incarnation); c != 0 {
		return c
	}
	if s.Incarnation != 0 && n.Ended != s.Ended {
		return sign(n.Ended)
	}
	if c := compare(n.At, s.At); c != 0 {
		return c
	}
	if n.Ended != s.Ended {
		return -sign(n.Ended)
	}
	if c := compare(n.Until, s.Until); c != 0 {
		return c
	}
	return strings.Compare(string(n.Node), string(s.Node))
}

// merge takes n into s and tells what became of it.
func (s *Session) merge(n *Session) Verdict {
	switch c := s.weigh(n); {
	case c < 0:
		return Late
	case c == 0:
		return Double
	}
	if !s.Ended && !n.Ended && n.Incarnation == s.Incarnation {
		n.Start = min(n.Start, s.Start) // the same run goes on
	}
	if n.Device == "" {
		n.Device = s.Device
	}
	*s = *n
	return Taken
}

func compare(a, b Millis) int {
	switch {
	case a > b:
		return 1
	case a < b:
		return -1
	}
	return 0
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}
