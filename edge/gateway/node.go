package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rollcall/edge/gateway/frame"
	"rollcall/intake"
	"rollcall/presence"
)

// heartbeats reports that the node lives, until it drains.
func (g *Gateway) heartbeats() {
	t := time.NewTicker(g.cfg.Heartbeat)
	defer t.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-t.C:
			if g.draining.Load() {
				return
			}
			g.heartbeat(g.Now())
		}
	}
}

func (g *Gateway) heartbeat(now presence.Millis) {
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.Heartbeat)
	defer cancel()
	g.heartbeatMu.Lock()
	if g.draining.Load() {
		g.heartbeatMu.Unlock()
		return // the last heartbeat has been or is about to be; another would take the grace away
	}
	err := g.Service.Heartbeat(ctx, g.Node, g.cfg.NodeLease, false, now)
	g.heartbeatMu.Unlock()
	if err != nil {
		g.count.heartbeatsFailed.Add(1)
		g.Log.Warn("node heartbeat failed", "node", g.Node, "err", err)
		return
	}
	last := time.Duration(g.lastHeartbeat.Swap(int64(g.mono())))
	if last > 0 && g.mono()-last >= g.cfg.NodeLease {
		// The others may have taken this node for dead and ended what it holds.
		g.Log.Warn("heartbeats missing for longer than the lease; re-reporting sessions", "node", g.Node, "silent", g.mono()-last)
		g.assertAll()
	}
}

// assertAll reports every session of this node again. Those that the store does not take as open
// are reconciled: they may have been ended while no signal came through.
func (g *Gateway) assertAll() {
	g.registry.all(func(sessions []*Session) {
		for some := range slices.Chunk(sessions, intake.QueueBatch) {
			if refused := g.assert(some); g.Shared && len(refused) > 0 {
				g.signal(refused)
			}
		}
	})
}

// asked are the callers that wait until this node has re-reported its sessions.
type asked struct {
	mu   sync.Mutex
	list []chan struct{}
}

func (a *asked) take() []chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// askAgain has the sessions asserted, and returns what closes when they are.
func (g *Gateway) askAgain() <-chan struct{} {
	done := make(chan struct{})
	g.asked.mu.Lock()
	g.asked.list = append(g.asked.list, done)
	g.asked.mu.Unlock()
	g.again.Wake()
	return done
}

// assertWhenAsked re-reports all sessions when the store is reachable again or may have lost
// writes.
func (g *Gateway) assertWhenAsked() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.again:
			done := g.asked.take()
			g.heartbeat(g.Now())
			g.assertAll()
			for _, c := range done {
				close(c)
			}
			g.endOrphans()
		}
	}
}

// endOrphans ends the sessions that the store attributes to this node and that have no socket here;
// it retries until it succeeds. A store restored from old data has those of sockets that were
// closed since; as long as this node sends heartbeats no other node ends them.
func (g *Gateway) endOrphans() {
	for try := 1; ; try++ {
		err := g.endOrphansOnce()
		if err == nil {
			return
		}
		// The first may well fail: a spool is emptied before anything else.
		if try == orphansLogged {
			g.Log.Warn("ending orphaned sessions failed; retrying", "err", err)
		}
		if wait(g.ctx, reconcileRetry); g.ctx.Err() != nil {
			return
		}
	}
}

// orphansLogged is how many attempts fail before that is logged.
const orphansLogged = 10

func (g *Gateway) endOrphansOnce() error {
	keys, unread := g.Service.PeersOn(g.ctx, g.Node)
	if unread != nil {
		unread = fmt.Errorf("ask for the peers of this node: %w", unread)
	}
	for some := range slices.Chunk(keys, intake.QueueBatch) {
		if g.draining.Load() {
			return nil // drained sessions keep the grace
		}
		now := g.Now()
		found := make([][]presence.Report, len(some))
		if err := g.Service.Inspect(g.ctx, some, now, func(i int, st *presence.State) {
			found[i] = g.orphans(some[i], st, now)
		}); err != nil {
			return fmt.Errorf("read %d peers of this node: %w", len(some), err)
		}
		ends := slices.Concat(found...)
		if len(ends) == 0 {
			continue
		}
		if err := g.Service.Report(g.ctx, ends, now, make([]presence.Outcome, len(ends))); err != nil {
			return fmt.Errorf("end %d sessions that are not here: %w", len(ends), err)
		}
		g.count.disowned.Add(int64(len(ends)))
	}
	return unread // of a Cluster that has lost a primary the others have been read
}

// orphans returns an end for each session in st, the state of key, that names this node and has no
// socket here. A login under way is registered here before it is reported.
func (g *Gateway) orphans(key presence.Key, st *presence.State, now presence.Millis) (ends []presence.Report) {
	var held []*Session
	for i := range st.Sessions {
		o := &st.Sessions[i]
		if o.Source != presence.SourceGateway || o.Node != g.Node || o.Ended {
			continue
		}
		if held == nil {
			held = g.registry.sessions(key)
		}
		if !slices.ContainsFunc(held, func(ss *Session) bool { return ss.id == o.ID }) {
			ends = append(ends, endOf(key, o, presence.CauseNodeLost, now))
		}
	}
	return ends
}

// assert reports sessions as open now, and returns the peers of those that the store knows more
// of. One that ends meanwhile stays ended: its end names the incarnation.
func (g *Gateway) assert(sessions []*Session) (refused []presence.Key) {
	now := g.Now()
	reports := make([]presence.Report, len(sessions))
	for i, ss := range sessions {
		reports[i] = g.online(ss, max(now, ss.start))
	}
	outs := make([]presence.Outcome, len(reports))
	if err := g.Service.Report(g.ctx, reports, now, outs); err != nil {
		g.Log.Warn("re-reporting sessions failed; the next heartbeat or signal retries", "sessions", len(reports), "err", err)
		g.lastHeartbeat.Store(1) // the next successful heartbeat re-reports once more
		return nil
	}
	g.count.asserted.Add(int64(len(sessions)))
	for i := range outs {
		if outs[i].Verdict == presence.Late || outs[i].Verdict == presence.Double {
			refused = append(refused, sessions[i].key)
		}
	}
	return refused
}

// longTick returns how long after the last a tick of the wheel shows that the whole process stood
// still, and not only waited for its turn.
//
// A live client sends something once in a ping, checked to the tick, and is lost when the rest of
// its lease passes in silence: a pause longer than that rest must be noticed. What is noticed for
// nothing keeps the dead a while longer, so a lease that leaves little is not cut finer than a tick
// that is a whole second late, which a busy machine does not come to; and no pause under five
// seconds matters to the usual leases. (The sweep of package server has the same five seconds, for
// leases that it does not choose.)
func (c *Config) longTick() time.Duration {
	return min(max(c.Lease-c.Ping-wheelTick, 2*wheelTick), 5*time.Second)
}

// notePause notices that the process, not the clients, has been silent.
func (g *Gateway) notePause() {
	now := g.mono()
	last := time.Duration(g.ticked.Swap(int64(now)))
	if now-last > g.cfg.longTick() {
		g.resumed.Store(int64(now))
		g.Log.Warn("process paused; sockets get one ping interval to answer", "paused", now-last)
	}
}

// Drain sends the sockets away, spread over a moment so that they do not all come at once to where
// they go. It reports no session as over: the node's last heartbeat gives them the grace to come
// back elsewhere. It returns when no socket is left or ctx ends, and closes the gateway.
func (g *Gateway) Drain(ctx context.Context) error {
	if g.draining.Swap(true) {
		return nil
	}
	g.heartbeatMu.Lock()
	err := g.Service.Heartbeat(ctx, g.Node, g.cfg.Grace, true, g.Now())
	g.heartbeatMu.Unlock()
	if err != nil {
		err = fmt.Errorf("take the node's last heartbeat: %w", err)
	}
	g.sendAway(ctx)
	for !g.offlineQueue.Idle() && ctx.Err() == nil {
		wait(ctx, 5*time.Millisecond)
	}
	return errors.Join(err, g.Close())
}

// sendAway closes the sockets in random order, evenly over the spread.
func (g *Gateway) sendAway(ctx context.Context) {
	sockets := g.open()
	rand.Shuffle(len(sockets), func(i, j int) { sockets[i], sockets[j] = sockets[j], sockets[i] })
	const steps = 50
	// Few sockets need no spreading: a thousand at once is what any node takes.
	spread := min(g.cfg.Spread, time.Duration(len(sockets))*time.Millisecond)
	for i := range steps {
		for _, s := range sockets[len(sockets)*i/steps : len(sockets)*(i+1)/steps] {
			if !g.cfg.GoAway || !s.handler.GoAway(s) {
				s.close(frame.CloseAway, "moving", presence.CauseDrained)
			}
		}
		wait(ctx, spread/steps)
	}
	if g.cfg.GoAway && len(sockets) > 0 {
		wait(ctx, moveTime)
		for _, s := range sockets {
			s.close(frame.CloseAway, "moving", presence.CauseDrained)
		}
	}
	for deadline := g.mono() + closeWait; g.count.sockets.Load() > 0 && g.mono() < deadline && ctx.Err() == nil; {
		wait(ctx, 10*time.Millisecond)
	}
}

// moveTime is how long clients that were asked to move may take before they are closed: the JS
// client asks the router and waits a second.
const moveTime = 2 * time.Second

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Close hangs up on every socket and stops. Without a Drain before, the sessions are reported as
// lost as far as the store takes it.
func (g *Gateway) Close() error {
	g.closing.Store(true)
	for _, s := range g.open() {
		s.end(presence.CauseLost, g.Now())
	}
	_ = g.offlineQueue.Flush(g.ctx) // what the store does not take now ends with this node
	if g.stop != nil {
		g.stop()
	}
	g.cancel()
	var err error
	if g.poll != nil {
		err = g.poll.close()
	}
	g.loops.Wait()
	g.sockets.Wait()
	if g.poll != nil {
		err = errors.Join(err, g.poll.release())
	}
	return err
}

// live is the set of open sockets.
type live struct {
	mu  sync.Mutex
	set map[*Socket]struct{}
}

func (g *Gateway) open() []*Socket {
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	all := make([]*Socket, 0, len(g.live.set))
	for s := range g.live.set {
		all = append(all, s)
	}
	return all
}
