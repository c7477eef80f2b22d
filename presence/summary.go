package presence

import "time"

// A Summary is what answers and watchers see of a peer.
type Summary struct {
	Rev      uint64
	Status   Status
	Cause    Cause  // why it is offline
	Since    Millis // when it turned
	LastSeen Millis // the latest end of a session, or the latest sign of life of one that is open
	Until    Millis // while online: when the last lease runs out
	Hold     time.Duration
	Noded    bool // some open session lives by the heartbeats of its node
}

// At returns s as it is at now: a lease that has run out counts at once, whether or not the sweep
// has come by, and so does the end of the memory of an offline peer.
func (s Summary) At(now Millis, rules *Rules) Summary {
	if s.Status == Online && now >= s.Until {
		s.Status, s.Cause, s.Since, s.Until = Offline, CauseExpired, s.Until, 0
	}
	if s.Status == Offline && now >= s.Since.Add(rules.OfflineMemory) {
		return Summary{Rev: s.Rev}
	}
	return s
}
