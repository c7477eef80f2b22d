package framing

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"

	"rollcall/internal/conns"
)

// A Listener guards every connection it accepts. The server must have [ConnState] as its hook.
type Listener struct {
	net.Listener
	Code Code
}

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(c, nil, false, l.Code), nil
}

// ConnState passes the state of a connection from its server to its [Conn]. It is for
// http.Server.ConnState.
func ConnState(c net.Conn, state http.ConnState) {
	if g, ok := c.(*Conn); ok {
		switch state {
		case http.StateHijacked:
			g.state.Store(hijacked)
		case http.StateIdle:
			g.state.Store(answered)
		}
	}
	if m := conns.MarkOf(c); m != nil {
		switch state {
		case http.StateIdle:
			m.Idle()
		case http.StateActive:
			m.Busy()
		case http.StateHijacked:
			m.Busy()
			m.Settle()
		}
	}
}

// The states of a connection that its server has reported.
const (
	unanswered uint32 = iota
	answered          // a request has been answered
	hijacked
)

// maxLine bounds what is held back of a line. It is above net/http's limit of a head as we set it,
// so that net/http refuses.
const maxLine = 64 << 10

// poison is what net/http refuses where a line begins: it is no request line and no field. It has
// the four bytes that net/http waits for before it reads a request.
var poison = []byte("xx\n\n")

// A Conn lets through what has one reading. Reads are for one goroutine at a time, as net/http does
// them.
type Conn struct {
	net.Conn
	state atomic.Uint32
	code  Code
	f     follower
	ready []byte // judged good, not read yet
	held  []byte // not judged yet
	err   error  // the end, once ready is empty
}

// NewConn guards c. first are bytes that were read from c already; begun says that requests before
// them were answered. code may be nil.
func NewConn(c net.Conn, first []byte, begun bool, code Code) *Conn {
	g := &Conn{Conn: c, code: code}
	g.f.begun = begun
	if len(first) > 0 {
		g.judge(slices.Clone(first))
	}
	return g
}

// Unwrap returns the connection below, for setting socket options.
func (c *Conn) Unwrap() net.Conn { return c.Conn }

// Detach returns the connection below and the bytes that were read from it and not yet consumed. It
// is for a caller that has hijacked the connection and wants no more checks; the guard is of no use
// afterwards.
func (c *Conn) Detach() (net.Conn, []byte) {
	left := slices.Concat(c.ready, c.held)
	c.ready, c.held = nil, nil
	return c.Conn, left
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(c.ready) > 0:
			return c.take(&c.ready, p), nil
		case c.f.place == opaque || c.f.place == upgrading || c.state.Load() == hijacked:
			return c.readUnjudged(p)
		case c.err != nil:
			return 0, c.err
		case len(c.held) == 0 && len(p) >= 512:
			n, err := c.Conn.Read(p)
			if n == 0 {
				return 0, err
			}
			if n = c.judgeInPlace(p[:n]); n > 0 {
				return n, nil
			}
		default:
			if err := c.readMore(); err != nil {
				return 0, err
			}
		}
	}
}

// readUnjudged reads what is not ours to judge.
func (c *Conn) readUnjudged(p []byte) (int, error) {
	if c.f.place == upgrading && c.state.Load() == answered {
		return 0, io.EOF // answered without an upgrade: what follows might be either
	}
	if len(c.held) > 0 {
		return c.take(&c.held, p), nil
	}
	return c.Conn.Read(p)
}

func (c *Conn) take(from *[]byte, p []byte) int {
	n := copy(p, *from)
	*from = (*from)[n:]
	if len(*from) == 0 {
		*from = nil // a connection may live long
	}
	return n
}

// judgeInPlace judges b and returns how much of it may be read as it stands.
func (c *Conn) judgeInPlace(b []byte) int {
	n, ok := c.f.follow(b)
	c.settle(b[n:], ok)
	return n
}

// readMore reads behind what is held and judges all of it.
func (c *Conn) readMore() error {
	have := len(c.held)
	c.held = slices.Grow(c.held, 512)
	n, err := c.Conn.Read(c.held[have:cap(c.held)])
	c.held = c.held[:have+n]
	if n == 0 {
		return err
	}
	if have > 0 && len(c.held) <= maxLine && bytes.IndexByte(c.held[have:], '\n') < 0 {
		// Still the same line; who sends it byte by byte must not have us read it again each time.
		return nil
	}
	b := c.held
	c.held = nil
	c.judge(b)
	return nil
}

// judge judges b, which becomes c's.
func (c *Conn) judge(b []byte) {
	n, ok := c.f.follow(b)
	c.ready = b[:n:n]
	c.settle(b[n:], ok)
}

// settle keeps the rest behind what was good, or ends the connection there.
func (c *Conn) settle(rest []byte, ok bool) {
	if c.f.place == upgrading {
		c.state.CompareAndSwap(answered, unanswered)
	}
	switch {
	case !ok && c.f.place >= atChunk:
		c.err = io.ErrUnexpectedEOF // within a body the handler learns of it
	case !ok:
		c.ready = append(c.ready, poison...)
		c.err = io.EOF
	case len(rest) > maxLine && c.f.place != upgrading && c.f.place != opaque:
		if c.f.place == atStart {
			c.f.target.note(rest)
		}
		c.ready = append(c.ready, rest...)
		c.err = io.EOF
	case len(rest) > 0:
		c.held = append(c.held, rest...)
	}
}
