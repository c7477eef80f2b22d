package presence

import (
	"cmp"
	"slices"
	"time"
)

// Asked is one question to a product that can be asked who is online. What it answers of a peer
// becomes reports by [Asked.Reports].
type Asked struct {
	App    AppID
	Source Source
	At     Millis // when it was asked
	// Date is when the product answered by its own clock; zero when it does not say.
	Date Millis
	// Quiet is how old the answer may be, and how late the events of the product.
	Quiet time.Duration
	// Counted says that the events of the product name no sessions.
	Counted bool
	Policy  Policy
	Lease   time.Duration // of what is found online; zero takes the default of [Rules]
}

// Found is what a product said of one peer.
type Found struct {
	Online bool
	// Listed says that Sessions are all sessions of the peer, by the ids that the events of the
	// product give them. Else the product said no more than yes or no.
	Listed   bool
	Sessions []FoundSession
}

// A FoundSession is one session in the answer of a product.
type FoundSession struct {
	ID       SessionID
	Platform string
	Since    Millis // zero when the product does not say
	// Incarnation is that of its events; zero when they have none.
	Incarnation Millis
}

// A Finding is what an answer comes to beside what is known.
type Finding uint8

const (
	// FindingAgrees: nothing changes but leases.
	FindingAgrees Finding = iota
	// FindingGhost: the source is shown to hold the peer, and does not.
	FindingGhost
	// FindingMissed: the source holds the peer, and is not shown to.
	FindingMissed
	// FindingSessions: the source holds the peer as it is shown to, by other sessions.
	FindingSessions
	// FindingUnsure: the source has reported of the peer so lately that the answer may be older.
	FindingUnsure
	findings
)

func (f Finding) String() string {
	if f >= findings {
		return "none"
	}
	return [...]string{"agrees", "ghost", "missed", "sessions", "unsure"}[f]
}

// SessionFound is the id of the session that stands for what a product holds when its events name
// sessions and its answers do not. It gives way to the next report about another session of the
// source, which may be the one that was found.
const SessionFound SessionID = "!found"

// Reports returns the reports that f, the answer to a, makes of what st knows of peer, and what it
// comes to; leases are judged at now. st is not changed. The reports of an answer are merged in one
// call in their order, however late and whatever was merged meanwhile: what a source reports since
// counts. They are given to [Service.Report], not to an intake: they are no heartbeats.
//
// A [FindingGhost] takes a second answer, at least as much later as events may be late, and so does
// a [FindingSessions] of a source that is counted: the end of a session that is counted no more may
// be on its way, and would be counted again.
//
// With sessions that have names, an answer is a snapshot as of a time before which all events have
// come: each session that it lists is still there at that time, and all others whose last report is
// older have ended then. Without names it is a [KindCount].
func (a *Asked) Reports(peer PeerID, f *Found, st *State, now Millis, rules *Rules) ([]Report, Finding) {
	slots := slices.ContainsFunc(st.Slots, func(s Slot) bool { return s.Source == a.Source && s.Live(now) })
	sessions := slices.ContainsFunc(st.Sessions, func(s Session) bool { return s.Source == a.Source && s.Live(now) })
	switch {
	case a.Counted && (f.Online || !sessions), slots && !sessions:
		return a.count(peer, f, st, now, rules)
	case f.Online || !slots:
		return a.snapshot(peer, f, st, now, rules)
	}
	// Some of its events name sessions, and some do not.
	counts, c := a.count(peer, f, st, now, rules)
	reports, s := a.snapshot(peer, f, st, now, rules)
	if c != s {
		s = FindingSessions // the source is still shown to hold the peer
	}
	return append(reports, counts...), s
}

// snapshot is Reports for a source whose events name sessions.
func (a *Asked) snapshot(peer PeerID, f *Found, st *State, now Millis, rules *Rules) ([]Report, Finding) {
	at := a.At
	if a.Date != 0 {
		at = min(at, a.Date)
	}
	s := snapshot{asked: a, peer: peer, at: at.Add(-a.Quiet), st: st, now: now, lease: a.Lease}
	if s.lease == 0 {
		s.lease = rules.Lease
	}
	for i := range st.Sessions {
		if one := &st.Sessions[i]; one.Source == a.Source && one.Live(now) {
			s.live = append(s.live, one)
		}
	}
	switch {
	case !f.Online:
		return s.offline()
	case !f.Listed || len(f.Sessions) == 0:
		return s.online()
	}
	return s.listed(f.Sessions)
}

// report returns a report about peer as of at.
func (a *Asked) report(kind Kind, peer PeerID, at Millis) Report {
	return Report{App: a.App, Peer: peer, Source: a.Source, Kind: kind, At: at, Cause: CauseReconciled}
}

// count is Reports for a source whose events name no sessions.
func (a *Asked) count(peer PeerID, f *Found, st *State, now Millis, rules *Rules) ([]Report, Finding) {
	r := a.report(KindCount, peer, a.At)
	r.Policy, r.Quiet, r.Lease = a.Policy, min(max(a.Quiet, DefaultQuiet), MaxQuiet), a.Lease
	if r.Count = CountUnknown; !f.Online {
		r.Count = 0
	} else if f.Listed && len(f.Sessions) > 0 {
		r.Count = len(f.Sessions)
	}
	open := func(st *State) (n int) {
		for i := range st.Slots {
			if s := &st.Slots[i]; s.Source == a.Source {
				n += s.Count(now)
			}
		}
		return n
	}
	after := st.clone()
	o, e := after.Apply(&r, now, rules)
	was, is := open(st), open(&after)
	switch {
	case o.Verdict == Unsure:
		return nil, FindingUnsure
	case e == Same:
		return nil, FindingAgrees
	case was > 0 && is == 0:
		return []Report{r}, FindingGhost
	case was == 0 && is > 0:
		return []Report{r}, FindingMissed
	case was == is:
		return []Report{r}, FindingAgrees // with a longer lease
	}
	return []Report{r}, FindingSessions
}

// A snapshot is an answer of a source whose events name sessions.
type snapshot struct {
	asked *Asked
	peer  PeerID
	at    Millis // as of which it is true
	st    *State
	now   Millis
	lease time.Duration
	live  []*Session // of the source
}

// touch returns a report that one is still there.
func (s *snapshot) touch(one *Session) Report {
	r := s.asked.report(KindTouch, s.peer, s.at)
	r.Session, r.Device, r.Incarnation, r.Node, r.Hold = one.ID, one.Device, one.Incarnation, one.Node, one.Hold
	if one.Until != forever {
		r.Lease = s.lease
	}
	return r
}

// aging reports whether half of the lease of one is over.
func (s *snapshot) aging(one *Session) bool {
	return one.At < s.at && one.Until < s.at.Add(s.lease-s.lease/2)
}

func (s *snapshot) endAll() Report { return s.asked.report(KindEndAll, s.peer, s.at) }

// older reports whether a live session has no report since the snapshot.
func (s *snapshot) older(one *Session) bool { return one.At < s.at }

// offline is the answer that there is no session.
func (s *snapshot) offline() ([]Report, Finding) {
	switch {
	case len(s.live) == 0:
		return nil, FindingAgrees
	case !slices.ContainsFunc(s.live, s.older):
		return nil, FindingUnsure
	case slices.ContainsFunc(s.live, func(one *Session) bool { return !s.older(one) }):
		return []Report{s.endAll()}, FindingSessions
	}
	return []Report{s.endAll()}, FindingGhost
}

// online is the answer that there is some session. Of several that are shown the one with the
// longest lease is kept: which of them it is, is not known.
func (s *snapshot) online() ([]Report, Finding) {
	if len(s.live) > 0 {
		best := slices.MaxFunc(s.live, func(a, b *Session) int { return cmp.Compare(a.Until, b.Until) })
		if s.aging(best) {
			return []Report{s.touch(best)}, FindingAgrees
		}
		return nil, FindingAgrees
	}
	for i := range s.st.Sessions {
		if one := &s.st.Sessions[i]; one.Source == s.asked.Source && s.newer(one) {
			return nil, FindingUnsure
		}
	}
	if s.ended(SessionFound) {
		return nil, FindingUnsure
	}
	r := s.asked.report(KindOnline, s.peer, s.at)
	r.Session, r.Lease = SessionFound, s.lease
	return []Report{r}, FindingMissed
}

// newer reports whether something has come about one since the snapshot.
func (s *snapshot) newer(one *Session) bool { return one.At >= s.at || s.ended(one.ID) }

// overFound derives whether what an answer found, s, gives way to a later report about another
// session of its source, among all.
func overFound(s *Session, all []Session) {
	for i := range all {
		o := &all[i]
		if o.Source != s.Source || o.ID == SessionFound || o.At <= s.At {
			continue
		}
		e := EndAll{Source: s.Source, Prefix: SessionFound, At: o.At, Ahead: o.Ahead, Cause: CauseReplaced, Hold: o.Hold}
		if o.Ended {
			e.Cause = o.Cause
		}
		if s.Over.At == 0 || e.weigh(&s.Over) > 0 {
			s.Over = e
		}
	}
}

// replaceFound has what an answer found give way to a report that was taken; it reports whether
// that changed whether it is live.
func (st *State) replaceFound(r *Report, now Millis) bool {
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.ID == SessionFound && s.Source == r.Source {
			was := s.Live(now)
			st.over(s)
			return was != s.Live(now)
		}
	}
	return false
}

// ended reports whether an end-all since the snapshot ends a session with id.
func (s *snapshot) ended(id SessionID) bool {
	return slices.ContainsFunc(s.st.EndAlls, func(e EndAll) bool { return e.At > s.at && e.spans(s.asked.Source, id) })
}

// listed is the answer that there are just these sessions.
func (s *snapshot) listed(sessions []FoundSession) (reports []Report, f Finding) {
	var missed, unsure, aging bool
	held := map[SessionID]bool{}
	for i := range sessions {
		n := &sessions[i]
		held[n.ID] = true
		at := slices.IndexFunc(s.st.Sessions, func(o Session) bool { return o.Source == s.asked.Source && o.ID == n.ID })
		switch {
		case at >= 0 && s.st.Sessions[at].Live(s.now):
			one := &s.st.Sessions[at]
			aging = aging || s.aging(one)
			if s.older(one) {
				reports = append(reports, s.touch(one))
			}
		case at >= 0 && s.newer(&s.st.Sessions[at]) || s.ended(n.ID):
			unsure = true
		default:
			if r := s.missed(n, at); r.Validate() == nil { // else its events are refused, too
				missed = true
				reports = append(reports, r)
			}
		}
	}
	gone := slices.ContainsFunc(s.live, func(one *Session) bool { return s.older(one) && !held[one.ID] })
	switch {
	case gone:
		reports = append(reports, s.endAll())
	case !missed && !aging:
		reports = nil
	}
	switch {
	case len(s.live) == 0 && missed:
		return reports, FindingMissed
	case len(s.live) == 0 && unsure:
		return nil, FindingUnsure
	case missed || gone:
		return reports, FindingSessions
	}
	return reports, FindingAgrees
}

// missed returns a report that n is there, of which nothing is known, or at place at that it ended.
// Its incarnation is then a later one than what ended.
func (s *snapshot) missed(n *FoundSession, at int) Report {
	r := s.asked.report(KindTouch, s.peer, s.at)
	r.Session, r.Device, r.Lease, r.Start, r.Incarnation = n.ID, n.Platform, s.lease, max(n.Since, 0), max(n.Incarnation, 0)
	if at >= 0 {
		if was := s.st.Sessions[at].Incarnation; was != 0 && s.st.Sessions[at].Ended {
			r.Incarnation = max(r.Incarnation, was+1)
		}
	}
	return r
}
