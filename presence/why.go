package presence

import (
	"fmt"
	"slices"
	"time"
)

// An Explanation is all that is known of one peer, and why it is shown as it is.
type Explanation struct {
	Summary  Summary
	Sessions []Session
	Slots    []Slot // as the next report will find them
	Leases   Millis // the time by which leases are judged; not now while they stand still
	// Held is when watchers are notified that the peer is offline; zero when they have been, or
	// when nothing is held.
	Held    Millis
	Reports []Traced // the last that this process has received, the latest first
	Days    []Day    // see [State.OnlineTime]
	Why     string   // one sentence
}

// explained is how many of the last reports an explanation shows.
const explained = 16

// Explain explains what is shown of key, whose state is st, at now.
func (s *Service) Explain(key Key, st *State, now Millis) Explanation {
	leases := s.Leases(now)
	e := Explanation{
		Summary: st.Summary().At(leases, s.Rules()), Sessions: slices.Clone(st.Sessions), Slots: slices.Clone(st.Slots),
		Leases: leases, Reports: s.trace.Last(key, explained),
		Days: st.OnlineTime(leases, s.Rules()),
	}
	for i := range e.Slots {
		e.Slots[i].settle(now, leases, s.Rules())
	}
	if held := e.Summary.Since.Add(e.Summary.Hold); e.Summary.Status == Offline && now < held {
		e.Held = held
	}
	e.Why = e.sentence(now)
	return e
}

// sentence returns the reason in one sentence.
func (e *Explanation) sentence(now Millis) string {
	var why string
	switch e.Summary.Status {
	case Online:
		why = "online because " + e.reason(now)
	case Offline:
		reason := offlineReasons[min(e.Summary.Cause, causes-1)]
		if e.Summary.LastSeen == 0 { // all that is reported has been seen, see AssumeOffline
			reason = "a program other than rollcall wrote this to the store"
		}
		why = fmt.Sprintf("offline since %s because %s", clock(e.Summary.Since), reason)
	default:
		return "unknown: never reported, or offline longer than offline_memory"
	}
	if e.Held != 0 {
		why += fmt.Sprintf("; watchers are notified in %s", spell(e.Held.Sub(now)))
	}
	if e.Leases != now {
		why += fmt.Sprintf("; leases stand still as of %s", clock(e.Leases))
	}
	return why
}

// reason names the session or slot whose lease runs out last, and how many others there are.
func (e *Explanation) reason(now Millis) string {
	var (
		until  Millis
		reason string
		others = -1
	)
	consider := func(u Millis, say func() string) {
		others++
		if u > until {
			until, reason = u, say()
		}
	}
	for i := range e.Sessions {
		if s := &e.Sessions[i]; s.Live(e.Leases) {
			consider(s.Until, func() string { return s.reason(e.Leases, now) })
		}
	}
	for i := range e.Slots {
		if s := &e.Slots[i]; s.Live(e.Leases) {
			consider(s.Until, func() string { return s.reason(e.Leases, now) })
		}
	}
	switch {
	case others == 1:
		reason += "; 1 other is open"
	case others > 1:
		reason += fmt.Sprintf("; %d others are open", others)
	}
	return reason
}

func (s *Session) reason(leases, now Millis) string {
	if s.Leased() {
		return fmt.Sprintf("session %.40q from %s was last reported %s ago and its lease runs %s more, since node %.40q has sent no heartbeat",
			s.ID, s.Source, spell(now.Sub(s.At)), spell(s.Until.Sub(leases)), s.Node)
	}
	if s.Node != "" {
		return fmt.Sprintf("session %.40q from %s is open on node %.40q and lives by the lease of that node", s.ID, s.Source, s.Node)
	}
	return fmt.Sprintf("session %.40q from %s was last reported %s ago and its lease runs %s more",
		s.ID, s.Source, spell(now.Sub(s.Seen())), spell(s.Until.Sub(leases)))
}

func (s *Slot) reason(leases, now Millis) string {
	if s.Assumed() {
		return fmt.Sprintf("a program other than rollcall wrote this to the store and no report has come; this is assumed until the first report, at most %s more",
			spell(s.Until.Sub(leases)))
	}
	if s.Answered {
		return fmt.Sprintf("%s was asked %s ago and held it, and no hook has come since; the lease runs %s more",
			s.Source, spell(now.Sub(s.At)), spell(s.Until.Sub(leases)))
	}
	whose := "hooks without a tag"
	if s.Tag != "" {
		whose = fmt.Sprintf("hooks with tag %.40q", s.Tag)
	}
	what := "one session is open"
	if n := s.Count(leases); n > 1 {
		what = fmt.Sprintf("%d sessions are open", n)
	}
	return fmt.Sprintf("by %s from %s %s; the last hook came %s ago and the lease runs %s more",
		whose, s.Source, what, spell(now.Sub(s.At)), spell(s.Until.Sub(leases)))
}

var offlineReasons = [causes]string{
	CauseUnknown:    "its source reported the end without a cause",
	CauseLogout:     "the last end that was reported is a logout",
	CauseLost:       "the connection was lost",
	CauseKicked:     "it was closed by a caller with the right to",
	CauseReplaced:   "a newer login took its place, and ended",
	CauseExpired:    "its lease ran out without another report",
	CauseNodeLost:   "the node that held it was lost",
	CauseDrained:    "the node that held it was shut down, and it did not come back in time",
	CauseReconciled: "its source was asked then, and did not hold it",
}

// clock writes m for people.
func clock(m Millis) string { return m.Time().Format("2006-01-02 15:04:05Z") }

// spell writes d for people, in its two greatest units.
func spell(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
