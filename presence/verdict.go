package presence

// Verdict is what the merge made of a report.
type Verdict uint8

const (
	// Taken: the report changed the peer's state.
	Taken Verdict = iota + 1
	// Late: a newer report about the session is known; this one changed no session.
	Late
	// Double: what the report says is known already; this one changed nothing.
	Double
	// Swallowed: an offline that found nothing open, remembered for the reorder window, or the
	// online it cancels.
	Swallowed
	// Stale: the report is older than the source may be late; it changed nothing.
	Stale
	// Ignored: the report speaks of nothing that is known, such as the touch of a slot with nothing
	// open, or is of a kind that only a later release knows. It changed nothing.
	Ignored
	// Full: the peer has as many open sessions as one may have; nothing was counted.
	Full
	// Expired: the report was taken, and its lease was over when it arrived: the clock of the
	// source is behind, or the report came late. It makes no peer online.
	Expired
	// Unsure: an answer of a product about which a hook has come so lately that the answer may be
	// older. It changed nothing.
	Unsure
	verdicts
)

func (v Verdict) String() string {
	if v >= verdicts {
		return "none"
	}
	return [...]string{"none", "taken", "late", "double", "swallowed", "stale", "ignored", "full", "expired_on_arrival", "unsure"}[v]
}

// An Outcome is the result of merging one report.
type Outcome struct {
	Verdict Verdict
	Turned  bool    // the peer's status turned
	Fresh   bool    // nothing was known of the peer
	Source  Source  // of [State.Expire]: whose lease ran out last; empty when none did
	Summary Summary // the peer after the report
}
