package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rollcall/internal/lograte"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// A reconciler holds the peers of this node whose state another node may have changed.
type reconciler struct {
	mu      sync.Mutex
	waiting map[presence.Key]bool
	all     bool
	trouble lograte.Episode
	wake    wake.Signal
}

func (r *reconciler) init() { r.waiting, r.wake = map[presence.Key]bool{}, wake.NewSignal() }

func (r *reconciler) next() (keys []presence.Key, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.waiting {
		keys = append(keys, k)
	}
	clear(r.waiting)
	all, r.all = r.all, false
	return keys, all
}

// signal receives from the store which peers have changed; nil stands for all.
func (g *Gateway) signal(keys []presence.Key) {
	var ours []presence.Key
	for _, k := range keys {
		if g.registry.holds(k) {
			ours = append(ours, k)
		}
	}
	if keys != nil && len(ours) == 0 {
		return
	}
	g.reconciler.mu.Lock()
	for _, k := range ours {
		g.reconciler.waiting[k] = true
	}
	g.reconciler.all = g.reconciler.all || keys == nil
	g.reconciler.mu.Unlock()
	g.reconciler.wake.Wake()
}

// reconcileLoop compares the store's sessions of this node with those held here.
func (g *Gateway) reconcileLoop() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.reconciler.wake:
		}
		keys, all := g.reconciler.next()
		g.reconcileAll(keys)
		if all && !g.draining.Load() {
			g.assertAll()
		}
	}
}

// reconcileAll reconciles keys until one look fails: as a rule the next would fail, too, and each
// may take as long as a call to the store may. The rest waits with it. An outage is logged once,
// however many peers are here.
func (g *Gateway) reconcileAll(keys []presence.Key) {
	for i, k := range keys {
		if err := g.reconcile(g.ctx, k); err != nil {
			if begins, _ := g.reconciler.trouble.Note(err); begins && g.ctx.Err() == nil {
				g.Log.Warn("reconciling changed peers failed; retrying", "peers", len(keys)-i, "err", err)
			}
			g.reconcileLater(keys[i:])
			return
		}
	}
	if len(keys) > 0 {
		g.reconciler.trouble.Note(nil)
	}
}

// reconcileRetry is how long a look that failed waits.
const reconcileRetry = 500 * time.Millisecond

func (g *Gateway) reconcileLater(keys []presence.Key) {
	g.reconciler.mu.Lock()
	for _, k := range keys {
		g.reconciler.waiting[k] = true
	}
	g.reconciler.mu.Unlock()
	time.AfterFunc(reconcileRetry, g.reconciler.wake.Wake)
}

// reconcile acts on what other nodes wrote of this node's sessions of key.
func (g *Gateway) reconcile(ctx context.Context, key presence.Key) error {
	ours := g.registry.sessions(key)
	if len(ours) == 0 {
		return nil
	}
	var st presence.State
	if err := g.Service.Load(ctx, key, &st); err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	for _, ss := range ours {
		if g.outranked(ctx, ss, &st) {
			continue
		}
		g.probeAkin(ss, &st)
		for i := range st.Sessions {
			if o := &st.Sessions[i]; o.Source == presence.SourceGateway && o.ID == ss.id {
				g.compare(ctx, ss, o)
			}
		}
	}
	return nil
}

// outranked ends ss, and reports true, when a greater rival lives in st, the state of its peer. As
// a rule one of the two logins has seen the other; a login that the store took late, out of a
// spool, has seen nothing and was not seen.
func (g *Gateway) outranked(ctx context.Context, ss *Session, st *presence.State) bool {
	now := g.Now()
	for i := range st.Sessions {
		if o := &st.Sessions[i]; rival(o, ss, true, now) && outranks(o, ss) {
			if g.takeOver(ss, g.endEvent(ss, presence.CauseReplaced, "SESSION_CONFLICT")) {
				g.reportEnd(ctx, g.offline(ss, presence.CauseReplaced, now))
				g.ended(ss, presence.CauseReplaced, "")
			}
			return true
		}
	}
	return false
}

// reportEnd reports r now, or as soon as the store takes it.
func (g *Gateway) reportEnd(ctx context.Context, r presence.Report) {
	if err := g.Service.Report(ctx, []presence.Report{r}, g.Now(), make([]presence.Outcome, 1)); err != nil {
		g.offlineQueue.Add(r)
	}
}

// outranks reports whether o, a rival of ss, stays and ss does not.
func outranks(o *presence.Session, ss *Session) bool {
	return o.Incarnation > ss.start || o.Incarnation == ss.start && o.ID > ss.id
}

// compare acts on what the store has of ss.
func (g *Gateway) compare(ctx context.Context, ss *Session, o *presence.Session) {
	switch {
	case o.Incarnation > ss.start && !o.Ended && o.Node != g.Node:
		// A node of the release before has given the id to a client that came with our token.
		if g.takeOver(ss, g.endEvent(ss, presence.CauseReplaced, "SESSION_CONFLICT")) {
			g.ended(ss, presence.CauseReplaced, "")
		}
	case o.Ended && (o.Cause == presence.CauseKicked || o.Cause == presence.CauseReplaced):
		reason := ""
		if o.Cause == presence.CauseKicked {
			_, reason, _ = g.kick(ctx, ss.key) // without a reason it is a kick all the same
		}
		if g.takeOver(ss, g.endEvent(ss, o.Cause, reason)) {
			g.ended(ss, o.Cause, reason)
		}
	case !o.Ended && o.Node == "":
		g.assert([]*Session{ss}) // another node considered this node dead
	}
}

// rivals reads what other devices hold the tag of ss. It fails with [ErrConflict] when there are
// any and the login is automatic, and returns the latest start of a rival: a login by hand that
// comes after one is the greater, whatever the clocks of the nodes say.
func (g *Gateway) rivals(ctx context.Context, ss *Session, auto bool) (latest presence.Millis, err error) {
	var st presence.State
	if err := g.Service.Load(ctx, ss.key, &st); err != nil {
		return 0, fmt.Errorf("read the holders of the tag: %w", err)
	}
	for i := range st.Sessions {
		if o := &st.Sessions[i]; rival(o, ss, auto, g.Now()) {
			if auto {
				g.Refuse(RefusedConflict)
				return 0, ErrConflict
			}
			latest = max(latest, o.Incarnation)
		}
	}
	return latest, nil
}

// contend decides between ss, which the store has taken, and other devices with its tag: the
// greater (incarnation, id) stays. Of two that come at the same instant each sees the other or is
// seen, and both decide alike.
func (g *Gateway) contend(ctx context.Context, ss *Session, auto bool) error {
	var st presence.State
	if err := g.Service.Load(ctx, ss.key, &st); err != nil {
		g.drop(ss)
		return fmt.Errorf("read the holders of the tag: %w", err)
	}
	now := g.Now()
	var reports []presence.Report
	for i := range st.Sessions {
		o := &st.Sessions[i]
		if o.ID == ss.id && o.Source == presence.SourceGateway && o.Ended {
			g.takeOver(ss, nil)
			return g.overtaken(o.Cause)
		}
		if !rival(o, ss, auto, now) {
			continue
		}
		if outranks(o, ss) {
			g.takeOver(ss, nil)
			g.reportEnd(ctx, g.offline(ss, presence.CauseReplaced, now))
			return g.overtaken(presence.CauseReplaced)
		}
		reports = append(reports, endOf(ss.key, o, presence.CauseReplaced, now))
	}
	if len(reports) == 0 {
		return nil
	}
	if err := g.Service.Report(ctx, reports, now, make([]presence.Outcome, len(reports))); err != nil {
		for _, r := range reports {
			g.offlineQueue.Add(r)
		}
	}
	return nil
}

// rival reports whether o is another device's live session with the tag of ss, whose login is
// automatic or by hand.
func rival(o *presence.Session, ss *Session, auto bool, now presence.Millis) bool {
	return o.Source == presence.SourceGateway && o.Live(now) && placeOf(ss.id).rivals(placeOf(o.ID), auto)
}
