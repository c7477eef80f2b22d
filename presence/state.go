package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	// maxLive is how many sessions and slots one peer may have open; one more is refused with
	// [ErrFull].
	maxLive = 1024
	// maxTombstones is how many ended sessions are remembered, the latest first: a client that
	// reconnects every second under new session ids must not grow without end. A report later than
	// that many endings may be taken for news.
	maxTombstones = 64
	// maxConnections is how many of them are connections of the gateway that ended within
	// connectionMemory. Older ones are dropped, but for the latest: each names one connection and
	// is never used again, so a report of it that comes later was sent again.
	maxConnections   = 8
	connectionMemory = 10 * time.Minute
)

// State is all that is remembered of one peer. Stores keep it packed, see [State.Pack].
//
// What the reports say (Sessions, Slots) is kept apart from what follows from it at a given time
// (Status and its fields), so that an expiry is a conclusion that a newer report may overturn,
// never a report itself.
type State struct {
	Rev    uint64 // rises with every write; see [NextRev]
	Status Status
	Cause  Cause  // why it is offline
	Since  Millis // when it turned
	// LastSeen is the latest end of a session: its reported end, or its last sign of life when its
	// lease ran out. What an end-all has ended is not in it as long as a late report may say
	// otherwise, see [State.Summary].
	LastSeen Millis
	// While online: when the last lease runs out without another report; forever while its node
	// lives.
	Until Millis
	// Hold is how long after the peer turns offline watchers are notified; while online, after its
	// last lease runs out.
	Hold time.Duration
	Day  int32 // the last local day with an online report, in days since 1970

	// Days is how long it was online on the last days, in order, up to Counted; both only with
	// [Rules].OnlineTime. The time online that has not ended is not in it, see [State.OnlineTime].
	Days    []Day
	Counted Millis

	// Each is kept in order, so that the order in which reports came leaves no trace.
	Sessions []Session // by (source, id)
	EndAlls  []EndAll  // by (source, prefix)
	Slots    []Slot    // by (source, tag)
	// Deliveries that have been counted and are in no history, by (time, hash).
	Deliveries []Delivery
	Reached    Reaches
	// Missed: a device is forgotten that was not logged out, see [State.Reach].
	Missed bool
	Rest   []byte // sections of a later release, kept as they are

	Histories []History // by (source, tag); with [Rules].Replay only
	Replayed  Millis    // when a report last came late
}

// Effect is what a merge did to a state, and so what a store must do with it.
type Effect uint8

const (
	// Same: nothing to write.
	Same Effect = iota
	// Quiet: write the state; no answer changes but leases.
	Quiet
	// Shown: write the state and signal it: some answer changes.
	Shown
)

// NextRev returns the revision of a state written at now over one of revision old: it only rises,
// and starts at the store's time so that it rises over a store that came back empty or with an old
// copy.
func NextRev(old uint64, now Millis) uint64 { return max(old+1, uint64(now)) }

// Summary returns the part of st that answers questions.
func (st *State) Summary() Summary {
	s := Summary{
		Rev: st.Rev, Status: st.Status, Cause: st.Cause, Since: st.Since, LastSeen: st.LastSeen, Until: st.Until, Hold: st.Hold,
	}
	for i := range st.Sessions {
		ss := &st.Sessions[i]
		switch {
		case ss.overEarly():
			s.LastSeen = max(s.LastSeen, ss.End())
		case st.Status == Online && ss.open():
			s.LastSeen = max(s.LastSeen, ss.Seen())
			s.Noded = s.Noded || ss.Node != ""
		}
	}
	if st.Status == Offline && s.LastSeen == 0 && len(st.EndAlls) > 0 {
		s.LastSeen = st.Since // as long as nothing but an end-all is known
	}
	if st.Status == Online {
		for i := range st.Slots {
			s.LastSeen = max(s.LastSeen, st.Slots[i].At)
		}
	}
	return s
}

// Apply merges r and says what became of it and what the store must do; leases are judged at now. r
// must be valid and admitted, see [Rules.Admit]. A report that only a later release understands
// changes nothing. When it returns [Same], st is to be thrown away.
func (st *State) Apply(r *Report, now Millis, rules *Rules) (Outcome, Effect) {
	if !r.known() {
		return Outcome{Verdict: Ignored, Summary: st.Summary()}, Same
	}
	if r.Kind == KindReach { // it says nothing of whether the peer is online
		v, e := st.Reached.take(r), Same
		if v == Taken {
			e = Quiet
		}
		return Outcome{Verdict: v, Summary: st.Summary()}, e
	}
	lease := r.Lease
	if lease == 0 {
		lease = rules.Lease
	}
	var (
		v     Verdict
		quiet bool // nothing but leases and counts moved
		late  *recount
	)
	lapsed := st.Status == Online && now >= st.Until // and answered as offline since
	assumed := st.replaceAssumption()
	switch {
	case r.Kind == KindEndAll:
		v, quiet = st.applyEndAll(r, now, rules)
	case r.Kind == KindCount:
		v, quiet, late = st.applyCount(r, lease, now, rules)
	case r.Session == "":
		v, quiet, late = st.applySlot(r, lease, now, rules, assumed)
	default:
		v, quiet = st.applySession(r, lease, now, rules)
	}
	if v == Late && r.Session != "" && r.Kind != KindEndAll {
		e := st.late(r, rules)
		return Outcome{Verdict: v, Summary: st.Summary()}, e
	}
	if v != Taken && v != Swallowed {
		return Outcome{Verdict: v, Summary: st.Summary()}, Same
	}
	if r.present() && st.seenOn(r.seen(), rules) {
		quiet = false
	}
	if v == Taken && r.expired(now, lease) {
		v = Expired
	}
	was, since := st.Status, st.Since
	last := r
	if late != nil {
		last, quiet = &late.last, false
	}
	turned := st.conclude(now, last)
	if late != nil {
		st.amend(late, turned, now, rules)
	}
	st.countOnline(was, since, rules)
	st.prune(now, rules)
	e := Shown
	if quiet && !turned && !lapsed {
		e = Quiet
	}
	return Outcome{Verdict: v, Turned: turned, Fresh: was == Unknown && turned, Summary: st.Summary()}, e
}

// late takes from a report about a run that a newer word has replaced what holds all the same: an
// end is an end, and the peer was there on that day.
func (st *State) late(r *Report, rules *Rules) Effect {
	switch {
	case r.Kind != KindOffline && st.seenOn(r.seen(), rules):
		return Shown
	case r.Kind != KindOffline || r.seen() <= st.LastSeen:
		return Same
	}
	st.LastSeen = r.seen()
	if st.Status == Online {
		return Quiet
	}
	return Shown
}

// seenOn notes that the peer was online at at; it reports whether that is a later day than was
// known.
func (st *State) seenOn(at Millis, rules *Rules) bool {
	day := dayOf(at, rules)
	if day <= st.Day {
		return false
	}
	st.Day = day
	return true
}

func (st *State) applySession(r *Report, lease time.Duration, now Millis, rules *Rules) (v Verdict, quiet bool) {
	hash := deliveryHash(r)
	if hash != 0 && st.saw(hash) {
		return Double, false
	}
	n := sessionOf(r, lease)
	i, found := slices.BinarySearchFunc(st.Sessions, &n, func(s Session, n *Session) int {
		return cmp.Or(strings.Compare(string(s.Source), string(n.Source)), strings.Compare(string(s.ID), string(n.ID)))
	})
	if rules.stale(r, now) && (!found || !st.Sessions[i].Live(now)) {
		return Stale, false
	}
	if found {
		s := &st.Sessions[i]
		was, node := s.Live(now), s.Node
		v = s.merge(&n, now)
		if st.over(s); v == Late && rules.stale(r, now) {
			v = Stale
		}
		if hash != 0 && v == Taken {
			st.see(hash, r.At)
		}
		quiet = was && s.Live(now) && s.Node == node
		return v, !st.replaceFound(r, now) && quiet
	}
	if !n.Ended && st.open(now) >= maxLive {
		return Full, false
	}
	st.over(&n)
	st.Sessions = slices.Insert(st.Sessions, i, n)
	if hash != 0 {
		st.see(hash, r.At)
	}
	st.replaceFound(r, now)
	return Taken, false
}

// open returns how many sessions and slots are live at now.
func (st *State) open(now Millis) int {
	n := 0
	for i := range st.Sessions {
		if st.Sessions[i].Live(now) {
			n++
		}
	}
	for i := range st.Slots {
		if st.Slots[i].Live(now) {
			n++
		}
	}
	return n
}

// Expire draws the conclusions of time alone: leases that have run out by now, and the end of the
// memory of an offline peer. Stores call it for the peers that are due. It returns Same when
// nothing was due.
func (st *State) Expire(now Millis, rules *Rules) (Outcome, Effect) {
	turned := false
	var of Source
	if st.Status == Online {
		since, until, hold := st.Since, st.Until, st.Hold
		of = leasedBy(st, until)
		if turned = st.conclude(now, nil); turned {
			// As Summary.At has answered since the lease ran out.
			st.Cause, st.Since, st.Hold = CauseExpired, until, hold
			st.countOnline(Online, since, rules)
		}
	}
	turned = st.forget(now, rules) || turned
	pruned := st.prune(now, rules)
	o := Outcome{Verdict: Taken, Turned: turned, Source: of, Summary: st.Summary()}
	switch {
	case turned:
		return o, Shown
	case pruned:
		return o, Quiet
	}
	return o, Same
}

// leasedBy returns the source of an open session or slot whose lease ends at until.
func leasedBy(st *State, until Millis) Source {
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.open() && s.Until == until {
			return s.Source
		}
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.open() && s.Until == until {
			return s.Source
		}
	}
	return ""
}

// EndNode ends the sessions that hang on a lost node. They end when its lease ran out, and the last
// heartbeat is the last sign of life of each.
//
// A session that [Session.Outlives] it is spared: the caller may have found the node lost just
// before the node woke from a pause and reported its sessions again.
func (st *State) EndNode(l LostNode, now Millis, rules *Rules) (Outcome, Effect) {
	hit := false
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Node == l.Node && s.open() && !s.Outlives(l.At, now) {
			hit = true
			if s.Until < l.At { // its own lease had run out before
				s.Node = ""
				continue
			}
			// Not an end that anybody reported: the session lapses, and a newer word from a node
			// that lives opens it again.
			s.Node, s.Until, s.Cause = "", max(l.At, s.Seen()), l.Cause()
			st.LastSeen = max(st.LastSeen, min(l.Seen, s.Until))
		}
	}
	if !hit {
		return Outcome{Verdict: Double, Summary: st.Summary()}, Same
	}
	was, since := st.Status, st.Since
	turned := st.conclude(now, nil)
	st.countOnline(was, since, rules)
	return Outcome{Verdict: Taken, Turned: turned, Summary: st.Summary()}, Shown
}

// Deadline returns the earliest time at which [State.Expire] has something to do, or 0 when it
// never has: the end of the earliest lease that runs, or the end of the memory of an offline peer.
func (st *State) Deadline(rules *Rules) Millis {
	if st.Status == Offline {
		return st.Since.Add(rules.OfflineMemory)
	}
	if st.Status == Unknown {
		return st.Reached.until()
	}
	if st.Until == forever {
		// A lapsed session beside one of a live node turns nothing; it is pruned with the next
		// write.
		return 0
	}
	return st.Until
}

// On reports whether st is online and has a session of node, which ends with it.
func (st *State) On(node NodeID) bool {
	if st.Status != Online {
		return false
	}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Node == node && s.open() {
			return true
		}
	}
	return false
}

func dayOf(at Millis, rules *Rules) int32 {
	return int32(at.Add(rules.DayOffset) / Millis(24*time.Hour/time.Millisecond))
}
