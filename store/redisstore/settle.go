package redisstore

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

const (
	// settleStep is how many peers one step of a sweep locks, so that reports on them do not wait
	// long.
	settleStep = 128
	// settleWithin bounds a step: no caller waits for a sweep, but reports wait for the locks it
	// holds.
	settleWithin = time.Second
	// mostDoubts bounds the memory for writes of which it is not known whether they took place.
	mostDoubts = 1 << 16
)

// Settle implements [presence.Settler]. An end that Redis carried out for this process counts here
// once, also when its answer was lost: a later sweep finds out. One that another process carried
// out does not count here.
func (s *Store) Settle(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	errs := make([]error, len(keys))
	for from := 0; from < len(keys); from += settleStep {
		some := keys[from:min(from+settleStep, len(keys))]
		copy(errs[from:], s.settleSome(ctx, some, now, func(i int, st *presence.State) presence.Effect { return merge(from+i, st) }))
	}
	return partly(errs)
}

// settleSome settles a few peers and returns an error for each that it could not, nil when there is
// none.
func (s *Store) settleSome(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	if s.conn.Closed() {
		return slices.Repeat([]error{conn.ErrClosed}, len(keys))
	}
	var waits []int
	if s.outage.box.Spooling() {
		waits = s.outage.box.Waits(keys)
	}
	ctx, cancel := context.WithTimeout(ctx, max(settleWithin, s.cfg.Deadline))
	defer cancel()
	if len(waits) == 0 {
		return s.writer.updateWith(ctx, keys, now, merge, &s.writer.doubts)
	}
	// What waits in the spool comes before what follows from time.
	errs := make([]error, len(keys))
	var rest []presence.Key
	var index []int
	for i, k := range keys {
		if slices.Contains(waits, i) {
			errs[i] = conn.ErrDown
			continue
		}
		rest, index = append(rest, k), append(index, i)
	}
	if len(rest) == 0 {
		return errs
	}
	for k, err := range s.writer.updateWith(ctx, rest, now, func(k int, st *presence.State) presence.Effect { return merge(index[k], st) }, &s.writer.doubts) {
		errs[index[k]] = err
	}
	return errs
}

// Doubts are states that were sent to be written and of which no answer came, by index member. When
// what stands later is what was sent, it was this process that wrote it.
type doubts struct {
	mu sync.Mutex
	of map[string]doubt
}

type doubt struct{ was, next []byte }

// holds reports whether the state of a peer is what an earlier call has written without learning of
// it.
func (d *doubts) holds(member string, state []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, known := d.of[member]
	return known && bytes.Equal(x.next, state)
}

// resume has those jobs merge again what an earlier call has written without learning of it.
func (d *doubts) resume(jobs []*job) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range jobs {
		x, known := d.of[j.member]
		if !known {
			continue
		}
		delete(d.of, j.member)
		if bytes.Equal(x.next, j.was) {
			j.was, j.resumed = x.was, true
		}
	}
}

// keep remembers the jobs that were sent and did not come back.
func (d *doubts) keep(jobs []job) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range jobs {
		j := &jobs[i]
		if !j.sent || j.err == nil || len(j.next) == 0 {
			continue
		}
		if d.of == nil || len(d.of) >= mostDoubts {
			d.of = map[string]doubt{}
		}
		d.of[j.member] = doubt{bytes.Clone(j.was), bytes.Clone(j.next)}
	}
}
