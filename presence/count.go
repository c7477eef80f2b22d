package presence

import (
	"slices"
	"time"
)

// CountUnknown is the [Report].Count of an answer that the peer is online, of a product that does
// not say how many sessions it has.
const CountUnknown = -1

// A counting is a report that is counted in slots.
type counting struct {
	*State
	r     *Report
	hash  uint64 // of the delivery
	lease time.Duration
	now   Millis // leases are judged at it
	rules *Rules
}

// applyCount merges the answer of a product whose hooks name no sessions. It speaks of all slots of
// the source together. docs/decisions/0116 has the rules.
//
// An answer may be as old as its Quiet, and hooks are on their way: where a hook has come since, it
// changes nothing. One that agrees with the slots writes nothing before half of the lease is over.
func (st *State) applyCount(r *Report, lease time.Duration, now Millis, rules *Rules) (v Verdict, quiet bool, late *recount) {
	c := counting{st, r, deliveryHash(r), lease, now, rules}
	if c.hash != 0 && (st.saw(c.hash) || st.counts(c.hash)) {
		return Double, false, nil
	}
	live := 0
	var last *Slot // the lease that runs out last
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Source == r.Source && s.Live(now) {
			live++
			if last == nil || s.Until > last.Until {
				last = s
			}
		}
	}
	switch {
	case r.Count == 0:
		v, late = c.none()
		return v, false, late
	case live == 0:
		v, late = c.some()
		return v, false, late
	case live == 1 && last.Tag == "" && r.Count > 0 && r.Count != last.Open && r.Policy == PolicySum:
		v, late = c.in(last, false)
		return v, false, late
	}
	until := r.At.Add(lease)
	if last.Until >= until.Add(-lease/2) {
		return Double, false, nil
	}
	last.At, last.Until = max(last.At, r.At), until // as a touch
	st.touch(last, until)
	return Taken, true, nil
}

// none ends the slots of the source. What another writer says of the peer may be about another
// source, and stays.
func (c *counting) none() (v Verdict, late *recount) {
	v = Double
	for i := range c.Slots {
		s := &c.Slots[i]
		if s.Source != c.r.Source || !s.Live(c.now) {
			continue
		}
		one, l := c.in(s, false)
		if one == Taken || v == Double {
			v = one
		}
		if l != nil {
			late = l
		}
	}
	return v, late
}

// some opens the untagged slot of the source, which has no live one. A slot that was forgotten
// since its last hook has left that time in LastSeen.
func (c *counting) some() (Verdict, *recount) {
	since := c.r.At.Add(-c.r.Quiet)
	if c.LastSeen > since {
		return Unsure, nil
	}
	for i := range c.Slots {
		if s := &c.Slots[i]; s.Source == c.r.Source && s.At > since {
			return Unsure, nil
		}
	}
	i, found := c.slot(c.r.Source, "")
	if !found {
		if len(c.Slots) >= maxLive || c.open(c.now) >= maxLive {
			return Full, nil
		}
		c.Slots = slices.Insert(c.Slots, i, Slot{Source: c.r.Source})
	}
	return c.in(&c.Slots[i], !found)
}

// in counts the answer in s, and in its history where one is kept. An answer that changes nothing
// is in no history: a hook from before it that comes late is judged without it, until the next
// answer.
func (c *counting) in(s *Slot, fresh bool) (v Verdict, late *recount) {
	if c.rules.Replay != 0 && c.hash != 0 {
		return c.countHook(s, fresh, nil, c.r, c.hash, c.lease, c.now, c.rules)
	}
	if v = s.apply(c.r, c.r.At, c.lease, c.now, c.rules); v == Taken && c.hash != 0 {
		c.see(c.hash, c.r.At)
	}
	return v, nil
}

// replaceAnswer closes the untagged slot that an answer opened when a hook with a tag comes after
// it: the session that was found may be the one that the hook is about. It reports whether it did.
// If it was another, the peer turns offline too early, and is asked about again.
func (c *counting) replaceAnswer(tag string) bool {
	i, found := c.slot(c.r.Source, "")
	if tag == "" || !found || !c.Slots[i].Answered || c.r.At <= c.Slots[i].At {
		return false
	}
	none := *c
	if c.rules.Replay == 0 {
		none.hash = 0 // the delivery is remembered already
	}
	none.r = &Report{Source: c.r.Source, Kind: KindCount, Cause: CauseReconciled, At: c.r.At}
	v, _ := none.in(&c.Slots[i], false)
	return v == Taken
}

// answer counts r, the answer of a product at at.
func (s *Slot) answer(r *Report, at Millis, lease time.Duration, now Millis, rules *Rules) Verdict {
	if s.At > at.Add(-r.Quiet) {
		return Unsure
	}
	s.settle(at, now, rules)
	sum := r.Policy == PolicySum && s.Tag == ""
	switch was := s.open(); {
	case !was && r.Count == 0, was && (r.Count < 0 || r.Count == s.Open), was && r.Count > 0 && !sum:
		return Double
	case r.Count == 0:
		s.Open, s.Burst, s.Answered = 0, Burst{}, false
	case was:
		s.Open = r.Count
	default:
		s.Open, s.Start, s.Answered = 1, at, true
		if sum {
			s.Open = max(r.Count, 1)
		}
		if s.Lost > 0 { // one of the sessions that were given up was another device
			s.Lost--
			s.Devices, s.Reached = min(s.devices()+1, maxDevices), at
		}
	}
	s.Extra, s.Early = nil, nil
	if n := min(r.Count, maxDevices); sum && n > 1 && n >= s.devices() {
		s.Devices, s.Reached = n, at
	}
	s.At = at
	if s.open() {
		s.Until = max(s.Until, at.Add(lease))
	}
	return Taken
}
