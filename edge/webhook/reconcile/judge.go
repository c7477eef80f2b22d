package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"rollcall/presence"
)

// A finding is what an answer says against what is shown.
type finding uint8

const (
	agree finding = iota
	unsure
	ghost  // a session that is shown has ended
	missed // the peer is online, and the source has no session that is shown
)

// A judgement is what the answer about one peer would do.
type judgement struct {
	peer    presence.PeerID
	finding finding
	shown   bool            // the source had a live session
	word    presence.Millis // the last report of the source
	reports []presence.Report

	asked      presence.Asked
	found      presence.Found
	comes      presence.Finding
	calibrates bool // it shows how old answers are, when it was asked for after the turn
}

// standing is what a state holds of one source.
type standing struct {
	sessions int  // live
	slots    int  // sessions in live slots
	known    bool // the source has reported the peer
	word     presence.Millis
	doubtful bool            // its hooks do not add up
	until    presence.Millis // the last lease of it that is live
}

func (s *standing) live() bool { return s.sessions > 0 || s.slots > 0 }

// standingOf reads what st holds of source, judged at leases.
func standingOf(st *presence.State, source presence.Source, leases presence.Millis) (s standing) {
	for i := range st.Sessions {
		ss := &st.Sessions[i]
		if ss.Source != source {
			continue
		}
		s.known, s.word = true, max(s.word, ss.Seen())
		if ss.Live(leases) {
			s.sessions, s.until = s.sessions+1, max(s.until, ss.Until)
		}
	}
	for i := range st.EndAlls {
		if e := &st.EndAlls[i]; e.Source == source {
			s.known, s.word = true, max(s.word, e.At-e.Ahead)
		}
	}
	for i := range st.Slots {
		sl := &st.Slots[i]
		if sl.Source != source {
			continue
		}
		s.known, s.word = true, max(s.word, sl.At)
		if n := sl.Count(leases); n > 0 {
			s.slots, s.until = s.slots+n, max(s.until, sl.Until)
			s.doubtful = s.doubtful || sl.Open > 1 || len(sl.Extra) > 0
		}
	}
	return s
}

// forgets reports whether st may have forgotten a source that reported its peer: slots are
// forgotten with their last session.
func forgets(st *presence.State) bool { return len(st.Sessions) == 0 && len(st.Slots) == 0 }

// ends reports whether r may end a session that is live in s.
func (s *standing) ends(r presence.Report) bool {
	return r.Kind == presence.KindEndAll || r.Kind == presence.KindCount && r.Count >= 0 && r.Count < s.slots
}

// judge says what the answers would do to peers, by their states now.
func (w *worker) judge(ctx context.Context, peers []presence.PeerID, answers map[presence.PeerID]said) ([]judgement, error) {
	keys := make([]presence.Key, 0, len(answers))
	for _, p := range peers {
		if _, ok := answers[p]; ok {
			keys = append(keys, w.key(p))
		}
	}
	room := statesPool.Get().(*[]presence.State)
	defer statesPool.Put(room)
	states, unread, err := w.load(ctx, keys, room)
	if err != nil {
		return nil, err
	}
	now := w.deps.Now()
	judged := make([]judgement, 0, len(keys))
	for i, k := range keys {
		if slices.Contains(unread, i) {
			continue
		}
		judged = append(judged, w.try(&states[i], k.Peer, answers[k.Peer], now))
	}
	return judged, nil
}

// statesPool has states whose memory is used again.
var statesPool = sync.Pool{New: func() any { return new([]presence.State) }}

// load reads the states of keys into room, which grows to what that takes. Those at the places of
// unread cannot be read, such as one that is damaged, and are zero.
func (w *worker) load(ctx context.Context, keys []presence.Key, room *[]presence.State) (states []presence.State, unread []int, err error) {
	if len(*room) < len(keys) {
		*room = make([]presence.State, max(len(keys), window))
	}
	states = (*room)[:len(keys)]
	if len(keys) == 0 {
		return states, nil, nil
	}
	err = w.deps.Service.Loads(ctx, keys, states)
	if part := (*presence.PartError)(nil); errors.As(err, &part) {
		return states, part.Failed, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %d peers: %w", len(keys), err)
	}
	return states, nil, nil
}

// try says what the answer s would do to st.
func (w *worker) try(st *presence.State, peer presence.PeerID, s said, now presence.Millis) judgement {
	service := w.deps.Service
	leases := service.Leases(now)
	before := standingOf(st, w.src.ID, leases)
	asked := presence.Asked{
		App: w.src.App, Source: w.src.ID, At: s.asked, Date: s.clock, Quiet: s.quiet, Counted: w.limits.Counted, Policy: w.src.Policy, Lease: w.src.Lease,
	}
	j := judgement{peer: peer, shown: before.live(), word: before.word, asked: asked, found: s.found, calibrates: asked.Calibrates(st)}
	j.reports, j.comes = asked.Reports(peer, &s.found, st, leases, service.Rules())
	switch j.comes {
	case presence.FindingGhost:
		j.finding = ghost
	case presence.FindingMissed:
		j.finding = missed
	case presence.FindingUnsure:
		j.finding = unsure
	case presence.FindingSessions:
		if slices.ContainsFunc(j.reports, before.ends) {
			j.finding = ghost
		}
	}
	return j
}

// note has why show an answer that makes no report, and what it came to.
func (w *worker) note(j *judgement, v presence.Verdict) {
	count := 0
	if j.found.Online {
		if count = presence.CountUnknown; j.found.Listed {
			count = len(j.found.Sessions)
		}
	}
	w.deps.Service.Note(&presence.Report{
		App: w.src.App, Peer: j.peer, Source: w.src.ID, Kind: presence.KindCount, At: j.asked.At, Count: count, Cause: presence.CauseReconciled,
	}, v, w.deps.Now())
}

// reportsAtOnce is how many reports one update takes.
const reportsAtOnce = 500

// report has reports merged.
func (w *worker) report(ctx context.Context, reports []presence.Report) error {
	for some := range slices.Chunk(reports, reportsAtOnce) {
		if err := w.ready(); err != nil {
			return err
		}
		out := make([]presence.Outcome, len(some))
		if err := w.deps.Service.Report(ctx, some, w.deps.Now(), out); err != nil {
			return fmt.Errorf("apply answers: %w", err)
		}
	}
	return nil
}
