package presence

import "time"

// A Slot counts the sessions of a source that cannot name them: hooks that carry neither a session nor a time.
type Slot struct {
	Source Source
	Tag    string // "" and "default": any number of devices; else one device

	Open  int    // sessions believed open
	At    Millis // last hook
	Start Millis // since when Open is above zero
	Until Millis // lease end
}

// Live reports whether some session of s is open at now.
func (s *Slot) Live(now Millis) bool { return s.Open > 0 && now < s.Until }

func (s *Slot) lastOn() Millis   { return s.At }
func (s *Slot) lastSeen() Millis { return s.At }
func (s *Slot) known() bool      { return true }

func (s *Slot) end() Millis {
	if s.Open > 0 {
		return s.Until
	}
	return s.At
}

// empty reports whether nothing of s is worth remembering at now.
func (s *Slot) empty(now Millis, rules *Rules) bool {
	return !s.Live(now) && now > s.At.Add(rules.Window)
}

func (st *State) applySlot(r *Report, at Millis, lease time.Duration, now Millis, rules *Rules) (v Verdict, quiet bool) {
	tag := r.Tag
	if tag == "default" {
		tag = ""
	}
	var s *Slot
	for i := range st.Slots {
		if st.Slots[i].Source == r.Source && st.Slots[i].Tag == tag {
			s = &st.Slots[i]
		}
	}
	if s == nil {
		st.Slots = append(st.Slots, Slot{Source: r.Source, Tag: tag})
		s = &st.Slots[len(st.Slots)-1]
	}
	s.At = max(s.At, at)
	switch r.Kind {
	case KindOnline:
		if s.Open == 0 {
			s.Start = at
		}
		s.Open++
		s.Until = max(s.Until, at.Add(lease))
	case KindOffline:
		s.Open = max(0, s.Open-1)
	case KindTouch:
		s.Until = max(s.Until, at.Add(lease))
		return Taken, true
	}
	return Taken, false
}
