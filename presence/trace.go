package presence

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// A Traced is one report as it was received and what the merge made of it.
type Traced struct {
	Report   Report
	Received Millis
	Verdict  Verdict
	Turned   bool
}

// Trace remembers the last reports that this process has received, in a ring of fixed size. It is
// for people who ask why a peer is shown as it is; nothing is decided by it, and it starts empty
// with the process.
//
// Reports are numbered from 1. Those whose peers fall into one bucket are chained from the latest
// to the oldest by their numbers; a number that has left the ring ends its chain, so nothing needs
// to be unchained.
type Trace struct {
	seed maphash.Seed
	mu   sync.Mutex
	ring []Traced
	// By place in the ring: the number of the report before in its bucket, 0 for none.
	before  []uint64
	buckets []uint64 // the number of the latest report of each
	count   uint64   // of all reports so far, and so the number of the latest
}

// NewTrace returns a trace of the last n reports.
func NewTrace(n int) *Trace {
	n = max(n, 0)
	return &Trace{
		seed: maphash.MakeSeed(), ring: make([]Traced, n), before: make([]uint64, n), buckets: make([]uint64, 1<<bits.Len(uint(max(n, 1)-1))),
	}
}

func (t *Trace) bucket(key Key) uint64 {
	return maphash.Comparable(t.seed, key) & uint64(len(t.buckets)-1)
}

func (t *Trace) place(number uint64) int { return int((number - 1) % uint64(len(t.ring))) }

func (t *Trace) add(r *Report, o Outcome, received Millis) {
	if len(t.ring) == 0 {
		return
	}
	bucket := t.bucket(r.Key())
	t.mu.Lock()
	t.count++
	at := t.place(t.count)
	t.ring[at] = Traced{Report: *r, Received: received, Verdict: o.Verdict, Turned: o.Turned}
	t.before[at], t.buckets[bucket] = t.buckets[bucket], t.count
	t.mu.Unlock()
}

// Last returns up to n of the last reports about key, the latest first.
func (t *Trace) Last(key Key, n int) []Traced {
	var found []Traced
	t.walk(key, func(e *Traced) bool {
		if len(found) < n {
			found = append(found, *e)
		}
		return len(found) < n
	})
	return found
}

// walk calls see with the reports about key, the latest first, until it returns false. It returns
// how many reports it looked at.
func (t *Trace) walk(key Key, see func(*Traced) bool) (looked int) {
	bucket := t.bucket(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	for number := t.buckets[bucket]; number != 0 && t.count-number < uint64(len(t.ring)); {
		at := t.place(number)
		looked++
		if e := &t.ring[at]; e.Report.Peer == key.Peer && e.Report.App == key.App && !see(e) {
			break
		}
		number = t.before[at]
	}
	return looked
}

// erase removes what is remembered of key.
func (t *Trace) erase(key Key) {
	t.walk(key, func(e *Traced) bool {
		*e = Traced{}
		return true
	})
}
