package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Slot counts the sessions of a source that can name neither them nor their times: hooks of which
// only the order of arrival is known, and that order proves nothing. Two histories with the same
// hooks within the reorder window look the same, so a right rule must not depend on their order;
// the sum does not. docs/decisions/0002 has the rule in full.
//
// What follows from time alone (early marks forgotten, extra sessions given up, a burst closed) is
// drawn when the next report comes and never takes the slot offline, so it needs no timer; only the
// lease does that.
type Slot struct {
	Source Source
	Tag    string // "" any number of devices; else one

	// Open is logins less logouts. In a burst of a tagged slot it may fall below zero until the
	// logins arrive.
	Open  int
	At    Millis // last hook
	Start Millis // since when it has been live
	Until Millis // lease end

	// Early are the times of logouts that found nothing open, oldest first: each swallows a login
	// that follows within the reorder window.
	Early []Millis
	// Extra are the sessions beyond the known number of devices, oldest first. Each is owed a
	// logout.
	Extra []Extra

	Devices int    // the known number of devices; 0 is 1
	Reached Millis // when that many were last open together
	// Lost is how many extra sessions were given up as lost logouts, lately at LostAt. A logout
	// that finds nothing open then proves that one of them was another device.
	Lost   int
	LostAt Millis

	Burst Burst // of a tagged slot

	// Answered says that an answer of the product opened the untagged slot, and no hook has come
	// since. The session may be one of another slot, see [State.replaceAnswer].
	Answered bool
}

// Extra is a number of sessions beyond the known number of devices.
type Extra struct {
	At Millis // since when
	N  int
}

// Burst is what Open does not hold of the reports of a tagged slot that followed one another
// within the reorder window.
type Burst struct {
	Replaced bool // a session was ended by a newer login
	Ended    bool // a session ended otherwise
	Opened   bool // something was open or opened
	Again    int  // automatic logins
}

const (
	maxEarly = 64 // a storm of logouts is not remembered beyond this
	maxExtra = 64 // more are kept as one
	maxOpen  = 1 << 30
	// maxDevices is the greatest number of devices that is learned.
	maxDevices = 1 << 10
)

// slotTag returns the tag under which hooks of tag are counted.
func slotTag(tag string, policy Policy) string {
	if tag == "default" || policy == PolicyLast {
		return ""
	}
	return tag
}

// Live reports whether some session of s is open at now.
func (s *Slot) Live(now Millis) bool { return s.open() && now < s.Until }

// open reports whether the sum says that the peer is online.
func (s *Slot) open() bool {
	// A login that ends another stays itself: unless something else ended too, the peer is online.
	return s.Open > 0 || s.Burst.Replaced && s.Burst.Opened && !s.Burst.Ended
}

// Count returns how many sessions of s are believed open at now.
func (s *Slot) Count(now Millis) int {
	if !s.Live(now) {
		return 0
	}
	return max(s.Open, 1)
}

// ending returns when and why s ended, if it is not live; r is the report just counted, or nil.
func (s *Slot) ending(r *Report) ending {
	switch {
	case s.open():
		return ending{at: s.Until, cause: CauseExpired}
	case r != nil && r.counted() && (r.Kind == KindOffline || r.Kind == KindCount && r.Count == 0):
		return ending{s.At, r.Cause, r.Hold}
	}
	return ending{at: s.At}
}

// blank reports whether nothing of s is worth remembering at now.
func (s *Slot) blank(now Millis, rules *Rules) bool {
	switch {
	case s.Live(now):
		return false
	case s.Tag != "":
		return now > s.At.Add(rules.Window) && len(s.Extra) == 0
	}
	return s.Devices <= 1 && s.Lost == 0 && len(s.Early) == 0
}

// devices returns the known number of devices.
func (s *Slot) devices() int { return max(s.Devices, 1) }

// settle draws what follows from time alone by at; leases are judged at now.
func (s *Slot) settle(at, now Millis, rules *Rules) {
	if s.open() && now >= s.Until {
		s.Open, s.Extra, s.Burst = 0, nil, Burst{}
	}
	if s.Tag != "" {
		s.settleBurst(at, rules)
		return
	}
	for len(s.Early) > 0 && at > s.Early[0].Add(rules.Window) {
		s.Early = s.Early[1:]
	}
	for len(s.Extra) > 0 && at > s.Extra[0].At.Add(rules.Detect) {
		n := min(s.Extra[0].N, s.Open-1)
		if n <= 0 {
			break // the peer is online until the lease runs out
		}
		s.Open -= n
		s.Lost = min(s.Lost+n, maxOpen)
		s.LostAt = s.Extra[0].At.Add(rules.Detect)
		s.Extra = s.Extra[1:]
	}
	if s.Lost > 0 && at > s.LostAt.Add(rules.Tombstones) {
		s.Lost, s.LostAt = 0, 0
	}
	if s.Open >= s.devices() {
		s.Reached = max(s.Reached, at)
	}
	for s.Devices > 1 && s.Open < s.Devices && at > s.Reached.Add(rules.Relearn) {
		s.Devices--
		s.Reached = s.Reached.Add(rules.Relearn)
	}
	if s.Devices <= 1 {
		s.Devices, s.Reached = 0, 0
	}
}

// settleBurst closes the burst of a tagged slot after a window of quiet: one tag is one device.
func (s *Slot) settleBurst(at Millis, rules *Rules) {
	if at > s.At.Add(rules.Window) {
		if n := min(s.Open-1, s.Burst.Again); n > 0 {
			// An automatic login ends no other session: the end of the connection that it follows
			// is still to be reported.
			s.extra(s.At, n)
		}
		open := s.open()
		s.Open, s.Burst = 0, Burst{}
		if open {
			s.Open, s.Burst.Opened = 1, true
		}
	}
	for len(s.Extra) > 0 && at > s.Extra[0].At.Add(rules.Detect) {
		s.Extra = s.Extra[1:]
	}
}

// extra remembers n more sessions that are owed a logout.
func (s *Slot) extra(at Millis, n int) {
	if len(s.Extra) == maxExtra {
		last := &s.Extra[maxExtra-1]
		last.At, last.N = max(last.At, at), last.N+n
		return
	}
	s.Extra = append(s.Extra, Extra{at, n})
}

// owed returns how many logouts are owed.
func (s *Slot) owed() (n int) {
	for _, e := range s.Extra {
		n += e.N
	}
	return n
}

// payExtra forgets that the oldest extra session is owed a logout; it reports false when none is.
func (s *Slot) payExtra() bool {
	if len(s.Extra) == 0 {
		return false
	}
	if s.Extra[0].N--; s.Extra[0].N == 0 {
		s.Extra = s.Extra[1:]
	}
	return true
}

// unswap takes back the extra session of a login within the reorder window before at: the logout
// that comes now was overtaken by it.
func (s *Slot) unswap(at Millis, rules *Rules) {
	last := len(s.Extra) - 1
	if last < 0 || at >= s.Extra[last].At.Add(rules.Window) {
		return
	}
	if s.Extra[last].N--; s.Extra[last].N == 0 {
		s.Extra = s.Extra[:last]
	}
}

// apply counts r, which came at at.
func (s *Slot) apply(r *Report, at Millis, lease time.Duration, now Millis, rules *Rules) Verdict {
	if !r.Kind.Known() {
		return Ignored
	}
	switch {
	case r.Kind == KindCount:
		return s.answer(r, at, lease, now, rules)
	case r.Policy == PolicyLast:
		return s.last(r, at, lease)
	}
	s.settle(at, now, rules)
	was := s.open()
	v := Taken
	switch {
	case r.Kind == KindTouch && !was:
		return Ignored
	case r.Kind == KindTouch:
	case s.Tag != "":
		s.tagged(r)
	case r.Kind == KindOnline:
		v = s.on(at)
	case r.Kind == KindOffline:
		v = s.off(r, at, rules)
	default:
		return Ignored
	}
	s.At, s.Answered = max(s.At, at), s.Answered && r.Kind == KindTouch
	if !was && s.open() {
		s.Start = at
	}
	if r.Kind != KindOffline && v == Taken {
		s.Until = max(s.Until, at.Add(lease))
	}
	return v
}

// on counts a login of an untagged slot.
func (s *Slot) on(at Millis) Verdict {
	if len(s.Early) > 0 {
		s.Early = s.Early[1:] // its logout overtook it
		return Swallowed
	}
	if s.Open == maxOpen {
		return Ignored
	}
	s.Open++
	if s.Open-s.devices() > s.owed() {
		s.extra(at, 1)
	}
	return Taken
}

// off counts a logout of an untagged slot.
func (s *Slot) off(r *Report, at Millis, rules *Rules) Verdict {
	switch {
	case s.Open > 1 || s.Open == 1 && r.Cause != CauseReplaced:
		s.Open--
		switch {
		case s.Open == 0:
			s.Extra = nil
		case r.Cause != CauseLogout:
			s.payExtra()
		default: // a dead connection does not log out, so a logout pays for none
			s.unswap(at, rules)
		}
		return Taken
	case s.Lost > 0 && s.Open == 0:
		// What was given up as a lost logout was another device all the time.
		s.Lost--
		s.Devices = min(s.devices()+1, maxDevices)
		s.Reached = at
		return Taken
	}
	if len(s.Early) == maxEarly {
		s.Early = s.Early[1:]
	}
	s.Early = append(s.Early, at)
	return Swallowed
}

// tagged adds r to the burst of a tagged slot. It only sums, so the order within a burst does not
// matter.
func (s *Slot) tagged(r *Report) {
	switch {
	case r.Kind == KindOnline:
		s.Open = min(s.Open+1, maxOpen)
		s.Burst.Opened = true
		if r.Reconnect {
			s.Burst.Again = min(s.Burst.Again+1, maxOpen)
		}
	case r.Cause == CauseLost && s.payExtra():
		// The late news of a connection whose device has long come back.
	case r.Cause == CauseReplaced:
		s.Open = max(s.Open-1, -maxOpen)
		s.Burst.Replaced = true
	default:
		s.Open = max(s.Open-1, -maxOpen)
		s.Burst.Ended = true
	}
}

// last takes the hook that arrived last as the truth. The end of a session that a newer login has
// replaced does not turn the peer offline even so.
func (s *Slot) last(r *Report, at Millis, lease time.Duration) Verdict {
	if at < s.At {
		return Late
	}
	was := s.open()
	*s = Slot{Source: s.Source, Tag: s.Tag, Open: min(max(s.Open, 0), 1), At: at, Start: s.Start, Until: s.Until}
	switch {
	case r.Kind == KindOffline && r.Cause != CauseReplaced:
		s.Open = 0
		return Taken
	case r.Kind == KindOffline, r.Kind == KindTouch && !was:
		return Ignored
	}
	s.Open = 1
	if !was {
		s.Start = at
	}
	s.Until = max(s.Until, at.Add(lease))
	return Taken
}

// slot returns where the slot of source and tag is, or would be.
func (st *State) slot(source Source, tag string) (i int, found bool) {
	return slices.BinarySearchFunc(st.Slots, source, func(s Slot, source Source) int {
		return cmp.Or(strings.Compare(string(s.Source), string(source)), strings.Compare(s.Tag, tag))
	})
}

// applySlot counts r in the slot of its source and tag. assumed is what stood in the place of all
// reports before, or nil.
func (st *State) applySlot(r *Report, lease time.Duration, now Millis, rules *Rules, assumed *Slot) (v Verdict, quiet bool, late *recount) {
	hash := deliveryHash(r)
	if hash != 0 && (st.saw(hash) || st.counts(hash)) {
		return Double, false, nil
	}
	tag := slotTag(r.Tag, r.Policy)
	i, found := st.slot(r.Source, tag)
	if !found {
		if r.Kind == KindTouch && assumed == nil {
			return Ignored, false, nil
		}
		if len(st.Slots) >= maxLive || r.Kind == KindOnline && st.open(now) >= maxLive {
			return Full, false, nil
		}
		st.Slots = slices.Insert(st.Slots, i, Slot{Source: r.Source, Tag: tag})
	}
	s := &st.Slots[i]
	if !found && assumed != nil && r.Kind != KindOnline {
		s.take(assumed, r)
	}
	c := counting{st, r, hash, lease, now, rules}
	was := s.Live(now)
	if rules.Replay == 0 || hash == 0 || r.Kind == KindTouch {
		if v = s.apply(r, r.At, lease, now, rules); v == Taken {
			st.touch(s, r.At.Add(lease))
		}
		if hash != 0 {
			st.see(hash, r.At)
		}
		quiet = was == s.Live(now)
		if (v == Taken || v == Swallowed) && r.Kind != KindTouch {
			quiet = !c.replaceAnswer(tag) && quiet
		}
		return v, quiet, nil
	}
	v, late = st.countHook(s, !found, assumed, r, hash, lease, now, rules)
	if v == Taken || v == Swallowed {
		c.replaceAnswer(tag)
	}
	// Every count is signalled, also one that turns nothing: when the store is away, other nodes go
	// on from what they have of it.
	return v, was == s.Live(now) && r.Policy == PolicyLast, late
}
