package sse

import "rollcall/internal/nonblock"

const canAsk = true

// length returns how many bytes the reader's side has not acknowledged; 0 when that is unknown.
func (q queue) length() int {
	if q.tcp == nil {
		return 0
	}
	n := 0
	err := q.raw.Control(func(fd uintptr) { n = nonblock.Queued(fd) })
	if err != nil {
		return 0
	}
	return n
}

// An offer is bytes for a socket to take without waiting. It is kept, because a closure made for
// every write is garbage.
type offer struct {
	b   []byte
	n   int // taken
	err error
	try func(fd uintptr)
}

// write has the socket take what it has room for of b, and returns how much that was.
func (o *offer) write(q *queue, b []byte) (int, error) {
	if o.try == nil {
		o.try = func(fd uintptr) { o.n, o.err = nonblock.Write(fd, o.b) }
	}
	o.b, o.n, o.err = b, 0, nil
	err := q.raw.Control(o.try) // for as long as it runs the socket is not closed
	o.b = nil
	if err == nil {
		err = o.err
	}
	return o.n, err
}
