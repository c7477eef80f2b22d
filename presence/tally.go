package presence

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Tally counts what this process has heard and concluded since it started.
type Tally struct {
	mu      sync.RWMutex
	sources map[Source]*sourceTally

	changes atomic.Int64
	ahead   atomic.Int64
	clocks  clocks
	shed    atomic.Int64
	expires [causes]atomic.Int64
}

type sourceTally struct {
	verdicts [verdicts]atomic.Int64
	last     atomic.Int64
}

// maxSources is how many sources are counted apart; the rest are counted under the empty name.
const maxSources = 256

// NewTally returns a tally of zeros.
func NewTally() *Tally { return &Tally{sources: map[Source]*sourceTally{}} }

func (t *Tally) source(s Source) *sourceTally {
	t.mu.RLock()
	c := t.sources[s]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sources) >= maxSources && t.sources[s] == nil {
		s = "" // whoever may report may name any source; what is counted must not grow with it
	}
	if c = t.sources[s]; c == nil {
		c = &sourceTally{}
		t.sources[s] = c
	}
	return c
}

func (t *Tally) report(r *Report, o Outcome, heard Millis) {
	if r.Ahead != 0 {
		t.ahead.Add(1)
	}
	t.clocks.note(r, o.Verdict, heard)
	c := t.source(r.Source)
	c.verdicts[min(o.Verdict, verdicts-1)].Add(1)
	c.last.Store(int64(heard))
	if o.Turned {
		t.changes.Add(1)
	}
}

func (t *Tally) expired(o Outcome) {
	t.changes.Add(1)
	t.expires[min(o.Summary.Cause, causes-1)].Add(1)
}

// Reports returns how many reports of each source met each verdict.
func (t *Tally) Reports() map[Source]map[Verdict]int64 {
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

// Last returns when the last report of each source was heard.
func (t *Tally) Last() map[Source]Millis {
	t.mu.RLock()
	defer t.mu.RUnlock()
	last := make(map[Source]Millis, len(t.sources))
	for s, c := range t.sources {
		last[s] = Millis(c.last.Load())
	}
	return last
}

// Changes returns how many times a peer's status turned.
func (t *Tally) Changes() int64 { return t.changes.Load() }

// Shed returns how many short-lived peers were forgotten because memory was nearly full.
func (t *Tally) Shed() int64 { return t.shed.Load() }

// Expired returns how many peers turned offline because nothing more was heard, by cause.
func (t *Tally) Expired(c Cause) int64 { return t.expires[min(c, causes-1)].Load() }
