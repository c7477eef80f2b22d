package redisstore

import (
	"bytes"
	"sync"
	"time"
)

const (
	// settleWithin bounds a step: no caller waits for a sweep, but reports wait for the locks it
	// holds.
	settleWithin = time.Second
	// mostDoubts bounds the memory for writes of which it is not known whether they took place.
	mostDoubts = 1 << 16
)

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
