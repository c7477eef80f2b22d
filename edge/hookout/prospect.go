package hookout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/presence"
)

// probeWait is within what time an older session of the same client that does not answer its probe
// ends.
const probeWait = 8 * time.Second

// akinWait is how long an older session of the same client, on a node that lives, may take to
// answer its probe or end.
const akinWait = 30 * time.Second

// recordWait is how long a node may take to record a session that it has reported.
const recordWait = 5 * time.Second

// A fate is what the store says of a session whose offline hook is owed.
type fate struct {
	open  bool           // it lives, or its node has yet to be found lost
	cause presence.Cause // of its end
	// While it is open: the latest report on it, and its node.
	at   presence.Millis
	node presence.NodeID
}

// fateOf returns what became of r in st, the state of its peer.
func fateOf(st *presence.State, r ref, now presence.Millis) fate {
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Source != presence.SourceGateway || !r.is(*s) {
			continue
		}
		if s.Live(now) {
			return fate{open: true, at: s.At, node: s.Node}
		}
		switch c := s.EndCause(); c {
		case presence.CauseLogout, presence.CauseKicked, presence.CauseReplaced:
			return fate{cause: c}
		}
		return fate{cause: presence.CauseLost}
	}
	return fate{cause: presence.CauseLost}
}

// A prospect is what the ledger says of a hook that is to be sent.
type prospect struct {
	self  standing
	newer bool // a newer session of the peer is on record
	wait  bool // offline hooks of older sessions come before
	stray []owed
	// unsure: the store failed, and may have put strays on record here all the same.
	unsure bool
}

// before returns what comes before the hook of r: the offline hooks of older sessions of its peer,
// of those that have ended, and of those that may be dead connections of the same client. Other
// nodes send them, but for the strays: the nodes of these are gone, and this process is to send
// theirs. ours reports of a session on record here, whose end comes in order by itself, whether it
// comes before all the same.
func (l *Ledger) before(ctx context.Context, r ref, ours func(ref) bool) (p prospect, err error) {
	records, peers, err := l.load(ctx, []owed{{ref: r}})
	if err != nil {
		return p, err
	}
	p, theirs := l.prospect(r, &records[0], &peers[0], ours)
	if len(theirs) == 0 {
		return p, nil
	}
	// Of the nodes of the records, and of those of the sessions.
	beats := make([]bool, 2*len(theirs))
	if l.Shared {
		nodes := make([]presence.NodeID, len(beats))
		for i, o := range theirs {
			nodes[2*i], nodes[2*i+1] = o.from, o.on
		}
		if beats, err = l.Store.Heartbeats(ctx, nodes); err != nil {
			return p, fmt.Errorf("read what comes before: %w", err)
		}
	}
	var refs []ref
	var from []presence.NodeID
	var strays []owed
	for i, o := range theirs {
		if !beats[2*i] { // no survivor will find it
			refs, from, strays = append(refs, o.ref), append(from, o.from), append(strays, o.owed)
		}
		// A late one has ended all the same, when it was on a node that is gone.
		p.wait = p.wait || !beats[2*i] || !beats[2*i+1]
	}
	if len(refs) == 0 {
		return p, nil
	}
	mine, err := l.claim(ctx, from, refs)
	if err != nil {
		p.unsure = true
		return p, err
	}
	for i, o := range strays {
		if mine[i] {
			p.stray = append(p.stray, o)
		}
	}
	return p, nil
}

// An elder is an older session, on record on another node, that may have ended or be about to.
type elder struct {
	owed
	on   presence.NodeID // of the session while it is open, else of its record
	late bool            // it would have ended by now, unless its node is gone
}

// prospect is before as far as the states show; theirs are the elders. It waits for those that are
// not late.
func (l *Ledger) prospect(r ref, record, peer *presence.State, ours func(ref) bool) (p prospect, theirs []elder) {
	now := l.Now()
	p.self = l.standingIn(record, r)
	for i := range record.Sessions {
		s := &record.Sessions[i]
		o := owed{ref: ref{r.app, r.peer, s.ID, s.Incarnation}, tag: s.Device, from: s.Node, alive: now}
		switch {
		case s.Ended:
		case r.olderThan(o.ref):
			p.newer = true
		case !o.olderThan(r): // itself
		case s.Node == l.Node:
			p.wait = p.wait || ours(o.ref)
		default:
			f := fateOf(peer, o.ref, now)
			switch {
			case !f.open:
				theirs, p.wait = append(theirs, elder{owed: o, on: o.from}), true
			case l.Akin(o.session, r.session):
				late := l.stays(f, r, now)
				theirs, p.wait = append(theirs, elder{owed: o, on: f.node, late: late}), p.wait || !late
			}
		}
	}
	p.wait = p.wait || l.unrecorded(r, peer, record, now)
	return p, theirs
}

// stays reports whether an older session of the client of r, which is open on a node that lives,
// lives too: a client that came back is not on its dead connection, which ends unless it answers.
func (l *Ledger) stays(f fate, r ref, now presence.Millis) bool {
	if f.at > r.start { // it has answered, or its node reported all that it holds
		return now > r.start.Add(probeWait)
	}
	return now > r.start.Add(akinWait)
}

// unrecorded reports whether an older session of the client of r is open on another node and may be
// about to be recorded.
func (l *Ledger) unrecorded(r ref, st, record *presence.State, now presence.Millis) bool {
	if now > r.start.Add(recordWait) {
		return false
	}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		o := ref{r.app, r.peer, s.ID, s.Incarnation}
		if s.Source == presence.SourceGateway && s.Live(now) && s.Node != l.Node && s.At <= r.start && o.olderThan(r) && l.Akin(s.ID, r.session) &&
			!slices.ContainsFunc(record.Sessions, o.is) {
			return true
		}
	}
	return false
}
