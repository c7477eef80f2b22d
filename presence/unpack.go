package presence

import (
	"encoding/binary"
	"fmt"
	"time"
)

// unpacker reads the variable part. After a mistake bad is set and everything reads as zero.
type unpacker struct {
	b       []byte
	at      int // how much of b is read
	base    Millis
	bad     bool
	format2 bool
	newer   string // what of it only a later release knows
}

func (r *unpacker) fail() {
	r.bad, r.at = true, len(r.b)
}

// left returns how many bytes are to be read.
func (r *unpacker) left() int { return len(r.b) - r.at }

// later notes that what is read now is known to a later release only; what follows it cannot be
// read.
func (r *unpacker) later(format string, args ...any) {
	if !r.bad {
		r.newer = fmt.Sprintf(format, args...)
	}
	r.fail()
}

func (r *unpacker) byte() byte {
	if r.at >= len(r.b) {
		r.fail()
		return 0
	}
	v := r.b[r.at]
	r.at++
	return v
}

func (r *unpacker) cause() Cause {
	c := Cause(r.byte())
	if !c.Known() {
		r.later("cause %d of a session", c)
		return CauseUnknown
	}
	return c
}

func (r *unpacker) uvarint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 1<<7 { // as most are
		r.at++
		return uint64(r.b[r.at-1])
	}
	v, n := binary.Uvarint(r.b[r.at:])
	r.pass(n)
	return v // zero when there was none
}

func (r *unpacker) varint() int64 {
	v, n := binary.Varint(r.b[r.at:])
	r.pass(n)
	return v // zero when there was none
}

// pass moves past the n bytes of a number; there was none when n is not positive.
func (r *unpacker) pass(n int) {
	if n <= 0 {
		r.fail()
		return
	}
	r.at += n
}

// count reads how many elements of at least size bytes follow; more than fit is a mistake.
func (r *unpacker) count(size int) int {
	n := r.uvarint()
	if n > 0 && n > uint64(r.left()/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *unpacker) hash() uint64 {
	if r.left() < 6 {
		r.fail()
		return 0
	}
	v := millis48(r.b[r.at:])
	r.at += 6
	return uint64(v)
}

// number reads a count that something is kept of, so it is not zero.
func (r *unpacker) number() int {
	n := r.uvarint()
	if n == 0 || n > maxOpen {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *unpacker) string() string { return string(r.bytes()) }

// again reads a string into memory that held old, which is returned if it is the same: it is not
// allocated once more.
func (r *unpacker) again(old string) string {
	if b := r.bytes(); string(b) != old {
		return string(b)
	}
	return old
}

// longer returns list with one more element: whatever its memory held there, for an unpacker to
// replace.
func longer[T any](list []T) []T {
	if len(list) < cap(list) {
		return list[:len(list)+1]
	}
	return append(list, *new(T))
}

// bytes reads as string does; what it returns is part of what is read.
func (r *unpacker) bytes() []byte {
	n := r.uvarint()
	if n > uint64(r.left()) {
		r.fail()
		return nil
	}
	v := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return v
}

func (r *unpacker) source() Source { return r.sourceAgain("") }

// sourceAgain reads as again does.
func (r *unpacker) sourceAgain(old Source) Source {
	c := int(r.byte())
	switch {
	case c == 0:
		return Source(r.again(string(old)))
	case c >= len(sourceCodes):
		r.later("source %d", c)
		return ""
	}
	return sourceCodes[c]
}

func (r *unpacker) millis() Millis { return r.base + Millis(r.varint()) }

func (r *unpacker) duration() time.Duration { return r.within(r.uvarint()) }

// within returns ms as a duration of those that a state may hold.
func (r *unpacker) within(ms uint64) time.Duration {
	if ms > uint64(MaxLease/time.Millisecond) {
		r.fail()
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
