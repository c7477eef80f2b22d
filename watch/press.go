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
	spare []*Word // room for the words of the next
	casts []cast
	fresh int // of casts, how many are of last

	told, batches int64 // not yet counted by the hub
}

// A cast is what a press made of its last batch.
type cast struct {
	form  *Form
	bytes []byte
}

var presses = sync.Pool{New: func() any { return new(press) }}

// keepCast is the largest buffer that is used again.
const keepCast = 64 << 10

// set takes b, whose words lie in p.spare, and returns it, or the last one when that says the same.
func (p *press) set(b Batch) *Batch {
	if b.Kind == p.last.Kind && b.Token == p.last.Token && b.More == p.last.More && b.Age == p.last.Age && slices.Equal(b.Words, p.last.Words) {
		p.spare = b.Words[:0] // it may have grown
		return &p.last
	}
	p.spare = p.last.Words[:0]
	p.last, p.fresh = b, 0
	p.last.press = p
	return &p.last
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
	stats.told.Add(p.told)
	stats.batches.Add(p.batches)
	clear(p.last.Words[:cap(p.last.Words)])
	clear(p.spare[:cap(p.spare)])
	*p = press{last: Batch{Words: p.last.Words[:0]}, spare: p.spare[:0], casts: p.casts}
	for i := range p.casts {
		if cap(p.casts[i].bytes) > keepCast {
			p.casts[i].bytes = nil
		}
	}
	presses.Put(p)
}
