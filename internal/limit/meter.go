package limit

import "time"

// A Meter is one rate limiter in eight bytes, by the generic cell rate algorithm: the time at which
// all that was taken is paid for. The zero Meter owes nothing. It takes now, a running clock, as an
// argument; it is not safe for concurrent use, see [Bucket].
type Meter int64

// Take takes cost at now, with at most room owed afterwards. When that is too much it takes nothing
// and returns how long to wait.
func (m *Meter) Take(cost, room, now time.Duration) (wait time.Duration, ok bool) {
	if wait := m.Wait(cost, room, now); wait > 0 {
		return wait, false
	}
	m.Spend(cost, now)
	return 0, true
}

// Wait returns how long after now cost can be taken; 0 is at once.
func (m Meter) Wait(cost, room, now time.Duration) time.Duration {
	return max(max(time.Duration(m), now)+cost-now-room, 0)
}

// Spend takes cost at now, whatever is owed.
func (m *Meter) Spend(cost, now time.Duration) {
	*m = Meter(max(time.Duration(*m), now) + cost)
}

// Full reports whether nothing is owed at now.
func (m Meter) Full(now time.Duration) bool { return time.Duration(m) <= now }
