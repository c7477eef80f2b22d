package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rollcall/edge/gateway/frame"
	"rollcall/internal/limit"
	"rollcall/internal/nonblock"
	"rollcall/internal/trace"
	"rollcall/presence"
)

// A Handler speaks a wire on one socket, or on many when it keeps nothing of its own. Messages of a
// socket come one at a time; the other methods may be called beside them.
type Handler interface {
	// Message takes one whole message. data is valid during the call only.
	Message(s *Socket, data []byte)
	// RateLimited takes a message beyond the rate; it is not to be worked on, but may be refused in
	// words.
	RateLimited(s *Socket, data []byte)
	// Ended notifies the client that the server ended a session, because it was kicked or another
	// device took its place. The socket stays.
	Ended(ss *Session, cause presence.Cause, reason string)
	// GoAway asks the client to connect elsewhere and reports whether the wire has a word for that.
	GoAway(s *Socket) bool
	// Closed comes once, when the socket is gone and its sessions are over. A message that is being
	// worked on may still be.
	Closed(s *Socket)
}

type socketState uint8

const (
	socketOpen    socketState = iota
	socketClosing             // our close frame is sent; waiting for the client's
	socketGone
)

// A Socket is one connection of a client. Its methods may be called from anywhere unless they say
// otherwise.
type Socket struct {
	// What a push to a watcher touches stands together: among a thousand sockets each cache line
	// costs as much as the work.
	mu sync.Mutex
	// -1 unless the kernel can be asked without waiting; it stays open while the state is not
	// socketGone.
	fd       int32
	flight   int32 // bytes that the flusher has in hand
	state    socketState
	flushing bool
	op       frame.Op // what its messages are
	foreign  bool     // a browser from an origin that is not on the list; here it takes no room
	out      []byte

	// These are of mu too.
	raw      syscall.RawConn // of fd
	sessions []*Session
	idle     time.Duration // since when it has no session; while closing, when to stop waiting
	lost     int32         // close code that says why, for events

	g       *Gateway
	conn    net.Conn
	handler Handler
	remote  netip.Addr
	trace   *trace.Context

	// owned by the read loop
	in       frame.Reader
	tooBig   int32
	messages limit.Meter
	controls limit.Meter
	overRate limit.Meter // messages beyond the rate

	reads    atomic.Int32 // wake-ups that the present reader has not seen yet
	born     time.Duration
	received atomic.Int64 // since g.born
	until    atomic.Int64 // since g.born, when what let the client in ends; 0: never
	spoke    atomic.Bool  // sent a message or a ping
	stays    atomic.Bool  // needs no session
	early    atomic.Bool  // counts as one that has had no session
}

// Remote returns the address of the client.
func (s *Socket) Remote() netip.Addr { return s.remote }

// traced returns the trace of the request that opened the socket.
func (s *Socket) traced() trace.Context {
	if s.trace == nil {
		return trace.Context{}
	}
	return *s.trace
}

// Foreign reports whether the socket comes from a browser origin that is not on the list.
func (s *Socket) Foreign() bool { return s.foreign }

// Gateway returns the gateway that holds s.
func (s *Socket) Gateway() *Gateway { return s.g }

// Context ends when the gateway closes.
func (s *Socket) Context() context.Context { return s.g.ctx }

// Stay lets s live without a session, as a client that only watches does, with the larger limit for
// its messages. Only the handler's Message may call it.
func (s *Socket) Stay() {
	s.stays.Store(true)
	s.settle()
	if c, ok := s.conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(kernelBuffer) // without it a client that stopped is only noticed later
	}
	s.in.Limit = s.g.cfg.MessageLimit
}

// Until has s closed when left has passed, because what let its client in ends then: its sessions
// end as lost. Only the handler's Message may call it, again with each renewal.
func (s *Socket) Until(left time.Duration) { s.until.Store(int64(s.g.mono() + left)) }

// settle takes s out of the count of its address's sockets that have had no session.
func (s *Socket) settle() {
	if s.early.Swap(false) {
		s.g.limits.leave(s.remote, s.g.mono())
	}
}

// kernelBuffer is how much the kernel may hold for a client that watches. Left alone it grows to
// megabytes. Linux doubles it.
const kernelBuffer = 64 << 10

// Sessions returns the sessions that are open on s, the first opened first.
func (s *Socket) Sessions() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Session(nil), s.sessions...)
}

// Pending returns how many bytes wait for the client to read.
func (s *Socket) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out) + int(s.flight)
}

// Queued returns how many bytes are in flight to the client, not acknowledged; 0 where the kernel
// cannot be asked.
func (s *Socket) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == socketGone || s.fd < 0 {
		return 0
	}
	// The lock keeps the descriptor: it is closed when s is gone.
	return nonblock.Queued(uintptr(s.fd))
}

// Slow closes s, whose client takes nothing of what it is sent: behind what is on its way, if there
// is room for it.
func (s *Socket) Slow() {
	s.g.Refuse(RefusedSlow)
	s.Close(frame.ClosePolicy, "SLOW")
}

// Send sends one message. What the client does not read waits, up to the limit; beyond it the
// socket is ended.
func (s *Socket) Send(message []byte) {
	b := frames.Get().(*[]byte)
	*b = frame.Append((*b)[:0], s.op, message)
	s.write(*b) // keeps nothing of it
	if cap(*b) <= keptFrame {
		frames.Put(b)
	}
}

// SendFrames sends whole frames, as package frame makes them of text or bytes alike. It keeps
// nothing of b.
func (s *Socket) SendFrames(b []byte) { s.write(b) }

// frames are the buffers in which messages are framed; no socket needs one of its own.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// keptFrame is the largest buffer that is used again.
const keptFrame = 16 << 10

// Close ends the sessions of s as lost and closes it with a code.
func (s *Socket) Close(code int, reason string) { s.close(code, reason, presence.CauseLost) }

func (s *Socket) close(code int, reason string, cause presence.Cause) {
	s.mu.Lock()
	if s.state != socketOpen {
		s.mu.Unlock()
		return
	}
	s.lost = int32(code)
	s.mu.Unlock()
	if !s.put(frame.AppendClose(nil, code, reason), true) {
		return
	}
	s.endSessions(cause, s.g.Now())
	s.g.wheel.add(s, s.g.mono()+closeWait)
}

// closeWait is how long a client may take to answer our close frame; hanging up at once could take
// the frame with it.
const closeWait = 2 * time.Second

// end hangs up.
func (s *Socket) end(cause presence.Cause, at presence.Millis) {
	s.mu.Lock()
	if s.state == socketGone {
		s.mu.Unlock()
		return
	}
	s.state, s.out = socketGone, nil
	polled := s.g.poll != nil && s.raw != nil
	s.mu.Unlock()
	s.endSessions(cause, at)
	s.settle()
	if polled {
		s.g.poll.remove(s)
	}
	_ = s.conn.Close() // nothing is left to be lost
	s.g.live.mu.Lock()
	delete(s.g.live.set, s)
	s.g.live.mu.Unlock()
	s.g.count.sockets.Add(-1)
	s.handler.Closed(s)
}

func (s *Socket) endSessions(cause presence.Cause, at presence.Millis) {
	s.mu.Lock()
	sessions := s.sessions
	s.sessions = nil
	s.mu.Unlock()
	for _, ss := range sessions {
		s.g.lose(ss, cause, at)
	}
}

func (s *Socket) write(b []byte) { s.put(b, false) }

// put hands b to the kernel, or keeps what it does not take for the flusher. Nothing follows the
// last; it reports whether that was still to be said.
func (s *Socket) put(b []byte, last bool) bool {
	s.mu.Lock()
	if s.state != socketOpen {
		s.mu.Unlock()
		return false
	}
	if s.fd >= 0 && !s.flushing {
		n, err := nonblock.Write(uintptr(s.fd), b)
		if err != nil {
			s.mu.Unlock()
			s.end(presence.CauseLost, s.g.Now())
			return false
		}
		b = b[n:]
	}
	if last {
		s.state = socketClosing
		s.idle = s.g.mono() + closeWait
	}
	if len(b) == 0 {
		s.mu.Unlock()
		return true
	}
	if len(s.out)+int(s.flight)+len(b) > s.g.cfg.OutLimit {
		s.lost = frame.ClosePolicy
		s.mu.Unlock()
		s.g.Refuse(RefusedSlow)
		s.end(presence.CauseLost, s.g.Now())
		return false
	}
	s.out = append(s.out, b...)
	if !s.flushing {
		s.flushing = true
		s.g.sockets.Go(s.flush)
	}
	s.mu.Unlock()
	return true
}

// flushChunk is what must get through within a stall.
const flushChunk = 16 << 10

// flush writes what waits until nothing does.
func (s *Socket) flush() {
	for {
		s.mu.Lock()
		s.flight = 0
		if len(s.out) == 0 || s.state == socketGone {
			s.out, s.flushing = nil, false
			// A deadline left behind would fail the next write that does not wait.
			_ = s.conn.SetWriteDeadline(time.Time{})
			s.mu.Unlock()
			return
		}
		b := s.out
		s.out, s.flight = nil, int32(len(b))
		s.mu.Unlock()
		for len(b) > 0 {
			n := min(len(b), flushChunk)
			err := s.conn.SetWriteDeadline(time.Now().Add(s.g.cfg.Stall))
			if err == nil {
				_, err = s.conn.Write(b[:n])
			}
			if err != nil {
				if errors.Is(err, errDeadline) {
					s.g.Refuse(RefusedSlow)
				}
				s.end(presence.CauseLost, s.g.Now())
				return
			}
			b = b[n:]
			s.mu.Lock()
			s.flight = int32(len(b)) // shows that a slow client takes some
			s.mu.Unlock()
		}
	}
}

// check checks the deadlines of s and returns when to check again; zero means never.
func (s *Socket) check(now time.Duration) time.Duration {
	cfg := &s.g.cfg
	s.mu.Lock()
	state, idle, sessions := s.state, s.idle, len(s.sessions)
	s.mu.Unlock()
	switch state {
	case socketGone:
		return 0
	case socketClosing:
		if now >= idle {
			s.end(presence.CauseLost, s.g.Now())
			return 0
		}
		return idle
	case socketOpen:
	}
	// After a pause of the whole process everybody looks silent: they get one ping's time to show
	// that they are there.
	received := max(time.Duration(s.received.Load()), time.Duration(s.g.resumed.Load())-cfg.Lease+max(cfg.Ping, minWarn))
	silent := now - received
	if silent >= cfg.Lease {
		s.g.Refuse(RefusedSilence)
		s.mu.Lock()
		s.lost = closeReadTimeout
		s.mu.Unlock()
		last := s.g.Now().Add(time.Duration(s.received.Load()) - now)
		s.endSessions(presence.CauseExpired, last)
		s.Close(closeReadTimeout, "READ_TIMEOUT")
		return 0
	}
	next := received + cfg.Lease
	if until := time.Duration(s.until.Load()); until > 0 {
		if now >= until {
			s.g.Refuse(RefusedExpired)
			s.Close(closeExpired, "TOKEN_EXPIRED")
			return 0
		}
		next = min(next, until)
	}
	if sessions == 0 && !s.stays.Load() {
		born, limit, kind := idle, cfg.LoginTime, RefusedNoLogin
		if !s.spoke.Load() {
			born, limit, kind = s.born, cfg.FirstWord, RefusedFirstWord
		}
		if now-born >= limit {
			s.g.Refuse(kind)
			s.Close(closeLoginTimeout, "LOGIN_TIMEOUT")
			return 0
		}
		next = min(next, born+limit)
	}
	if cfg.Ping > 0 {
		if silent >= cfg.Ping {
			s.g.count.pings.Add(1)
			s.write(pingFrame)
			return min(next, now+cfg.Ping)
		}
		next = min(next, received+cfg.Ping)
	}
	return next
}

// The close codes that are LeanCloud's and fit every wire.
const (
	closeReadTimeout  = 4107
	closeLoginTimeout = 4108
	closeExpired      = 4111
)

// minWarn is the least time that sockets get after a pause of the process.
const minWarn = 15 * time.Second

var pingFrame = frame.Append(nil, frame.Ping, nil)
