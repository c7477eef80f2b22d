package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"rollcall/internal/fastlane"
	"rollcall/internal/framing"
	"rollcall/internal/httpx"
	"rollcall/internal/native"
)

// A listener is a bound port, the HTTP server on it, and the fast lane in front of that. Until a handler is mounted it answers
// 503 "starting".
type listener struct {
	net     *fastlane.Listener
	http    *http.Server
	handler atomic.Pointer[http.Handler]
	gate    atomic.Pointer[native.Gate] // counts what is refused below the native doors; nil until they are open
	done    chan struct{}
}

// bind takes the port at address. setting is the key that the address was written under.
func bind(setting, address string, limits HTTP, log *slog.Logger) (*listener, error) {
	n, err := net.Listen("tcp", address)
	if err != nil {
		return nil, bindError(setting, address, err)
	}
	l := &listener{done: make(chan struct{})}
	httpLog := newHTTPLog(log)
	l.net = fastlane.Listen(n, fastlane.Config{
		HeaderTimeout: limits.HeaderTimeout, BodyTimeout: limits.BodyTimeout,
		IdleTimeout: limits.IdleTimeout, WriteTimeout: writeTimeout, Code: l.code,
		AcceptFailed: func(err error) { httpLog.Print("http: Accept error: ", err) },
	})
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // for proxies that speak it to what is behind them; browsers have it with TLS only
	l.http = &http.Server{
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		Handler:           l,
		ReadHeaderTimeout: limits.HeaderTimeout,
		ReadTimeout:       limits.BodyTimeout,
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.MaxHeader,
		ErrorLog:          httpLog,
		ConnContext:       httpx.WithConn,
		ConnState:         framing.ConnState,
	}
	return l, nil
}

// maxStreams is how many requests one HTTP/2 connection may have under way, streams that watch among them.
const maxStreams = 100

// writeTimeout is how long a client may take to read the answer of the fast lane.
const writeTimeout = 10 * time.Second

// bindError says in one line what stands in the way of a port.
func bindError(setting, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(fmt.Errorf("%s: another program listens on %s", setting, address),
			"stop it, or choose another address with --"+setting+", such as --"+setting+" :3100")
	case errors.Is(err, fs.ErrPermission):
		return hint(fmt.Errorf("%s: this user may not listen on %s", setting, address),
			"ports below 1024 are for the administrator; choose a higher one with --"+setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint(fmt.Errorf("%s: %s is not an address of this machine", setting, address),
			"to listen on every address, leave the host out: --"+setting+" :3000")
	}
	return fmt.Errorf("%s: %w", setting, err)
}

// serve answers requests until the listener is stopped.
func (l *listener) serve() {
	go func() {
		defer close(l.done)
		_ = l.http.Serve(l.net) // ends with ErrServerClosed
	}()
}

func (l *listener) mount(h http.Handler) { l.handler.Store(&h) }

// ServeHTTP passes r on to what is mounted.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	starting(w, r)
}

// code says what stands as "code" in a refusal that net/http makes by itself.
func (l *listener) code(target string, status int) any {
	if !native.Owns(target) {
		return 1
	}
	code := native.CodeOf(status)
	if g := l.gate.Load(); g != nil {
		g.Count(code)
	}
	return code
}

// starting answers before the store is open. Its shape is that of every error, so that SDKs read it.
func starting(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Retry-After", "1")
	if native.Owns(r.URL.Path) {
		native.WriteError(w, native.Refuse("unavailable", "the server is starting"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"code":503,"error":"starting"}` + "\n"))
}

// stop lets requests under way end until ctx is done, then cuts them.
func (l *listener) stop(ctx context.Context) {
	err := l.net.Shutdown(ctx)
	if l.http.Shutdown(ctx) != nil || err != nil {
		_ = l.http.Close()
	}
	<-l.done
}

// address returns where the listener is bound; it differs from what was asked for when that had port 0.
func (l *listener) address() string { return l.net.Addr().String() }
