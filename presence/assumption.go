package presence

import "slices"

// SourceRecipe marks a slot that is an assumption: a foreign writer, such as the recipe's own
// function, wrote in the store that the peer is online, and no report about it has come. No report
// may name it as its source.
const SourceRecipe Source = "recipe"

// Assume returns the state of a peer of which a foreign word alone says that it is online, read at
// now. It stands until the lease ends or the first report about the peer comes, which replaces it:
// the word may stand for any session of any source, also for the one that the report begins.
func Assume(now Millis, rules *Rules) State {
	until := now.Add(rules.Lease)
	return State{
		Status: Online, Since: now, Until: until,
		Slots: []Slot{{Source: SourceRecipe, Open: 1, At: now, Start: now, Until: until}},
	}
}

// AssumeOffline returns the state of a peer of which a foreign word alone says that it has been
// offline since then. When it was seen last is not known.
func AssumeOffline(since Millis) State { return State{Status: Offline, Since: since} }

// assumed reports whether all that st says is a foreign word.
func (st *State) assumed() bool {
	switch {
	case len(st.Sessions) > 0 || len(st.Slots) > 1 || len(st.EndAlls) > 0:
		return false
	case len(st.Slots) == 1:
		return st.Slots[0].Assumed()
	}
	return st.Status == Offline && st.LastSeen == 0
}

// laterAssumption returns which of two foreign words was read later. Two that say online are one,
// which is as old as the first.
func laterAssumption(a, b *State) State {
	if b.read() > a.read() {
		a, b = b, a
	}
	st := *a
	if a.Status == Online && b.Status == Online {
		s := a.Slots[0]
		st.Since, s.Start = min(a.Since, b.Since), min(s.Start, b.Slots[0].Start)
		st.Until, s.Until = max(a.Until, b.Until), max(s.Until, b.Slots[0].Until)
		st.Slots = []Slot{s}
	}
	return st
}

// read returns when the foreign word that st is was read, or of when it says to be.
func (st *State) read() Millis {
	if len(st.Slots) > 0 {
		return st.Slots[0].At
	}
	return st.Since
}

// Assumed reports whether s is an assumption and no hook has been counted in it.
func (s *Slot) Assumed() bool { return s.Source == SourceRecipe }

// replaceAssumption takes the assumption out of st before its first report is merged; it returns
// nil when there is none.
func (st *State) replaceAssumption() *Slot {
	for i := range st.Slots {
		if st.Slots[i].Assumed() {
			s := st.Slots[i]
			st.Slots = slices.Delete(st.Slots, i, i+1)
			return &s
		}
	}
	return nil
}

// take makes the assumed session one of s: the first hook, r, is about a session that began before
// it.
func (s *Slot) take(assumed *Slot, r *Report) {
	s.Open, s.At, s.Start, s.Until = 1, min(assumed.At, r.At), min(assumed.Start, r.At), assumed.Until
	s.Burst.Opened = s.Tag != ""
}
