package fastlane

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/conns"
	"rollcall/internal/limit"
)

// The states of a connection. It is idle while nothing of its next request has been read. A new one
// is busy, since its first request may be on the way; that of one that never speaks ends with the
// time for a head.
const (
	busy uint32 = iota
	idle
	ended
)

// What a connection waits for; each has its deadline.
type wait uint8

const (
	forFirst wait = iota // the first request, until the end of its head
	forNext
	forHead
	forBody
	// The rest of a head that began behind the request before it: no deadline is set for it yet.
	forPipelined
)

const (
	firstBuffer = 4 << 10 // holds a head and some hundred ids
	keepBuffer  = 16 << 10
)

// firstBuffers are those of connections that left the lane: most that come do so at once.
var firstBuffers = sync.Pool{New: func() any { return new([firstBuffer]byte) }}

// A conn is a connection in the lane.
type conn struct {
	net.Conn
	lane  *Listener
	table *table
	mark  conns.Mark // nil: the connection is not bounded
	state atomic.Uint32

	buf     []byte // read and not answered
	out     []byte
	request Request
	memory  any
	begun   bool // a request has been answered
	blanks  int  // empty lines skipped since
	lines   int  // bytes of whole lines at the start of buf that have been looked at; see beginning

	now        time.Time // of the last read or write
	waits      wait
	readUntil  time.Time // the read deadline that is set
	writeUntil time.Time // the write deadline that is set
}

// serve answers until the connection ends or is handed over.
func (c *conn) serve() {
	c.now = time.Now()
	c.mark = conns.MarkOf(c.Conn)
	c.buf = firstBuffers.Get().(*[firstBuffer]byte)[:0]
	defer func() {
		if cap(c.buf) == firstBuffer {
			firstBuffers.Put((*[firstBuffer]byte)(c.buf[:firstBuffer]))
		}
	}()
	c.request = Request{Fields: make([][]byte, len(c.table.routes.Fields)), Conn: &c.memory, Remote: limit.Remote(c.Conn)}
	c.setReadDeadline(forFirst, c.lane.cfg.HeaderTimeout)
	for {
		partial := c.skipBlanks()
		size, body, v := c.table.head(c.buf, &c.request)
		switch {
		case len(c.buf) > 0 && v == other && !partial && !c.beginning():
			c.handOver()
			return
		case v == plain && c.lane.draining.Load():
			c.handOver()
			return
		case v == plain && len(c.buf)-size >= body:
			if !c.answer(size, body) {
				return
			}
		case v == plain:
			c.grow(size + body)
			if c.waits != forBody {
				if c.mark != nil {
					c.mark.Busy()
				}
				c.setReadDeadline(forBody, c.lane.cfg.BodyTimeout)
			}
			if !c.fill() {
				return
			}
		case c.begun && len(c.buf) == 0 && c.state.Load() == busy: // nothing but empty lines came
			if !c.rest() {
				return
			}
		default:
			c.grow(len(c.buf) + 1)
			if len(c.buf) > 0 && (c.waits == forNext || c.waits == forPipelined) {
				c.setReadDeadline(forHead, c.lane.cfg.HeaderTimeout)
			}
			if !c.fill() {
				return
			}
		}
	}
}

// late is a connection whose time for a body is over: its next owner must not wait for the rest a
// second time.
type late struct{ net.Conn }

func (late) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// answer answers the request at the start of the buffer. It returns false when the connection is no
// longer ours.
func (c *conn) answer(size, body int) bool {
	start := c.now
	if c.mark != nil {
		c.mark.Busy()
	}
	c.request.Body = c.buf[size : size+body]
	c.request.Date = date(c.now)
	out, last, ok := c.table.routes.Answer(&c.request, c.out[:0])
	if !ok {
		c.handOver()
		return false
	}
	c.out, c.begun = out, true
	c.lane.taken.Add(1)
	c.now = time.Now()
	if t := c.lane.cfg.WriteTimeout; t > 0 && c.writeUntil.Sub(c.now) < t {
		c.writeUntil = c.now.Add(2 * t)
		_ = c.SetWriteDeadline(c.writeUntil)
	}
	_, err := c.Write(out)
	if answered := c.table.routes.Answered; answered != nil {
		answered(c.now.Sub(start))
	}
	if err != nil || last {
		c.end()
		return false
	}
	c.drop(size + body)
	c.blanks = 0
	if len(c.buf) > 0 {
		c.waits = forPipelined // what was set belongs to the request that is answered
		return true
	}
	return c.rest()
}

// drop takes n bytes from the start of the buffer.
func (c *conn) drop(n int) { c.buf, c.lines = c.buf[:copy(c.buf, c.buf[n:])], 0 }

// beginning reports whether the buffer holds what may become a head of HTTP/1.1 for net/http. It
// stays here until the head is whole: a client that never ends its head costs a buffer then, and
// not the fourfold that net/http takes for a connection. What net/http can refuse already, for a
// line that is wrong or a head that is long, is not kept from it.
func (c *conn) beginning() bool {
	for {
		rest := c.buf[c.lines:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return len(c.buf) <= maxHead && printable(bytes.TrimSuffix(rest, []byte("\r")))
		}
		line, whole := bytes.CutSuffix(rest[:end], []byte("\r"))
		switch {
		case !whole || len(line) == 0:
			return false
		case c.lines == 0:
			method, target, _ := bytes.Cut(line, []byte(" "))
			target, whole = bytes.CutSuffix(target, []byte(" HTTP/1.1"))
			if !whole || len(method) == 0 || len(target) == 0 || target[0] != '/' || bytes.IndexByte(target, ' ') >= 0 {
				return false
			}
		default:
			if _, _, whole = cut(line); !whole {
				return false
			}
		}
		c.lines += end + 1
	}
}

// maxBlanks is how many empty lines behind a body are skipped, as net/http does: some clients send
// one.
const maxBlanks = 2

// skipBlanks drops empty lines in front of a later request. It reports whether the start of another
// may be there.
func (c *conn) skipBlanks() (partial bool) {
	for c.begun && c.blanks < maxBlanks && len(c.buf) > 0 && c.buf[0] == '\r' {
		if len(c.buf) == 1 {
			return true
		}
		if c.buf[1] != '\n' {
			return false
		}
		c.drop(2)
		c.blanks++
	}
	return false
}

// rest makes the connection idle. It returns false when the server is going.
func (c *conn) rest() bool {
	if cap(c.buf) > keepBuffer {
		c.buf = make([]byte, 0, firstBuffer)
	}
	if cap(c.out) > keepBuffer {
		c.out = nil
	}
	// Setting a deadline costs more than reading a head, so it is moved only when it has come near
	// by a twelfth.
	if t := c.lane.cfg.IdleTimeout; c.waits != forNext || t > 0 && c.readUntil.Sub(c.now) < t-t/12 {
		c.setReadDeadline(forNext, t)
	}
	if c.mark != nil {
		c.mark.Idle()
	}
	c.state.Store(idle)
	if c.lane.closing.Load() {
		c.end()
		return false
	}
	return true
}

// fill reads once. It returns false when the connection is no longer ours.
func (c *conn) fill() bool {
	n, err := c.Read(c.buf[len(c.buf):cap(c.buf)])
	c.now = time.Now()
	switch {
	case n > 0:
		c.buf = c.buf[:len(c.buf)+n]
		// Else Shutdown has closed it.
		return c.state.Load() == busy || c.state.CompareAndSwap(idle, busy)
	case c.waits == forBody, len(c.buf) > 0 && err == io.EOF:
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.Conn = late{c.Conn}
		}
		c.handOver() // net/http answers that the rest did not come
		return false
	}
	c.end()
	return false
}

func (c *conn) grow(need int) {
	if cap(c.buf) < need {
		grown := make([]byte, len(c.buf), max(need, 2*cap(c.buf)))
		copy(grown, c.buf)
		c.buf = grown
	}
}

func (c *conn) setReadDeadline(w wait, d time.Duration) {
	c.waits, c.readUntil = w, time.Time{}
	if d > 0 {
		c.readUntil = c.now.Add(d)
	}
	_ = c.SetReadDeadline(c.readUntil)
}

func (c *conn) end() { _ = c.Close() }

func (c *conn) handOver() {
	_ = c.SetDeadline(time.Time{})
	c.lane.handOver(c.Conn, c.buf, c.begun)
}
