package presence

import (
	"slices"
	"time"
)

// A Calibration finds how old the answers of one source are. A product that answers from a cache
// says that a peer is online which has just left, and each such answer shows it online until the
// next one. So a peer that turns offline is asked about once the quiet is over; after a logout,
// which is no mistake, a source with young answers rarely says that it is online.
//
// It is one rule for the simulation in presence/truth and for what asks products. It is not safe
// for several goroutines. docs/decisions/0118 has the reasons.
type Calibration struct {
	quiet time.Duration
	score int
}

const (
	// DefaultQuiet is how old an answer is taken to be at first when the events of its source name
	// no sessions, and DefaultLag when they do.
	DefaultQuiet = 30 * time.Second
	DefaultLag   = 10 * time.Second

	// An online adds as much to the score as so many offlines take away: at a share of 1 in 20 they
	// cancel. At the alarm the quiet doubles, after 13 onlines in a row at the least; a source with
	// 2 % of them comes there once in 10⁹ asks.
	calibrationOnline = 19
	calibrationAlarm  = 240
)

// NewCalibration returns one that begins at quiet.
func NewCalibration(quiet time.Duration) *Calibration {
	return &Calibration{quiet: min(quiet, MaxQuiet)}
}

// Quiet returns how old an answer may be, see [Asked].
func (c *Calibration) Quiet() time.Duration { return c.quiet }

// Wait returns how long after a peer turns offline the source is asked about it.
func (c *Calibration) Wait() time.Duration { return max(c.quiet, DefaultQuiet) + time.Second }

// Calibrates reports whether the answer about a peer of which st is known, asked for
// [Calibration.Wait] after it turned offline, shows how old the answers of the source are: it
// turned by a logout, and no session that was given up explains that it is online. Under
// [PolicyLast] none does: the logout of one device turns a peer offline that has others.
func (a *Asked) Calibrates(st *State) bool {
	return st.Status == Offline && st.Cause == CauseLogout && (a.Policy == PolicySum || !a.Counted) &&
		!slices.ContainsFunc(st.Slots, func(s Slot) bool { return s.Source == a.Source && s.Lost > 0 })
}

// Note takes what such an answer comes to, f, unless it was asked for before the quiet doubled
// last. It reports whether the quiet has doubled: the answers of the source are older than was
// thought.
func (c *Calibration) Note(a *Asked, f Finding) (doubled bool) {
	switch {
	case a.Quiet != c.quiet:
		return false
	case f == FindingMissed:
		c.score += calibrationOnline
	case f == FindingAgrees:
		c.score = max(c.score-1, 0)
	}
	if c.score < calibrationAlarm || c.quiet >= MaxQuiet {
		return false
	}
	c.score, c.quiet = 0, min(2*max(c.quiet, DefaultQuiet), MaxQuiet) // asked so much later
	return true
}
