package presence

import "time"

// Rules are the settings of the merge. The zero value is not useful; start from [DefaultRules].
type Rules struct {
	// Lease is that of a report that names none and has no node.
	Lease time.Duration `range:"1s..30d"`
	// Ahead is how far in the future a report's time may be; further ahead, leases and what is
	// shown count from the receipt.
	Ahead time.Duration `range:"0s..1d"`
	// Stale is the age from which a report changes nothing.
	Stale time.Duration `range:"1m..30d"`
	// Window is the reorder window of hooks without time and session.
	Window time.Duration `range:"0s..1h"`
	// Detect is how long sessions beyond the known number of devices count.
	Detect time.Duration `range:"1s..7d"`
	// Relearn is how long a number of devices may not be reached before it is lowered.
	Relearn time.Duration `range:"1h..365d"`
	// OfflineMemory is how long offline is remembered; then the peer is unknown.
	OfflineMemory time.Duration `range:"1m..365d"`
	// Tombstones is how long an ended session is remembered.
	Tombstones time.Duration `range:"1m..30d"`
	// Replay is how long a slot keeps its last hooks, so that one that comes late from another node
	// is counted at its time of receipt, see [History]. [NewService] sets it for a store that can
	// be out of reach; 0 keeps none.
	Replay time.Duration `config:"-"`
	// Idle is after how long without use a foreground session counts as idle, where its source says
	// when it was used.
	Idle time.Duration `range:"10s..1d"`
	// DayOffset is local midnight minus UTC midnight, for "peers seen today" and online time.
	DayOffset time.Duration `range:"-14h..14h"`

	// OnlineTime keeps how long each peer was online on each of the last 30 local days. It costs
	// some 8 bytes per peer and 4 more per day with any, so at most 128, in the store; nothing when
	// off. It is forgotten together with the peer, so with a presence.offline_memory of 7d a
	// peer that was offline for a week has no days left; 30d keeps them for every peer.
	OnlineTime bool
}

// DefaultRules returns the defaults of the product.
func DefaultRules() Rules {
	return Rules{
		Lease:         7 * 24 * time.Hour,
		Ahead:         10 * time.Second,
		Stale:         24 * time.Hour,
		Window:        10 * time.Second,
		Detect:        10 * time.Minute,
		Relearn:       7 * 24 * time.Hour,
		OfflineMemory: 7 * 24 * time.Hour,
		Tombstones:    24 * time.Hour,
		Idle:          5 * time.Minute,
	}
}

// Admit judges the time of r, received at now. A time further ahead than a clock may be wrong
// orders the session's reports only, see [Report].Ahead; a slot has no order but that of receipt,
// and its report gets the time of receipt. Admit reports false for a report that is too old to
// count: one that reports the end of a named session, or of many, counts however old it is, if one
// that it ends is still open.
func (ru *Rules) Admit(r *Report, now Millis) bool {
	r.Ahead = 0
	if r.At > now.Add(ru.Ahead) {
		if r.counted() || r.Kind == KindReach {
			r.At = now
		} else {
			r.Ahead = r.At - now
		}
	}
	return !ru.stale(r, now) || !r.present() && !r.counted()
}

// stale reports whether r, received at now, is older than a source may be late.
func (ru *Rules) stale(r *Report, now Millis) bool { return r.At < now.Add(-ru.Stale) }
