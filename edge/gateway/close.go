package gateway

import (
	"context"
	"fmt"
	"slices"

	"rollcall/presence"
)

// finish ends ss in the registry, and with it the events that follow from that: e, the end of ss;
// before it the beginning, when that waited; and the beginnings that waited for ss. A nil e is no
// event. It reports false when ss was over before. The lock of sh, the shard of ss, is held, so
// that the events of a peer are in order.
func (g *Gateway) finish(sh *shard, ss *Session, e *Event) bool {
	if ss.over {
		return false
	}
	ss.over, ss.probing = true, notProbed
	if e != nil {
		ss.cause = e.Cause
	}
	sh.remove(ss)
	if ss.open && e != nil {
		if ss.unsaid {
			g.sayOnline(ss)
		}
		e.Trace = ss.socket.traced()
		g.emit(*e)
	}
	g.say(sh, ss.key)
	return true
}

// takeOver is finish for a caller that does not hold the lock.
func (g *Gateway) takeOver(ss *Session, e *Event) bool {
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return g.finish(sh, ss, e)
}

// say emits the beginnings of sessions of key that wait for nothing any more. While an older
// session of the same device is probed here, they wait: if that one is dead, its end belongs before
// the beginning. The lock of sh is held.
func (g *Gateway) say(sh *shard, key presence.Key) {
	for ss := sh.peers[key]; ss != nil; ss = ss.next {
		if ss.unsaid && !waits(sh, ss) {
			g.sayOnline(ss)
		}
	}
}

func waits(sh *shard, ss *Session) bool {
	at := placeOf(ss.id)
	for o := sh.peers[ss.key]; o != nil; o = o.next {
		if o != ss && o.probing != notProbed && o.start < ss.start && at.akin(placeOf(o.id)) {
			return true
		}
	}
	return false
}

func (g *Gateway) sayOnline(ss *Session) {
	ss.unsaid = false
	g.emit(Event{Online: true, Key: ss.key, Session: ss.id, Start: ss.start, Tag: ss.Tag(), Auto: ss.auto, Address: ss.socket.remote, At: ss.start, Trace: ss.socket.traced()})
}

// Answered records that the client of ss has been sent the answer to its login. An end that came
// before is sent now: in the other order the client would take itself for present.
func (ss *Session) Answered() {
	sh := ss.socket.g.registry.shard(ss.key)
	sh.mu.Lock()
	late := ss.late
	ss.answered, ss.late = true, nil
	sh.mu.Unlock()
	if late != nil {
		ss.socket.handler.Ended(ss, late.cause, late.reason)
	}
}

// notify sends the client of ss, which is over, its end, unless its login has yet to fail of it.
func (ss *Session) notify(cause presence.Cause, reason string) {
	sh := ss.socket.g.registry.shard(ss.key)
	sh.mu.Lock()
	answered := ss.answered
	if ss.open && !answered {
		ss.late = &notice{cause, reason}
	}
	sh.mu.Unlock()
	if answered {
		ss.socket.handler.Ended(ss, cause, reason)
	}
}

// detach takes ss off s and reports whether it was there.
func (s *Socket) detach(ss *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.sessions {
		if o == ss {
			s.sessions = append(s.sessions[:i], s.sessions[i+1:]...)
			if len(s.sessions) == 0 {
				s.idle = s.g.mono()
			}
			return true
		}
	}
	return false
}

// detach takes ss off its socket, unless the end of the socket did so first, which counts it then.
func (g *Gateway) detach(ss *Session) {
	if ss.socket.detach(ss) {
		g.count.sessions.Add(-1)
	}
}

// End ends ss because its user logged out. When it returns nil everybody sees it.
func (ss *Session) End(ctx context.Context) error {
	g := ss.socket.g
	now := g.Now()
	e := Event{Key: ss.key, Session: ss.id, Start: ss.start, Tag: ss.Tag(), Cause: presence.CauseLogout, Address: ss.socket.remote, At: now}
	if !g.takeOver(ss, &e) {
		return nil // it has ended otherwise
	}
	g.detach(ss)
	r := g.offline(ss, presence.CauseLogout, now)
	if err := g.Service.Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
		g.offlineQueue.Add(r)
		return fmt.Errorf("report the logout: %w", err)
	}
	return nil
}

// lose ends ss, which is off its socket, because the socket is gone.
func (g *Gateway) lose(ss *Session, cause presence.Cause, at presence.Millis) {
	g.count.sessions.Add(-1)
	ss.socket.mu.Lock()
	code := int(ss.socket.lost)
	ss.socket.mu.Unlock()
	if !g.takeOver(ss, &Event{Key: ss.key, Session: ss.id, Start: ss.start, Tag: ss.Tag(), Cause: presence.CauseLost, Code: code, At: g.Now()}) {
		return
	}
	if g.draining.Load() {
		return // the node's last heartbeat speaks for it
	}
	g.offlineQueue.Add(g.offline(ss, cause, at))
}

// drop forgets ss, whose login failed; the store may have taken it.
func (g *Gateway) drop(ss *Session) {
	if g.takeOver(ss, nil) {
		g.offlineQueue.Add(g.offline(ss, presence.CauseLost, g.Now()))
	}
}

// ended takes ss, which is over by an act of the server, off its socket and notifies its client.
func (g *Gateway) ended(ss *Session, cause presence.Cause, reason string) {
	g.detach(ss)
	if cause == presence.CauseKicked {
		g.count.kicked.Add(1)
	} else {
		g.count.replaced.Add(1)
	}
	ss.notify(cause, reason)
}

// endEvent is the event of an end by an act of the server.
func (g *Gateway) endEvent(ss *Session, cause presence.Cause, reason string) *Event {
	return &Event{Key: ss.key, Session: ss.id, Start: ss.start, Tag: ss.Tag(), Cause: cause, Reason: reason, At: g.Now()}
}

// CloseApp is the close code of a socket whose app is no longer served, LeanCloud's for it.
const CloseApp = 4100

// A Tenant is a handler whose socket belongs to one app, with a session or without.
type Tenant interface {
	// App returns the app, "" while it is not known.
	App() presence.AppID
}

// EndApp closes every socket that has to do with app, and ends its sessions as lost.
func (g *Gateway) EndApp(app presence.AppID) {
	for _, s := range g.open() {
		tenant, ok := s.handler.(Tenant)
		of := func(ss *Session) bool { return ss.key.App == app }
		if ok && tenant.App() == app || slices.ContainsFunc(s.Sessions(), of) {
			s.Close(CloseApp, "APP_NOT_AVAILABLE")
		}
	}
}
