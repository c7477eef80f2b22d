package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"rollcall/edge/gateway/frame"
	"rollcall/internal/trace"
	"rollcall/presence"
)

// An Upgrade says how a request becomes a socket.
type Upgrade struct {
	Handler     Handler
	Subprotocol string // of those offered; empty when there is none
	Text        bool   // messages are text; otherwise bytes
	// AdmitForeign lets a browser from an origin that is not on the list connect, for a wire that
	// refuses it in a message; see [Socket.Foreign].
	AdmitForeign bool
	// Refused answers a request that makes no socket in the wire's own words. A retry of zero says
	// that trying again does not help. Nil answers with the text alone.
	Refused func(kind Refusal, status int, text string, retry time.Duration)
	// TooBig is the close code for a message over the limit; zero is RFC 6455's.
	TooBig int
}

// Upgrade makes a socket of r. When it could not, it has answered and counted.
func (g *Gateway) Upgrade(w http.ResponseWriter, r *http.Request, u Upgrade) {
	address := g.Address(r)
	foreign := !g.cfg.mayConnect(r)
	refuse := func(kind Refusal, status int, text string, retry time.Duration) {
		g.refuse(w, &u, kind, status, text, retry)
	}
	switch {
	case frame.Check(r) != nil:
		refuse(RefusedHandshake, http.StatusBadRequest, frame.Check(r).Error(), 0)
	case g.draining.Load() || g.closing.Load():
		refuse(RefusedDraining, http.StatusServiceUnavailable, "this node is going; connect again", time.Second)
	case foreign && !u.AdmitForeign:
		refuse(RefusedOrigin, http.StatusForbidden, "this origin may not connect", 0)
	case !g.limits.connect(address, g.mono()):
		refuse(RefusedRate, http.StatusTooManyRequests, "too many connections from this address", 10*time.Second)
	case g.count.sockets.Add(1) > int64(g.cfg.MaxSockets):
		g.count.sockets.Add(-1)
		refuse(RefusedFull, http.StatusServiceUnavailable, "this node holds as many connections as it may", 10*time.Second)
	default:
		ok, counted := g.limits.arrive(address, g.mono())
		if !ok {
			g.count.sockets.Add(-1)
			refuse(RefusedEarly, http.StatusTooManyRequests, "too many connections from this address have not logged in", 10*time.Second)
			return
		}
		conn, early, err := frame.Accept(w, r, u.Subprotocol)
		if err != nil {
			g.count.sockets.Add(-1)
			if counted {
				g.limits.leave(address, g.mono())
			}
			g.Log.Debug("handshake aborted", "err", err)
			return
		}
		g.serve(conn, early, address, foreign, counted, trace.Of(r), u)
	}
}

func (g *Gateway) refuse(w http.ResponseWriter, u *Upgrade, kind Refusal, status int, text string, retry time.Duration) {
	g.Refuse(kind)
	if u.Refused != nil {
		u.Refused(kind, status, text, retry)
		return
	}
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(retry.Seconds())))
	}
	http.Error(w, text, status)
}

// Serve takes over a connection whose handshake is done, with the bytes that were read beyond it.
func (g *Gateway) Serve(conn net.Conn, early []byte, address netip.Addr, foreign bool, u Upgrade) {
	g.count.sockets.Add(1)
	g.serve(conn, early, address, foreign, false, trace.Context{}, u)
}

func (g *Gateway) serve(conn net.Conn, early []byte, address netip.Addr, foreign, counted bool, parent trace.Context, u Upgrade) {
	if guard, ok := conn.(interface{ Detach() (net.Conn, []byte) }); ok {
		var left []byte
		conn, left = guard.Detach()
		early = append(early, left...)
	}
	now := g.mono()
	s := &Socket{g: g, conn: conn, handler: u.Handler, remote: address, foreign: foreign, op: frame.Binary, born: now, idle: now, fd: -1}
	s.tooBig = int32(u.TooBig)
	if !parent.IsZero() {
		s.trace = &parent
	}
	s.early.Store(counted)
	if u.Text {
		s.op = frame.Text
	}
	s.in.Limit = g.cfg.EarlyLimit
	s.received.Store(int64(now))
	g.count.accepted.Add(1)
	g.live.mu.Lock()
	g.live.set[s] = struct{}{}
	g.live.mu.Unlock()
	g.wheel.add(s, s.check(now))
	if len(early) > 0 && !s.take(early) {
		return
	}
	if g.closing.Load() {
		s.end(presence.CauseLost, g.Now())
		return
	}
	if g.poll != nil {
		if raw, ok := g.poll.rawOf(conn); ok {
			s.mu.Lock()
			s.raw = raw
			s.mu.Unlock()
			if err := g.poll.add(s); err == nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.mu.Lock()
			s.raw = nil
			s.mu.Unlock()
		}
	}
	g.sockets.Go(s.read)
}
