package reconcile

import (
	"context"
	"sync"
	"time"

	"rollcall/presence"
)

const (
	// mostAfter is how many peers wait to be asked about after they turned; the rounds have more.
	mostAfter = 1 << 16
	// afterEvery is how often those that are due are asked about together.
	afterEvery = 5 * time.Second
	// afterSlack is how much later than due a peer may still be asked about as one that has just
	// turned.
	afterSlack = time.Minute
)

// after asks once about each peer that turned offline, as soon as no event from before can be under
// way.
type after struct {
	w *worker

	mu      sync.Mutex
	waiting map[presence.PeerID]struct{}
	order   []waiting // by due

	hour   presence.Millis // the beginning of the hour that asked and turned are of
	asked  int64
	turned int64
}

type waiting struct {
	peer presence.PeerID
	due  presence.Millis
}

func (a *after) init(w *worker) { a.w, a.waiting = w, map[presence.PeerID]struct{}{} }

// run listens for changes until ctx ends.
func (a *after) run(ctx context.Context) {
	stop := a.w.deps.Service.Listen(a.changed)
	defer func() {
		stop()
		a.mu.Lock()
		clear(a.waiting)
		a.order = nil
		a.mu.Unlock()
	}()
	for sleep(ctx, afterEvery) {
		if a.w.stopped.Load() != stoppedNot {
			a.due(a.w.deps.Now())
			continue // the rounds find out whether it is over
		}
		// Who is not asked about now is in the next round.
		if err := a.ask(ctx, a.due(a.w.deps.Now())); err != nil && ctx.Err() == nil {
			a.w.deps.Log.Debug("reconciliation of peers that turned failed", "app", a.w.src.App, "source", a.w.src.ID, "err", err)
		}
	}
}

// changed notes peers whose answers changed. It must not block.
func (a *after) changed(keys []presence.Key) {
	due := a.w.deps.Now().Add(a.w.quiet.wait())
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range keys {
		if k.App != a.w.src.App || len(a.order) >= mostAfter {
			continue
		}
		if _, there := a.waiting[k.Peer]; there {
			continue
		}
		a.waiting[k.Peer] = struct{}{}
		a.order = append(a.order, waiting{k.Peer, due})
	}
}

// due removes and returns those that are due at now.
func (a *after) due(now presence.Millis) []presence.PeerID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []presence.PeerID
	for len(list) < len(a.order) && a.order[len(list)].due <= now {
		p := a.order[len(list)].peer
		delete(a.waiting, p)
		list = append(list, p)
	}
	a.order = append(a.order[:0:0], a.order[len(list):]...)
	return list
}

// ask asks about those of peers that an event of the source has turned offline, or an answer, and
// takes online those that are.
func (a *after) ask(ctx context.Context, peers []presence.PeerID) error {
	w := a.w
	peers, err := a.turnedOffline(ctx, peers)
	if err != nil || len(peers) == 0 {
		return err
	}
	answers, err := w.ask(ctx, peers)
	if err != nil {
		return err
	}
	judged, err := w.judge(ctx, peers, answers)
	if err != nil {
		return err
	}
	w.counts.asked.Add(int64(len(peers)))
	var reports []presence.Report
	turned := int64(0)
	for i := range judged {
		j := &judged[i]
		if j.calibrates {
			a.calibrate(j)
		}
		switch j.finding {
		case missed:
			w.counts.missed.Add(1)
			turned++
			reports = append(reports, j.reports...)
		case agree:
			w.counts.agree.Add(1)
			w.note(j, presence.Double)
		default: // it has turned again
			w.counts.unsure.Add(1)
			w.note(j, presence.Unsure)
		}
	}
	if !a.allow(int64(len(judged)), turned) {
		w.brake(&Result{Asked: a.asked, Missed: a.turned})
		return nil
	}
	return w.report(ctx, reports)
}

// calibrate takes what the answer about a peer that had logged out shows of the age of answers.
func (a *after) calibrate(j *judgement) {
	if age, doubled := a.w.quiet.note(&j.asked, j.comes); doubled {
		a.w.deps.Log.Warn("answers of the product are older than expected", "app", a.w.src.App, "source", a.w.src.ID, "quiet", age)
	}
}

// allow reports whether turned of asked peers may turn: in an hour most of those that went offline
// are.
func (a *after) allow(asked, turned int64) bool {
	if now := a.w.deps.Now(); now >= a.hour.Add(time.Hour) {
		a.hour, a.asked, a.turned = now, 0, 0
	}
	a.asked, a.turned = a.asked+asked, a.turned+turned
	return a.turned <= max(brakeLeast, a.asked/2)
}

// turnedOffline returns those of peers that the source has just turned offline.
func (a *after) turnedOffline(ctx context.Context, peers []presence.PeerID) ([]presence.PeerID, error) {
	w := a.w
	keys := make([]presence.Key, len(peers))
	for i, p := range peers {
		keys[i] = w.key(p)
	}
	room := statesPool.Get().(*[]presence.State)
	defer statesPool.Put(room)
	states, _, err := w.load(ctx, keys, room)
	if err != nil {
		return nil, err
	}
	now := w.deps.Now()
	since := now.Add(-w.quiet.wait() - afterEvery - afterSlack)
	list := peers[:0]
	for i, p := range peers {
		st := &states[i]
		s := standingOf(st, w.src.ID, now)
		its := s.known && s.word >= st.Since || w.limits.Counted && forgets(st)
		if its && st.Status == presence.Offline && st.Since >= since && byEvent(st.Cause) {
			list = append(list, p)
		}
	}
	return list, nil
}

// byEvent reports whether an event or an answer ends sessions for the cause c.
func byEvent(c presence.Cause) bool {
	switch c {
	case presence.CauseExpired, presence.CauseNodeLost, presence.CauseDrained:
		return false
	}
	return true
}
