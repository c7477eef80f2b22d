package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"rollcall/presence"
)

// When a device logs in again, its older connection is either dead, and not found so before its
// lease ends, or alive: another tab, another process. A ping decides. The lease would decide too, a
// good half minute later; until then a peer on a bad network would collect sessions.

const (
	// probeTime is how long a probed socket may take to send anything.
	probeTime = 5 * time.Second
	// probeStep is how often its answer is looked for.
	probeStep = 500 * time.Millisecond
	// probeLate is how late a look may come. Later, the process stood still, and what was sent
	// meanwhile is unread.
	probeLate = 2 * time.Second
)

// probing says for which login a session is probed.
type probing uint8

const (
	notProbed probing = iota
	probedAfar
	probedHere // its end is an event, before the beginning of the session that follows it
)

// probes are the sockets that are being probed. A socket has one probe at a time, whatever number
// of logins ask for it.
type probes struct {
	mu      sync.Mutex
	running map[*Socket]struct{}
}

func (p *probes) begin(s *Socket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, running := p.running[s]; running {
		return false
	}
	if p.running == nil {
		p.running = map[*Socket]struct{}{}
	}
	p.running[s] = struct{}{}
	return true
}

func (p *probes) end(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, s)
}

// probe finds out whether the client of ss is still there, since a session akin to it has been
// opened.
func (g *Gateway) probe(ss *Session, why probing) {
	if g.cfg.Ping == 0 {
		return // clients here do not answer pings: the lease decides
	}
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	over := ss.over
	if !over {
		ss.probing, ss.followed = max(ss.probing, why), true
	}
	sh.mu.Unlock()
	if over || !g.probes.begin(ss.socket) {
		return
	}
	g.count.probes.Add(1)
	g.ask(ss.socket)
}

// ask pings s and has its answer looked for.
func (g *Gateway) ask(s *Socket) {
	asked := g.mono()
	s.write(pingFrame)
	time.AfterFunc(probeStep, func() { g.judge(s, asked, asked) })
}

// judge looks for the answer of s, which was asked at asked and looked at last at last.
func (g *Gateway) judge(s *Socket, asked, last time.Duration) {
	now, received := g.mono(), time.Duration(s.received.Load())
	switch {
	case received >= asked:
		g.probes.end(s)
		g.decided(s, true)
	case now-last > probeStep+probeLate:
		g.ask(s)
	case now-asked >= probeTime && s.reads.Load() == 0:
		g.probes.end(s)
		g.unanswered(s, g.Now().Add(received-now))
	default:
		time.AfterFunc(probeStep, func() { g.judge(s, asked, now) })
	}
}

// decided ends the probe of the sessions of s that live on, since s answered or since it carries
// others too. Those that another node asked for are reported again: there the online hook of the
// newer session waits for it.
func (g *Gateway) decided(s *Socket, answered bool) {
	var afar []*Session
	for _, ss := range s.Sessions() {
		sh := g.registry.shard(ss.key)
		sh.mu.Lock()
		ss.followed = ss.followed && !answered
		if !ss.over && ss.probing != notProbed {
			if ss.probing == probedAfar {
				afar = append(afar, ss)
			}
			ss.probing = notProbed
			g.say(sh, ss.key)
		}
		sh.mu.Unlock()
	}
	if len(afar) > 0 && g.Events != nil {
		g.assert(afar)
	}
}

// unanswered closes s, of which nothing has come since before the probe, when every session on it
// is followed by another of its device. Otherwise it has its lease: some peer may be on no other
// connection.
func (g *Gateway) unanswered(s *Socket, received presence.Millis) {
	sessions := s.Sessions()
	if len(sessions) == 0 {
		return // closed meanwhile
	}
	for _, ss := range sessions {
		sh := g.registry.shard(ss.key)
		sh.mu.Lock()
		followed := ss.over || ss.followed
		sh.mu.Unlock()
		if !followed {
			g.decided(s, false)
			return
		}
	}
	for _, ss := range sessions {
		if !g.takeOver(ss, g.endEvent(ss, presence.CauseReplaced, "SESSION_CONFLICT")) {
			continue
		}
		g.detach(ss)
		g.count.replaced.Add(1)
		if !g.draining.Load() {
			g.offlineQueue.Add(g.offline(ss, presence.CauseReplaced, received))
		}
	}
	g.Refuse(RefusedSilence)
	// A client that is merely slow connects again, as it does after any loss.
	s.Close(closeReadTimeout, "READ_TIMEOUT")
}

// probeAkin probes ss if st, the state of its peer, has a newer session akin to it on another node.
func (g *Gateway) probeAkin(ss *Session, st *presence.State) {
	if newest := g.newestAfar(ss, st); newest > ss.asked {
		ss.asked = newest
		g.probe(ss, probedAfar)
	}
}

// newestAfar returns the start of the newest live session in st, the state of the peer of ss, that
// is akin to ss, newer than it and on another node; 0 when there is none.
func (g *Gateway) newestAfar(ss *Session, st *presence.State) (newest presence.Millis) {
	at, now := placeOf(ss.id), g.Now()
	for i := range st.Sessions {
		o := &st.Sessions[i]
		if o.Source == presence.SourceGateway && o.Node != g.Node && o.Live(now) && o.Incarnation > max(ss.start, newest) && at.akin(placeOf(o.ID)) {
			newest = o.Incarnation
		}
	}
	return newest
}

// succeed ends the sessions of the device of ss on nodes that hold sockets no more: earlier runs of
// this one, and drained nodes. Each would end by itself, with its node's grace; until then a logout
// of ss would leave the peer online. Their ends are no events here: package hookout finds in the
// store what a killed run owes.
func (g *Gateway) succeed(ctx context.Context, ss *Session) {
	drained := g.Service.Drained()
	if g.Shared && len(drained) == 0 {
		return
	}
	var st presence.State
	if g.Service.Load(ctx, ss.key, &st) != nil {
		return // they end by themselves
	}
	at, now := placeOf(ss.id), g.Now()
	for i := range st.Sessions {
		o := &st.Sessions[i]
		// This node may be among the drained ones, when the login came in before its drain.
		gone := o.Node != g.Node && (!g.Shared || slices.Contains(drained, o.Node))
		if !gone || o.Source != presence.SourceGateway || !o.Live(now) || o.Incarnation > ss.start || !at.same(placeOf(o.ID)) {
			continue
		}
		g.offlineQueue.Add(endOf(ss.key, o, presence.CauseReplaced, now))
	}
}
