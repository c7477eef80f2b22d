package gateway

import (
	"os"
	"sync"

	"rollcall/presence"
)

// errDeadline is what a write returns that took longer than the stall.
var errDeadline = os.ErrDeadlineExceeded

// readSize is how many bytes are read at once. Only sockets with a goroutine hold such a buffer
// while they wait.
const readSize = 8 << 10

var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// slowSize is the buffer of a socket with a goroutine of its own.
const slowSize = 1 << 10

// read is the goroutine of a socket that the poller cannot watch.
func (s *Socket) read() {
	var buf [slowSize]byte
	for {
		n, err := s.conn.Read(buf[:])
		if n > 0 && !s.take(buf[:n]) {
			return
		}
		if err != nil {
			s.end(presence.CauseLost, s.g.Now())
			return
		}
	}
}
