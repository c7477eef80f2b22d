package watch

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

// A Form encodes batches for one door.
type Form struct {
	// Append appends b to out. Equal batches must give equal bytes.
	Append func(out []byte, b *Batch) []byte
}

// AppendMembers appends what b says to a client that may see d, as the members of a JSON object
// without its braces: the time of a mark or the peers, then "more" and "stale" when they are so.
// The kind and the token are left to the door, whose protocol has places of its own for them.
func (b *Batch) AppendMembers(out []byte, d presence.Detail) []byte {
	if b.Kind == Mark {
		out = append(out, `"at":`...)
		out = strconv.AppendInt(out, time.Now().UnixMilli(), 10)
	} else {
		out = append(out, `"peers":[`...)
		for i, u := range b.Updates {
			if i > 0 {
				out = append(out, ',')
			}
			if b.Kind == Change {
				out = append(out, u.JSON(d)...)
			} else {
				out = u.AppendJSON(out, d) // most snapshots have one reader; keep no copy
			}
		}
		out = append(out, ']')
		if b.More {
			out = append(out, `,"more":true`...)
		}
	}
	if b.Age > 0 {
		out = append(append(out, `,"stale":`...), ask.AgeText(b.Age)...)
	}
	return out
}

// In returns b encoded in form f. Watchers that receive the same batch share the bytes: do not
// change them. They are valid as long as b.
func (b *Batch) In(f *Form) []byte {
	if b.encoder == nil {
		return f.Append(nil, b)
	}
	return b.encoder.in(f)
}

// An encoder encodes batches for a goroutine that pushes to many watchers in a row. Watchers of the
// same peers receive the same batch, and it is encoded once.
type encoder struct {
	last  Batch
	next  Batch // where a watcher puts what it takes
	made  []encoded
	fresh int // of made, how many are of last

	sent, batches int64 // not yet counted by the hub
}

// An encoded is what a press made of its last batch.
type encoded struct {
	form  *Form
	bytes []byte
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// keepEncoded is the largest buffer that is used again.
const keepEncoded = 64 << 10

// set returns what is in p.next, or the last batch when that says the same.
func (p *encoder) set() *Batch {
	if !p.next.same(&p.last) {
		p.last, p.next, p.fresh = p.next, p.last, 0
		p.last.encoder = p
	}
	return &p.last
}

// same reports whether b and o say the same.
func (b *Batch) same(o *Batch) bool {
	return b.Kind == o.Kind && b.More == o.More && b.Age == o.Age && b.Token.Same(&o.Token) && slices.Equal(b.Updates, o.Updates)
}

func (p *encoder) in(f *Form) []byte {
	for i := range p.fresh {
		if p.made[i].form == f {
			return p.made[i].bytes
		}
	}
	if p.fresh == len(p.made) {
		p.made = append(p.made, encoded{})
	}
	c := &p.made[p.fresh]
	p.fresh++
	c.form, c.bytes = f, f.Append(c.bytes[:0], &p.last)
	return c.bytes
}

// rest makes p ready for another round; it keeps no updates, and no memory that is seldom needed.
func (p *encoder) rest(stats *counters) {
	stats.sent.Add(p.sent)
	stats.batches.Add(p.batches)
	clear(p.last.Updates[:cap(p.last.Updates)])
	clear(p.next.Updates[:cap(p.next.Updates)])
	*p = encoder{last: Batch{Updates: p.last.Updates[:0]}, next: Batch{Updates: p.next.Updates[:0]}, made: p.made}
	for i := range p.made {
		if cap(p.made[i].bytes) > keepEncoded {
			p.made[i].bytes = nil
		}
	}
	encoders.Put(p)
}
