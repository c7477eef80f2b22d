package presence

// Store returns the store below, for tests that write past the service.
func (s *Service) Store() Store { return s.store }

// ActivitySection returns how many bytes the section of activities takes at the end of st.
func ActivitySection(st *State) int {
	return len(appendString([]byte{sectionActivity}, string(packActivity(st.Sessions))))
}

// PackActivity packs what is said of the activity of sessions.
var PackActivity = packActivity
