package presence

import "sync"

// A Traced is one report as it was heard and what the merge made of it.
type Traced struct {
	Report  Report
	Heard   Millis
	Verdict Verdict
	Turned  bool
}

// Trace remembers the last reports that this process has heard, in a ring of fixed size. It is for people who ask why
// a peer is shown as it is; nothing is decided by it, and it starts empty with the process.
type Trace struct {
	mu   sync.Mutex
	ring []Traced
	next int
	full bool
}

// NewTrace returns a trace of the last n reports.
func NewTrace(n int) *Trace { return &Trace{ring: make([]Traced, max(n, 0))} }

func (t *Trace) add(r *Report, o Outcome, heard Millis) {
	if len(t.ring) == 0 {
		return
	}
	t.mu.Lock()
	t.ring[t.next] = Traced{Report: *r, Heard: heard, Verdict: o.Verdict, Turned: o.Turned}
	t.next++
	if t.next == len(t.ring) {
		t.next, t.full = 0, true
	}
	t.mu.Unlock()
}

// Last returns up to n of the last reports about key, the latest first.
func (t *Trace) Last(key Key, n int) []Traced {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []Traced
	size := t.next
	if t.full {
		size = len(t.ring)
	}
	for i := 1; i <= size && len(found) < n; i++ {
		e := &t.ring[(t.next-i+len(t.ring))%len(t.ring)]
		if e.Report.Peer == key.Peer && e.Report.App == key.App {
			found = append(found, *e)
		}
	}
	return found
}

// erase removes what is remembered of key.
func (t *Trace) erase(key Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.ring {
		if t.ring[i].Report.Key() == key {
			t.ring[i] = Traced{}
		}
	}
}
