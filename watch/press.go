package watch

import (
	"slices"
	"sync"
)

// A Form puts batches into the bytes of a door.
type Form struct {
	// Append appends b to out. Of two batches that say the same it makes the same.
	Append func(out []byte, b *Batch) []byte
}

// In returns b in form f. Watchers that are told the same share the bytes, so they are not to be changed, and they are valid as
// long as b.
func (b *Batch) In(f *Form) []byte {
	if b.press == nil {
		return f.Append(nil, b)
	}
	return b.press.in(f)
}

// A press puts batches into bytes for a goroutine that tells many watchers in a row. Those that follow the same peers are told
// the same, and it is put into bytes once.
type press struct {
	last  Batch
	next  Batch // where a watcher puts what it takes
	casts []cast
	fresh int // of casts, how many are of last

	sent, batches int64 // not yet counted by the hub
}

// A cast is what a press made of its last batch.
type cast struct {
	form  *Form
	bytes []byte
}

var presses = sync.Pool{New: func() any { return new(press) }}

// keepCast is the largest buffer that is used again.
const keepCast = 64 << 10

// set returns what is in p.next, or the last batch when that says the same.
func (p *press) set() *Batch {
	if !p.next.same(&p.last) {
		p.last, p.next, p.fresh = p.next, p.last, 0
		p.last.press = p
	}
	return &p.last
}

// same reports whether b and o say the same.
func (b *Batch) same(o *Batch) bool {
	return b.Kind == o.Kind && b.More == o.More && b.Age == o.Age && b.Token.same(&o.Token) && slices.Equal(b.Words, o.Words)
}

func (p *press) in(f *Form) []byte {
	for i := range p.fresh {
		if p.casts[i].form == f {
			return p.casts[i].bytes
		}
	}
	if p.fresh == len(p.casts) {
		p.casts = append(p.casts, cast{})
	}
	c := &p.casts[p.fresh]
	p.fresh++
	c.form, c.bytes = f, f.Append(c.bytes[:0], &p.last)
	return c.bytes
}

// rest makes p ready for another round; it keeps no words, and no memory that is seldom needed.
func (p *press) rest(stats *counters) {
	stats.sent.Add(p.sent)
	stats.batches.Add(p.batches)
	clear(p.last.Words[:cap(p.last.Words)])
	clear(p.next.Words[:cap(p.next.Words)])
	*p = press{last: Batch{Words: p.last.Words[:0]}, next: Batch{Words: p.next.Words[:0]}, casts: p.casts}
	for i := range p.casts {
		if cap(p.casts[i].bytes) > keepCast {
			p.casts[i].bytes = nil
		}
	}
	presses.Put(p)
}
