// Package conns bounds how many connections a listener has open, of all kinds together.
//
// When there are as many as there may be, the connection that has been idle longest makes room for
// a new one; when none is idle the new one is refused in words and closed. One address has at most
// half of what the others leave, so that no single client can take all of them. A connection is
// idle between its requests, and before its first request is whole; whatever serves it says so by
// [Mark]. One that became a socket or a stream is never idle.
package conns

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/limit"
	"rollcall/internal/wake"
)

// Config are the bounds of a [Listener].
type Config struct {
	// Max is how many connections may be open.
	Max int
	// Proxies are addresses that speak for many: they are held to Max alone.
	Proxies []netip.Prefix
	// Refusal is written to a connection that there is no room for.
	Refusal []byte
}

// A Listener accepts connections while there is room.
type Listener struct {
	net.Listener
	cfg   Config
	share *limit.Share[netip.Addr]
	start time.Time

	mu     sync.Mutex
	open   []*Conn
	cursor int

	pace pace

	evicted, refused atomic.Int64
}

// Listen returns a listener of what l accepts.
func Listen(l net.Listener, cfg Config) *Listener {
	return &Listener{
		Listener: l, cfg: cfg, share: limit.NewShare[netip.Addr](int64(cfg.Max), 0), start: time.Now(),
		pace: pace{round: 1, settled: wake.NewSignal()},
	}
}

// Stats are the counts of a listener.
type Stats struct {
	Open    int   // now
	Idle    int   // of the open ones
	Evicted int64 // idle ones closed for new ones
	Refused int64 // new ones that there was no room for
}

// Stats returns the counts of l.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := 0
	for _, c := range l.open {
		if c.idle.Load() > 0 {
			idle++
		}
	}
	return Stats{Open: len(l.open), Idle: idle, Evicted: l.evicted.Load(), Refused: l.refused.Load()}
}

// Open returns how many connections are open.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Pending reports whether a request is under way on a connection, or has come and was not read yet.
func (l *Listener) Pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		if at := c.idle.Load(); at == 0 || at > 0 && readable(c.TCPConn) {
			return true
		}
	}
	return false
}

// Max returns how many connections may be open.
func (l *Listener) Max() int { return l.cfg.Max }

// Accept implements net.Listener. It yields between connections, and waits while many of them are
// fresh: a port that never runs dry would be emptied at one go otherwise, and what is under way
// would wait until all of those that came had their turn. The rest waits in the kernel.
func (l *Listener) Accept() (net.Conn, error) { return l.accept(l.Listener, l.cfg.Refusal) }

func (l *Listener) accept(port net.Listener, refusal []byte) (net.Conn, error) {
	for {
		runtime.Gosched()
		l.pace.wait()
		c, err := port.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.admit(c); admitted != nil {
			return admitted, nil
		}
		l.refused.Add(1)
		// The kernel has room for it, or it is not worth a wait.
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write(refusal)
		_ = c.Close()
	}
}

// a second is a further port of a Listener.
type second struct {
	net.Listener
	book *Listener
}

// Accept implements net.Listener.
func (s *second) Accept() (net.Conn, error) { return s.book.accept(s.Listener, nil) }

// Beside returns a listener of what n accepts, within the same bounds as that of l. It refuses
// without words, since its connections are encrypted.
func (l *Listener) Beside(n net.Listener) net.Listener { return &second{n, l} }

// admit returns the connection that takes the place of c, or nil when there is no room.
func (l *Listener) admit(c net.Conn) net.Conn {
	address := l.holder(c)
	if !l.share.Take(address, 1) {
		// What an address has too much of it gives back itself.
		if !(l.evict(address) && l.share.Take(address, 1)) &&
			!(l.share.Used() >= int64(l.cfg.Max) && l.evict(netip.Addr{}) && l.share.Take(address, 1)) {
			return nil
		}
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		l.share.Give(address, 1)
		return c // none that the server opens; nothing is known of it
	}
	conn := &Conn{TCPConn: tcp, listener: l}
	conn.Idle()
	conn.state.Store(l.pace.begin())
	l.mu.Lock()
	conn.place = int32(len(l.open))
	l.open = append(l.open, conn)
	l.mu.Unlock()
	return conn
}

// holder returns the address that c is charged to; not a valid one when it is held to the total
// alone.
func (l *Listener) holder(c net.Conn) netip.Addr {
	address := limit.Group(limit.Remote(c))
	if limit.Within(address, l.cfg.Proxies) {
		return netip.Addr{}
	}
	return address
}

// sample is how many connections are looked at for the longest idle one when there are more: a scan
// of all of them for every new one would be a way to keep a server busy.
const sample = 1024

// evict closes the connection of address, or of any when that is not valid, that has been idle
// longest.
func (l *Listener) evict(address netip.Addr) bool {
	for range 3 { // the one that is found may just have become busy
		victim, since := l.longest(address)
		if victim == nil {
			return false
		}
		if victim.idle.CompareAndSwap(since, taken) {
			l.evicted.Add(1)
			_ = victim.Close()
			return true
		}
	}
	return false
}

func (l *Listener) longest(address netip.Addr) (victim *Conn, since int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.open)
	for i := range min(n, sample) {
		c := l.open[(l.cursor+i)%n]
		at := c.idle.Load()
		if at <= 0 || victim != nil && at >= since || address.IsValid() && l.holder(c.TCPConn) != address {
			continue
		}
		victim, since = c, at
	}
	if n > sample {
		l.cursor = (l.cursor + sample) % n
	}
	return victim, since
}

// A Conn is a connection that was admitted. A silent socket keeps it for days, so it is small: the
// address that it is charged to is read from the connection again.
type Conn struct {
	*net.TCPConn
	listener *Listener
	idle     atomic.Int64  // nanoseconds since the listener's start; 0: busy
	state    atomic.Uint32 // the round of the pace that counts c, settled, or closed
	place    int32         // in listener.open, of its mutex
}

// taken is the idle time of a connection that is being closed.
const taken = -1

// Unwrap returns the connection below.
func (c *Conn) Unwrap() net.Conn { return c.TCPConn }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	// net/http reads a single byte while a handler runs: that wait is not one for the client.
	if round := c.state.Load(); round != settled && round != closed && len(p) > 1 && !readable(c.TCPConn) {
		c.Settle()
	}
	return c.TCPConn.Read(p)
}

// Idle says that c waits for its next request.
func (c *Conn) Idle() {
	c.mark(max(int64(time.Since(c.listener.start)), 1))
	c.Settle()
}

// Enter waits until few connections are fresh, and says that c is: it goes to net/http, which gives
// it two goroutines.
func (c *Conn) Enter() {
	p := &c.listener.pace
	p.wait()
	if round := p.begin(); !c.state.CompareAndSwap(settled, round) {
		p.end(round)
	}
}

// Settle says that c is fresh no more: its first request is answered, or it became a socket or a
// stream.
func (c *Conn) Settle() {
	if round := c.state.Load(); round != settled && round != closed && c.state.CompareAndSwap(round, settled) {
		c.listener.pace.end(round)
	}
}

// Busy says that a request is under way, or that c is a socket or a stream.
func (c *Conn) Busy() { c.mark(0) }

func (c *Conn) mark(at int64) {
	if old := c.idle.Load(); old != taken && old != at {
		c.idle.CompareAndSwap(old, at)
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	if round := c.state.Swap(closed); round != closed {
		l := c.listener
		l.pace.end(round)
		l.mu.Lock()
		last := len(l.open) - 1
		l.open[c.place] = l.open[last]
		l.open[c.place].place = c.place
		l.open[last] = nil
		l.open = l.open[:last]
		l.mu.Unlock()
		l.share.Give(l.holder(c.TCPConn), 1)
	}
	return c.TCPConn.Close()
}

// A Mark says what a connection does. Connections that are not bounded have none.
type Mark interface {
	Idle()
	Busy()
	Enter()
	Settle()
}

// MarkOf returns the mark of c or of what is below it; nil when there is none.
func MarkOf(c net.Conn) Mark {
	for {
		switch t := c.(type) {
		case Mark:
			return t
		case interface{ Unwrap() net.Conn }:
			c = t.Unwrap()
		default:
			return nil
		}
	}
}
