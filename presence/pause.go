package presence

import "time"

// LongPause is a time between two sweeps, which are at most a second apart, in which the process
// must have stood still. It is the longest that the gateway lets pass unnoticed too; but the
// gateway knows its lease and notices shorter pauses when that is short. Here the leases are the
// sources' own, and a pause that is noticed for nothing keeps peers that are gone for the grace: a
// source should not cut its leases closer than five seconds to its renewals.
const LongPause = 5 * time.Second

// Resume is to be called at now, when the process has opened a store that surely took renewals at
// asOf for the last time; 0 is never. What could not be renewed since does not run out before the
// grace is over. A store that others kept alive has missed nothing, and an empty one has nothing to
// lose.
func (s *Service) Resume(asOf, now Millis) {
	if s.remote == nil && asOf > 0 {
		s.StandStill(asOf, now)
	}
}

// Woke is to be called at now, before a sweep, with the end of the one before. It reports whether
// the process stood still between them; then leases that ran out meanwhile stand still too. Beside
// a store that other processes write to, those went on taking renewals.
func (s *Service) Woke(last, now Millis) bool {
	if s.remote != nil || now < last.Add(LongPause) {
		return false
	}
	s.StandStill(last, now)
	return true
}
