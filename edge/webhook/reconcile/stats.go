package reconcile

import (
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// Why nothing is applied now.
const (
	stoppedNot = iota
	stoppedBraked
	stoppedRefused
)

// counts are those of one source since the server started.
type counts struct {
	calls, failed                                   atomic.Int64
	asked, agree, ghost, missed, unsure, unanswered atomic.Int64
	braked                                          atomic.Int64
}

// Stats are what is known of one source whose product is asked.
type Stats struct {
	App    presence.AppID  `json:"app"`
	Source presence.Source `json:"source"`
	Kind   string          `json:"kind"`
	// Asks says that this node is the one that asks.
	Asks bool `json:"asks"`
	// Paused says that nothing is asked while the store is unreachable or leases stand still.
	Paused bool `json:"paused,omitempty"`
	// Stopped says why nothing is changed now: "braked" or "refused".
	Stopped string  `json:"stopped,omitempty"`
	Every   float64 `json:"every_seconds"`
	// Quiet is how long nothing may have been reported of a peer for an answer to count, where the
	// events name no sessions.
	Quiet float64 `json:"quiet_seconds"`
	// Full is when the last full round ended; zero before the first of this node.
	Full  presence.Millis `json:"full,omitempty"`
	since presence.Millis // it has the claim

	Calls      int64 `json:"calls"`
	Failed     int64 `json:"failed"` // calls
	Asked      int64 `json:"asked"`  // peers, each time
	Agree      int64 `json:"agree"`
	Ghost      int64 `json:"ghost"`
	Missed     int64 `json:"missed"`
	Unsure     int64 `json:"unsure"`
	Unanswered int64 `json:"unanswered"`
	Braked     int64 `json:"braked"` // times

	// Run is the last that an operator began here.
	Run *Run `json:"run,omitempty"`
}

var stoppedNames = [...]string{"", "braked", "refused"}

func (w *worker) stats() Stats {
	n := w.counts
	since := w.holds.Load()
	return Stats{
		App: w.src.App, Source: w.src.ID, Kind: w.src.Kind.Name(), Asks: since != 0, Paused: w.ready() != nil, since: presence.Millis(since), Stopped: stoppedNames[w.stopped.Load()],
		Every: w.src.Reconcile.Every.Seconds(), Quiet: w.quiet.age().Seconds(), Full: presence.Millis(w.full.Load()),
		Calls: n.calls.Load(), Failed: n.failed.Load(), Asked: n.asked.Load(), Agree: n.agree.Load(), Ghost: n.ghost.Load(), Missed: n.missed.Load(),
		Unsure: n.unsure.Load(), Unanswered: n.unanswered.Load(), Braked: n.braked.Load(), Run: w.runs.last(),
	}
}

// Counts returns the counts of every source, named APP/SOURCE/WHAT, and what is so now: whether
// this node asks, whether it is stopped, and times in seconds. The age of the last full round is
// there only where this node asks; before the first it is that of the claim.
func (r *Runner) Counts() map[string]int64 {
	all := map[string]int64{}
	now := r.deps.Now()
	for _, st := range r.Stats() {
		for what, n := range map[string]int64{
			"calls": st.Calls, "failed": st.Failed, "asked": st.Asked, "agree": st.Agree, "ghost": st.Ghost, "missed": st.Missed,
			"unsure": st.Unsure, "unanswered": st.Unanswered, "brakes": st.Braked,
			"asks": one(st.Asks), "braked": one(st.Asks && st.Stopped == stoppedNames[stoppedBraked]),
			"refused":       one(st.Asks && st.Stopped == stoppedNames[stoppedRefused]),
			"every_seconds": int64(st.Every), "quiet_seconds": int64(st.Quiet),
		} {
			all[st.name(what)] = n
		}
		if st.Asks {
			all[st.name("round_age_seconds")] = int64(now.Sub(max(st.Full, st.since)) / time.Second)
		}
	}
	return all
}

func (st *Stats) name(what string) string {
	return string(st.App) + "/" + string(st.Source) + "/" + what
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
