package sse

import (
	"slices"
	"strconv"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// A pusher is a stream as the hub writes to it: batches go to the socket below the HTTP server, at
// once or not at all. The server has nothing buffered then, for every write of ours is flushed, and
// it writes nothing of its own before the end.
type pusher stream

// Ready implements [watch.Pusher].
func (p *pusher) Ready() bool {
	s := (*stream)(p)
	if s.timed || s.left != nil || s.fault != nil {
		return false
	}
	if s.unasked > backlog {
		s.unasked = s.queue.length()
	}
	return s.unasked <= backlog
}

// Push implements [watch.Pusher].
func (p *pusher) Push(b *watch.Batch) bool {
	s := (*stream)(p)
	out := s.bytes(b)
	n, err := s.offer.write(&s.queue, out)
	s.unasked += len(out)
	if err != nil {
		s.fault = err
		return false
	}
	if n < len(out) {
		s.left = append([]byte(nil), out[n:]...) // out is shared with other streams
		return false
	}
	return true
}

// bytes returns b as it goes to the socket.
func (s *stream) bytes(b *watch.Batch) []byte {
	if s.renewal == "" {
		return b.In(s.form)
	}
	// The renewal of a ticket is for its owner only.
	s.buf = appendEvent(s.buf[:0], b, s.detail, s.renewal)
	if s.chunked {
		s.buf = chunk(s.buf, 0)
	}
	out := s.buf
	s.emptied()
	return out
}

// formOf returns how streams of one kind are put into bytes.
func formOf(d presence.Detail, chunked bool) *watch.Form {
	if chunked {
		return &chunks[d]
	}
	return &events[d]
}

var (
	events = [...]watch.Form{
		presence.DetailBrief: {Append: func(out []byte, b *watch.Batch) []byte { return appendEvent(out, b, presence.DetailBrief, "") }},
		presence.DetailFull:  {Append: func(out []byte, b *watch.Batch) []byte { return appendEvent(out, b, presence.DetailFull, "") }},
	}
	chunks = [...]watch.Form{
		presence.DetailBrief: {Append: func(out []byte, b *watch.Batch) []byte {
			return chunk(events[presence.DetailBrief].Append(out, b), len(out))
		}},
		presence.DetailFull: {Append: func(out []byte, b *watch.Batch) []byte {
			return chunk(events[presence.DetailFull].Append(out, b), len(out))
		}},
	}
)

// chunk makes a chunk of HTTP/1.1 of what b holds from start on, in its place.
func chunk(b []byte, start int) []byte {
	var head [8 + 2]byte
	h := append(strconv.AppendInt(head[:0], int64(len(b)-start), 16), "\r\n"...)
	return append(slices.Insert(b, start, h...), "\r\n"...)
}

// finish writes what is left of the hub's last push.
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
	return nil
}

// emptied makes the buffer ready for the next frame; one that was long is rare, and its memory is
// not kept.
func (s *stream) emptied() {
	s.buf = s.buf[:0]
	if cap(s.buf) > keepBuffer {
		s.buf = nil
	}
}
