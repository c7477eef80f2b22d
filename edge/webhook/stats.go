package webhook

import (
	"errors"
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// counts are those of one source since the server started.
type counts struct {
	calls, unproven, misshapen, failed      atomic.Int64
	accepted, double, late, stale, unusable atomic.Int64
	ignored                                 atomic.Int64
	recorded, unrecorded                    atomic.Int64
	lastCall, lastEvent                     atomic.Int64 // Unix milliseconds
	lag                                     atomic.Int64 // a mean, in microseconds
}

// lagShare is the share of one event in the mean of lags: about the last fifty count.
const lagShare = 50

// lags takes how long after their times reports were received. Those without a time of their own
// say nothing.
func (n *counts) lags(now presence.Millis, reports []presence.Report) {
	for i := range reports {
		if r := &reports[i]; !r.Received {
			mean, lag := n.lag.Load(), 1000*int64(max(now-r.At, 0))
			// Two at the same time may count as one.
			n.lag.Store(mean + (lag-mean)/lagShare)
		}
	}
}

// Stats are the counts of one source since the server started.
type Stats struct {
	App    presence.AppID
	Source presence.Source
	Kind   string
	// Calls are all; Unproven were refused for their signature or the way they came, Misshapen for
	// their body, and Failed because the store did not take what they said.
	Calls, Unproven, Misshapen, Failed int64
	// Accepted, Double, Late and Stale are events by their verdicts; Unusable broke a rule, and
	// Ignored say nothing about presence.
	Accepted, Double, Late, Stale, Unusable, Ignored int64
	// Recorded calls were handed to Deps.Record, which had no room for those that are Unrecorded.
	Recorded, Unrecorded int64
	// LastEvent is when the last call with an event was received; zero when none was.
	LastEvent presence.Millis
	// Lag is how long after their times events are received, in the mean of the last ones.
	Lag time.Duration
}

func (n *counts) count(now presence.Millis, o *Outcome, ignored int) {
	n.calls.Add(1)
	n.lastCall.Store(int64(now))
	switch {
	case errors.Is(o.Err, ErrUnproven), errors.Is(o.Err, ErrExpired):
		n.unproven.Add(1)
		return
	case errors.Is(o.Err, ErrShape):
		n.misshapen.Add(1)
		return
	case o.Err != nil:
		n.failed.Add(1)
		return
	}
	t := &o.Tally
	n.accepted.Add(int64(t.Accepted))
	n.double.Add(int64(t.Double))
	n.late.Add(int64(t.Late))
	n.stale.Add(int64(t.Stale))
	n.unusable.Add(int64(t.Ignored))
	n.ignored.Add(int64(ignored))
	if t.Accepted+t.Double+t.Late+t.Stale > 0 {
		n.lastEvent.Store(int64(now))
	}
}

// record counts a call that was recorded, or for which there was no room.
func (n *counts) record(kept bool) {
	if kept {
		n.recorded.Add(1)
	} else {
		n.unrecorded.Add(1)
	}
}

// Counts returns the counts of every source, named APP/SOURCE/WHAT. Once an event was received,
// age_ms and lag_ms are among them: how long ago the last was, and how late they are.
func (d *Door) Counts() map[string]int64 {
	all, now := map[string]int64{}, d.deps.Now()
	for _, st := range d.Stats() {
		whats := map[string]int64{
			"calls": st.Calls, "unproven": st.Unproven, "misshapen": st.Misshapen, "failed": st.Failed,
			"accepted": st.Accepted, "double": st.Double, "late": st.Late, "stale": st.Stale, "unusable": st.Unusable, "ignored": st.Ignored,
		}
		if d.deps.Record != nil {
			whats["recorded"], whats["unrecorded"] = st.Recorded, st.Unrecorded
		}
		for what, n := range whats {
			all[string(st.App)+"/"+string(st.Source)+"/"+what] = n
		}
		if st.LastEvent != 0 {
			all[string(st.App)+"/"+string(st.Source)+"/age_ms"] = int64(max(now-st.LastEvent, 0))
			all[string(st.App)+"/"+string(st.Source)+"/lag_ms"] = st.Lag.Milliseconds()
		}
	}
	return all
}

func (s *Source) stats() Stats {
	n := s.counts
	return Stats{
		App: s.App, Source: s.ID, Kind: s.Kind.Name(),
		Calls: n.calls.Load(), Unproven: n.unproven.Load(), Misshapen: n.misshapen.Load(), Failed: n.failed.Load(),
		Accepted: n.accepted.Load(), Double: n.double.Load(), Late: n.late.Load(), Stale: n.stale.Load(),
		Unusable: n.unusable.Load(), Ignored: n.ignored.Load(), Recorded: n.recorded.Load(), Unrecorded: n.unrecorded.Load(),
		LastEvent: presence.Millis(n.lastEvent.Load()),
		Lag:       time.Duration(n.lag.Load()) * time.Microsecond,
	}
}
