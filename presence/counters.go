package presence

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Counters count what this process has received and concluded since it started.
type Counters struct {
	mu      sync.RWMutex
	sources map[Source]*sourceCounters
	// Is replaced, never changed: every question reads it.
	apps atomic.Pointer[map[AppID]*appCounters]

	changes atomic.Int64
	ahead   atomic.Int64
	clocks  clocks
	shed    atomic.Int64
	expires [causes]atomic.Int64
}

type sourceCounters struct {
	verdicts [verdicts]atomic.Int64
	last     atomic.Int64
	expired  atomic.Int64
}

// maxSources is how many sources are counted apart; the rest are counted under the empty name.
const maxSources = 256

// NewCounters returns counters of zero.
func NewCounters() *Counters { return &Counters{sources: map[Source]*sourceCounters{}} }

func (t *Counters) source(s Source) *sourceCounters {
	t.mu.RLock()
	c := t.sources[s]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sources) >= maxSources && t.sources[s] == nil {
		s = "" // a caller may name any source; the map must not grow with it
	}
	if c = t.sources[s]; c == nil {
		c = &sourceCounters{}
		t.sources[s] = c
	}
	return c
}

type appCounters struct{ reports, changes, queries, ids atomic.Int64 }

// maxApps is how many apps are counted apart; the rest are counted under the empty name.
const maxApps = 1024

func (t *Counters) app(id AppID) *appCounters {
	if all := t.apps.Load(); all != nil {
		if a := (*all)[id]; a != nil {
			return a
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[AppID]*appCounters{}
	if old := t.apps.Load(); old != nil {
		all = maps.Clone(*old)
	}
	if len(all) >= maxApps && all[id] == nil {
		id = ""
	}
	if all[id] == nil {
		all[id] = &appCounters{}
		t.apps.Store(&all)
	}
	return all[id]
}

// Asked counts a question about so many peers of an app.
func (t *Counters) Asked(id AppID, ids int) {
	a := t.app(id)
	a.queries.Add(1)
	a.ids.Add(int64(ids))
}

// AppCounts are totals of one app.
type AppCounts struct{ Reports, Changes, Queries, IDs int64 }

// OfApp returns the totals of an app since the start.
func (t *Counters) OfApp(id AppID) AppCounts {
	all := t.apps.Load()
	if all == nil || (*all)[id] == nil {
		return AppCounts{}
	}
	a := (*all)[id]
	return AppCounts{Reports: a.reports.Load(), Changes: a.changes.Load(), Queries: a.queries.Load(), IDs: a.ids.Load()}
}

func (t *Counters) report(r *Report, o Outcome, received Millis) {
	if r.Ahead != 0 {
		t.ahead.Add(1)
	}
	own := r.Cause == CauseReconciled // the source did not speak by itself
	if !own {
		t.clocks.note(r, o.Verdict, received)
	}
	a := t.app(r.App)
	a.reports.Add(1)
	if o.Turned {
		a.changes.Add(1)
	}
	c := t.source(r.Source)
	c.verdicts[min(o.Verdict, verdicts-1)].Add(1)
	if !own {
		c.last.Store(int64(received))
	}
	if o.Turned {
		t.changes.Add(1)
	}
}

func (t *Counters) expired(id AppID, o Outcome) {
	t.changes.Add(1)
	t.app(id).changes.Add(1)
	t.expires[min(o.Summary.Cause, causes-1)].Add(1)
	if o.Source != "" && o.Summary.Cause == CauseExpired {
		t.source(o.Source).expired.Add(1)
	}
}

// Missing returns of each source how many peers turned offline because its lease ran out, so that
// an offline of it was missing.
func (t *Counters) Missing() map[Source]int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[Source]int64, len(t.sources))
	for s, c := range t.sources {
		all[s] = c.expired.Load()
	}
	return all
}

// Reports returns how many reports of each source met each verdict.
func (t *Counters) Reports() map[Source]map[Verdict]int64 {
	t.mu.RLock()
	sources := maps.Clone(t.sources)
	t.mu.RUnlock()
	all := make(map[Source]map[Verdict]int64, len(sources))
	for s, c := range sources {
		counts := map[Verdict]int64{}
		for v := Taken; v < verdicts; v++ {
			counts[v] = c.verdicts[v].Load()
		}
		all[s] = counts
	}
	return all
}

// Last returns when the last report of each source was received.
func (t *Counters) Last() map[Source]Millis {
	t.mu.RLock()
	defer t.mu.RUnlock()
	last := make(map[Source]Millis, len(t.sources))
	for s, c := range t.sources {
		last[s] = Millis(c.last.Load())
	}
	return last
}

// Changes returns how many times a peer's status turned.
func (t *Counters) Changes() int64 { return t.changes.Load() }

// Shed returns how many short-lived peers were forgotten because memory was nearly full.
func (t *Counters) Shed() int64 { return t.shed.Load() }

// Expired returns how many peers turned offline because nothing more was received, by cause.
func (t *Counters) Expired(c Cause) int64 { return t.expires[min(c, causes-1)].Load() }
