package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/conns"
	"rollcall/internal/fastlane"
	"rollcall/internal/framing"
	"rollcall/internal/logs"
	"rollcall/internal/systemd"
	"rollcall/internal/tlsport"
	"rollcall/server/config"
)

// A Listener is a bound port, the HTTP server on it, the fast lane in front of that, and the book
// of its connections. Until a handler is mounted requests wait, for a while.
type Listener struct {
	Lane  *fastlane.Listener
	Conns *conns.Listener

	tls     net.Listener // the port that is encrypted; nil: there is none
	http    *http.Server
	handler atomic.Pointer[http.Handler]
	gate    atomic.Pointer[api.Gate] // nil until the native doors are open
	done    chan struct{}

	ready          chan struct{} // closed when a handler is mounted for good, or the listener stops
	once           sync.Once
	draining       atomic.Bool   // answers end their connections
	waiting        atomic.Int64  // requests that wait for it
	patience, body time.Duration // how long each waits, and how long a body may take after that
}

// A Port is what is bound and how.
type Port struct {
	Setting, Address string // the key that the address was written under, and the address
	Max              int    // connections
	Write            time.Duration
	Proxies          []netip.Prefix
	Secure           *Port // a port beside it, encrypted as Certs says; nil: there is none
	Certs            *tls.Config
	Queued           bool // connections wait in the kernel until a handler is mounted for good
}

// listen returns the socket that the service manager holds for p, or opens one.
func (p *Port) listen(inherited *systemd.Inherited, log *slog.Logger) (net.Listener, error) {
	if n := inherited.Take(p.Setting); n != nil {
		log.Info("listener inherited", "setting", p.Setting, "address", n.Addr().String(), "configured", p.Address)
		return n, nil
	}
	n, err := net.Listen("tcp", p.Address)
	if err != nil {
		return nil, bindError(p.Setting, p.Address, err)
	}
	return n, nil
}

// Bind takes p, or the socket that the service manager holds for it. The error is a
// [config.Hinted] where the reader can do something about it.
func Bind(p Port, limits config.HTTP, inherited *systemd.Inherited, log *slog.Logger) (*Listener, error) {
	n, err := p.listen(inherited, log)
	if err != nil {
		return nil, err
	}
	l := &Listener{done: make(chan struct{}), ready: make(chan struct{}), patience: startWait, body: limits.BodyTimeout}
	if p.Queued {
		n = &queue{Listener: n, until: l.ready, most: startWait}
	}
	httpLog := logs.NewHTTP(log)
	l.Conns = conns.Listen(n, conns.Config{Max: p.Max, Proxies: p.Proxies, Refusal: api.Full})
	more, err := l.encrypt(p, inherited, log)
	if err != nil {
		_ = n.Close()
		return nil, err
	}
	l.Lane = fastlane.Listen(l.Conns, fastlane.Config{
		HeaderTimeout: limits.HeaderTimeout, BodyTimeout: limits.BodyTimeout,
		IdleTimeout: limits.IdleTimeout, WriteTimeout: LaneWrite, Code: func(target string, status int) any { return api.CodeBelow(l.gate.Load(), target, status) },
		AcceptFailed: func(err error) { httpLog.Print("http: Accept error: ", err) },
	}, more...)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	// For proxies that speak it to what is behind them; browsers have it with TLS only.
	protocols.SetUnencryptedHTTP2(true)
	l.http = &http.Server{
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, WriteByteTimeout: p.Write,
			MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
		},
		Handler:           l,
		ReadHeaderTimeout: limits.HeaderTimeout,
		ReadTimeout:       limits.BodyTimeout,
		WriteTimeout:      p.Write,
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.MaxHeader,
		ErrorLog:          httpLog,
		ConnContext:       api.WithConn,
		ConnState:         framing.ConnState,
	}
	return l, nil
}

// encrypt opens the encrypted port beside p, if there is one.
func (l *Listener) encrypt(p Port, inherited *systemd.Inherited, log *slog.Logger) (more []net.Listener, err error) {
	if p.Secure == nil {
		return nil, nil
	}
	if l.tls, err = p.Secure.listen(inherited, log); err != nil {
		return nil, err
	}
	n := &queue{Listener: l.tls, until: l.ready, most: startWait}
	return []net.Listener{tlsport.Listen(l.Conns.Beside(n), p.Certs)}, nil
}

// maxStreams is how many requests one HTTP/2 connection may have under way, streams that watch
// among them.
const maxStreams = 100

// LaneWrite is how long a client may take to read the answer of the fast lane.
const LaneWrite = 10 * time.Second

// bindError says in one line what stands in the way of a port.
func bindError(setting, address string, err error) error {
	flag, example := "--"+setting, "--"+setting+" "
	if strings.Contains(setting, "tls") {
		flag, example = "--set", "--set "+setting+"="
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return config.NewHinted(fmt.Errorf("%s: another program listens on %s", setting, address),
			"stop it, or choose another address with "+flag+", such as "+example+":3100")
	case errors.Is(err, fs.ErrPermission):
		return config.NewHinted(fmt.Errorf("%s: this user may not listen on %s", setting, address),
			"ports below 1024 are for the administrator; choose a higher one with "+flag+", such as "+example+":3000")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return config.NewHinted(fmt.Errorf("%s: %s is not an address of this machine", setting, address),
			"to listen on every address, leave the host out: "+example+":3000")
	}
	return fmt.Errorf("%s: %w", setting, err)
}

// Serve answers requests until the listener is stopped.
func (l *Listener) Serve() {
	go func() {
		defer close(l.done)
		_ = l.http.Serve(l.Lane) // ends with ErrServerClosed
	}()
}

// Mount has h answer from now on. What is mounted for good lets the requests in that wait.
func (l *Listener) Mount(h http.Handler, good bool) {
	l.handler.Store(&h)
	if good {
		l.release()
	}
}

// CountRefusals has gate count what is refused below the native doors.
func (l *Listener) CountRefusals(gate *api.Gate) { l.gate.Store(gate) }

// Abandon closes the port of a listener that never served.
func (l *Listener) Abandon() {
	l.release()
	_ = l.Lane.Close()
}

// TLSAddress returns where the encrypted port is bound; "" when there is none.
func (l *Listener) TLSAddress() string {
	if l.tls == nil {
		return ""
	}
	return l.tls.Addr().String()
}

// release lets go of the requests that wait.
func (l *Listener) release() { l.once.Do(func() { close(l.ready) }) }

// ServeHTTP passes r on to what is mounted.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		defer skip(r)
	}
	h := l.handler.Load()
	if h == nil && l.wait(w, r) {
		h = l.handler.Load()
	}
	if h == nil {
		api.Starting(w, r)
		return
	}
	if l.draining.Load() {
		w.Header().Set("Connection", "close") // over HTTP/2 it announces the end of the connection
	}
	(*h).ServeHTTP(w, r)
}

// maxSkipped is how much of a body that a call left unread is read before its answer is sent over
// HTTP/2.
const maxSkipped = 2 << 20

// skip reads what a call over HTTP/2 left of its body: an answer that comes before the whole body
// ends with a reset of the stream, and curl 7 loses the answer with it.
func skip(r *http.Request) { _, _ = io.CopyN(io.Discard, r.Body, maxSkipped) }

const (
	startWait  = 10 * time.Second // how long a request may wait for the server to be ready
	maxWaiting = 1000             // how many may
)

// wait holds r back until the server is ready: a hook that is refused while the server starts is
// not sent again. It reports whether there was room and r is still wanted.
func (l *Listener) wait(w http.ResponseWriter, r *http.Request) bool {
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > maxWaiting {
		return false
	}
	t := time.NewTimer(l.patience)
	defer t.Stop()
	select {
	case <-l.ready:
	case <-t.C:
		return false
	case <-r.Context().Done():
		return false
	}
	// The time for the body has run meanwhile, though it was not read.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(l.body))
	return true
}

// A queue accepts nothing until a channel is closed, or for so long at most: meanwhile connections
// wait in the kernel, which has room for more of them than a server that cannot answer yet.
type queue struct {
	net.Listener
	until <-chan struct{}
	most  time.Duration
	once  sync.Once
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	q.once.Do(func() {
		t := time.NewTimer(q.most)
		defer t.Stop()
		select {
		case <-q.until:
		case <-t.C:
		}
	})
	return q.Listener.Accept()
}

// lingering is how long connections that idle are kept when the server stops: a request that is on
// its way on one of them is answered.
const lingering = 500 * time.Millisecond

// Drain closes the port and has every answer end its connection. What comes from now on waits in
// the kernel where the service manager holds the socket.
func (l *Listener) Drain(context.Context) {
	l.draining.Store(true)
	_ = l.Lane.Drain()
}

// Linger waits until every connection has ended, or for a while and until no request is under way
// or waits to be read: a machine that is busy may take longer than that to read one.
func (l *Listener) Linger(ctx context.Context) {
	for begun := time.Now(); l.Conns.Open() > 0 && (time.Since(begun) < lingering || l.Conns.Pending()); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop lets requests under way end until ctx is done, then cuts them.
func (l *Listener) Stop(ctx context.Context) {
	l.release()
	err := l.Lane.Shutdown(ctx)
	if l.http.Shutdown(ctx) != nil || err != nil {
		_ = l.http.Close()
	}
	<-l.done
}

// Address returns where the listener is bound; it differs from what was asked for when that had
// port 0.
func (l *Listener) Address() string { return l.Lane.Addr().String() }
