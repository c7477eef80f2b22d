package sse

import (
	"strconv"
	"time"

	"rollcall/watch"
)

// A teller is a stream to the hub: what it tells goes to the socket below the HTTP server, at once or not at all. The
// server has nothing buffered then, for every write of ours is flushed, and it writes nothing of its own before the end.
type teller stream

// Ready implements [watch.Teller].
func (t *teller) Ready() bool {
	s := (*stream)(t)
	if s.timed || s.left != nil || s.fault != nil {
		return false
	}
	if s.unasked > backlog {
		s.unasked = s.queue.length()
	}
	return s.unasked <= backlog
}

// chunkHead is room for the length of a chunk and its line end.
const chunkHead = 8 + 2

// Tell implements [watch.Teller].
func (t *teller) Tell(b *watch.Batch) bool {
	s := (*stream)(t)
	var room [chunkHead]byte
	s.buf = append(s.buf[:0], room[:]...)
	s.frame(b)
	out := s.buf[chunkHead:]
	if s.chunked {
		var hex [chunkHead]byte
		head := append(strconv.AppendInt(hex[:0], int64(len(out)), 16), "\r\n"...)
		from := chunkHead - len(head)
		copy(s.buf[from:], head)
		s.buf = append(s.buf, "\r\n"...)
		out = s.buf[from:]
	}
	n, err := s.offer.write(s.queue, out)
	s.unasked += len(out)
	if err != nil {
		s.fault = err
		return false
	}
	if n < len(out) {
		s.left = out[n:]
		return false
	}
	s.emptied()
	return true
}

// finish writes what is left of what the hub told.
func (s *stream) finish() error {
	if s.left == nil {
		return s.fault
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.cfg.Stall))
	if _, err := s.queue.tcp.Write(s.left); err != nil {
		return err
	}
	_ = s.rc.SetWriteDeadline(time.Time{})
	s.left = nil
	s.emptied()
	return nil
}

// emptied makes the buffer ready for the next frame; one that was long is rare, and its memory is not kept.
func (s *stream) emptied() {
	s.buf = s.buf[:0]
	if cap(s.buf) > keepBuffer {
		s.buf = nil
	}
}
