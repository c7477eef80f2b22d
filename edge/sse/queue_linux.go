package sse

import (
	"errors"

	"golang.org/x/sys/unix"
)

const canAsk = true

// length returns how many bytes the reader's side has not acknowledged; 0 when nobody can tell.
func (q queue) length() int {
	if q.tcp == nil {
		return 0
	}
	n := 0
	err := q.raw.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	if err != nil {
		return 0
	}
	return n
}

// An offer is bytes for a socket to take without waiting. It is kept, because a closure made for every write is garbage.
type offer struct {
	b   []byte
	n   int // taken
	err error
	try func(fd uintptr) bool
}

// write has the socket take what it has room for of b, and returns how much that was.
func (o *offer) write(q queue, b []byte) (int, error) {
	if o.try == nil {
		o.try = o.once
	}
	o.b, o.n, o.err = b, 0, nil
	err := q.raw.Write(o.try)
	o.b = nil
	return o.n, errors.Join(o.err, err)
}

func (o *offer) once(fd uintptr) bool {
	for {
		n, err := unix.Write(int(fd), o.b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
		case err != nil:
			o.err = err
		default:
			o.n = n
		}
		return true
	}
}
