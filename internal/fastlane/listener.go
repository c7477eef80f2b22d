package fastlane

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/conns"
	"rollcall/internal/framing"
)

// Config are the deadlines of the lane; zero means none.
type Config struct {
	// For a head, from its first byte, and for the first byte of a new connection.
	HeaderTimeout time.Duration
	BodyTimeout   time.Duration // for a body; then net/http refuses the request
	IdleTimeout   time.Duration // between requests; kept to a twelfth
	WriteTimeout  time.Duration // for an answer to be taken; kept to a factor of two

	// Code is what refusals of net/http's own bear on connections that were handed over; see
	// framing.Code.
	Code framing.Code
	// AcceptFailed is called with each error of Accept after which the listener retries; it may be
	// nil.
	AcceptFailed func(error)
}

// A Listener accepts connections, answers plain requests on them, and yields the rest.
type Listener struct {
	net.Listener // the first port
	more         []net.Listener

	cfg    Config
	table  atomic.Pointer[table]
	handed chan net.Conn
	done   chan struct{} // closed when no more connections come
	err    error         // why; set before done is closed
	taken  atomic.Int64
	passed atomic.Int64

	mu    sync.Mutex
	conns map[*conn]struct{}
	// No connections are accepted, and what the lane would answer is net/http's.
	draining atomic.Bool
	closing  atomic.Bool
	running  sync.WaitGroup
	ports    sync.Once
	once     sync.Once
}

// Listen starts a lane on l and more. Until Open is called every connection is net/http's.
func Listen(l net.Listener, cfg Config, more ...net.Listener) *Listener {
	lane := &Listener{
		Listener: l, more: more, cfg: cfg, conns: map[*conn]struct{}{},
		handed: make(chan net.Conn), done: make(chan struct{}),
	}
	for _, port := range append([]net.Listener{l}, more...) {
		lane.running.Add(1)
		go lane.accept(port)
	}
	return lane
}

// Open has connections that come from now on served by r.
func (l *Listener) Open(r Routes) { l.table.Store(newTable(&r)) }

// Stats returns how many requests were answered here, and how many connections were handed over.
func (l *Listener) Stats() (answered, handed int64) { return l.taken.Load(), l.passed.Load() }

// accept takes connections until the port is closed. Errors that pass, such as too many open files,
// are waited out as net/http does.
func (l *Listener) accept(port net.Listener) {
	defer l.running.Done()
	var pause time.Duration
	for {
		c, err := port.Accept()
		if err == nil {
			pause = 0
			l.start(c)
			continue
		}
		// nolint:staticcheck // Temporary is deprecated for errors in general, and right for those
		// of Accept.
		if ne, ok := err.(interface{ Temporary() bool }); !ok || !ne.Temporary() || l.draining.Load() {
			if !l.draining.Load() {
				l.end(err)
			}
			return
		}
		if l.cfg.AcceptFailed != nil {
			l.cfg.AcceptFailed(err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

func (l *Listener) start(c net.Conn) {
	t := l.table.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Load() {
		_ = c.Close()
		return
	}
	l.running.Add(1)
	if t == nil {
		go func() {
			defer l.running.Done()
			l.handOver(c, nil, false)
		}()
		return
	}
	lc := &conn{Conn: c, lane: l, table: t}
	l.conns[lc] = struct{}{}
	go func() {
		defer l.running.Done()
		lc.serve()
		l.mu.Lock()
		delete(l.conns, lc)
		l.mu.Unlock()
	}()
}

// handOver gives c to net/http, with the bytes that were read of it. begun says that a request was
// answered before.
func (l *Listener) handOver(c net.Conn, first []byte, begun bool) {
	l.passed.Add(1)
	select {
	case l.handed <- framing.NewConn(c, first, begun, l.cfg.Code):
	case <-l.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener: it returns the connections that are net/http's.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.handed:
		if m := conns.MarkOf(c); m != nil {
			m.Enter()
		}
		return c, nil
	case <-l.done:
		return nil, l.err
	}
}

// Drain closes the ports. Connections that are open stay: their next request is net/http's, which
// can answer with Connection: close.
func (l *Listener) Drain() (err error) {
	l.ports.Do(func() {
		l.draining.Store(true)
		for _, port := range append([]net.Listener{l.Listener}, l.more...) {
			err = errors.Join(err, port.Close())
		}
	})
	return err
}

// Close drains the listener and ends Accept. Connections that are served go on until Shutdown.
// Closing again does nothing.
func (l *Listener) Close() error {
	err := l.Drain()
	l.closing.Store(true)
	l.end(net.ErrClosed)
	return err
}

// end has Accept return err from now on.
func (l *Listener) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
	})
}

// Shutdown closes the ports and idle connections, and waits until requests under way have their
// answer, or cuts them when ctx is done. Call it before the Shutdown of the server.
func (l *Listener) Shutdown(ctx context.Context) error {
	_ = l.Close()
	l.each(func(c *conn) {
		if c.state.CompareAndSwap(idle, ended) {
			_ = c.Close()
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.running.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		l.each(func(c *conn) { _ = c.Close() })
		<-ended
		return ctx.Err()
	}
}

func (l *Listener) each(do func(*conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		do(c)
	}
}

// stamp is a Date field's value, good for a second.
type stamp struct {
	second int64
	text   []byte
}

var lastStamp atomic.Pointer[stamp]

func date(now time.Time) []byte {
	s := lastStamp.Load()
	if s == nil || s.second != now.Unix() {
		s = &stamp{now.Unix(), now.UTC().AppendFormat(nil, http.TimeFormat)}
		lastStamp.Store(s)
	}
	return s.text
}
