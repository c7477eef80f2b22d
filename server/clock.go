package server

import (
	"time"

	"rollcall/presence"
)

// A Clock gives the time in steps of the monotonic clock from the wall time at which it was made.
type Clock struct {
	start time.Time
	by    func() presence.Millis // nil: the wall
}

// NewClock returns a clock that starts at the wall's time.
func NewClock() Clock { return Clock{start: time.Now()} }

// By returns c with now as its source of time: nodes that share a store go by its clock, so that
// they agree on leases.
func (c Clock) By(now func() presence.Millis) Clock { return Clock{c.start, now} }

// Now returns the time. It never steps, whatever happens to the wall clock.
func (c Clock) Now() presence.Millis {
	if c.by != nil {
		return c.by()
	}
	return presence.MillisOf(c.start).Add(c.Up())
}

// Up returns how long the clock has run.
func (c Clock) Up() time.Duration { return time.Since(c.start) }
