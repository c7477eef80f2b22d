package ask

import (
	"context"
	"fmt"

	"rollcall/presence"
)

// Why explains why a peer is shown as it is, as JSON for every door. Times are Unix milliseconds by
// the clock of the server, and of sources where that is said.
type Why struct {
	Peer     presence.PeerID `json:"peer"`
	Status   string          `json:"status"`
	Why      string          `json:"why"`
	Since    presence.Millis `json:"since,omitempty"`
	LastSeen presence.Millis `json:"last_seen,omitempty"`
	Cause    string          `json:"cause,omitempty"`
	Until    presence.Millis `json:"until,omitempty"` // of the last lease; none while a node beats
	Held     presence.Millis `json:"held_until,omitempty"`
	Leases   presence.Millis `json:"leases_as_of,omitempty"` // while leases stand still
	Sessions []WhySession    `json:"sessions"`
	Slots    []WhySlot       `json:"slots"`
	Reports  []WhyReport     `json:"reports"`
}

// A WhySession is one session of the peer.
type WhySession struct {
	Source      presence.Source    `json:"source"`
	Session     presence.SessionID `json:"session"`
	Open        bool               `json:"open"`
	Node        presence.NodeID    `json:"node,omitempty"`
	Device      string             `json:"device,omitempty"`
	Incarnation presence.Millis    `json:"inc,omitempty"`
	Start       presence.Millis    `json:"start,omitempty"`
	// At is the time of the last report, by the clock of its source; Ahead is by how much that is
	// ahead of its receipt, ms, when that clock is off.
	At    presence.Millis `json:"at"`
	Ahead presence.Millis `json:"ahead,omitempty"`
	Seq   uint64          `json:"seq,omitempty"`
	Until presence.Millis `json:"until,omitempty"`
	Cause string          `json:"cause,omitempty"`
	Hold  float64         `json:"hold,omitempty"` // seconds
}

// A WhySlot counts the sessions of a source that cannot name them.
type WhySlot struct {
	Source presence.Source `json:"source"`
	Tag    string          `json:"tag,omitempty"`
	Open   int             `json:"open"`
	At     presence.Millis `json:"at"`
	Until  presence.Millis `json:"until,omitempty"`
}

// A WhyReport is a report that this process has received, and what became of it.
type WhyReport struct {
	Received presence.Millis    `json:"heard"`
	Source   presence.Source    `json:"source"`
	Kind     string             `json:"kind"`
	Session  presence.SessionID `json:"session,omitempty"`
	Tag      string             `json:"tag,omitempty"`
	At       presence.Millis    `json:"at"`
	Cause    string             `json:"cause,omitempty"`
	Count    *int               `json:"count,omitempty"` // of a count: -1 when it is not known
	Verdict  string             `json:"verdict"`
	Turned   bool               `json:"turned"`
}

// Why explains why peer is shown as it is: its sessions, the last reports that this process has
// received, and a sentence.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable.
func (r *Reader) Why(ctx context.Context, v View, peer presence.PeerID) (Why, error) {
	if err := v.Check(); err != nil {
		return Why{}, err
	}
	var st presence.State
	if err := r.Store.Load(ctx, v.key(peer), &st); err != nil {
		return Why{}, fmt.Errorf("read peer %q: %w", peer, err)
	}
	now := r.Now()
	e := r.Rules.Explain(v.key(peer), &st, now)
	return whyOf(peer, &e, now), nil
}

func whyOf(peer presence.PeerID, e *presence.Explanation, now presence.Millis) Why {
	s := &e.Summary
	out := Why{
		Peer: peer, Status: s.Status.String(), Why: e.Why, Since: s.Since, LastSeen: s.LastSeen, Until: leaseEnd(s.Until), Held: e.Held,
		Sessions: []WhySession{}, Slots: []WhySlot{}, Reports: []WhyReport{},
	}
	if s.Status == presence.Offline {
		out.Cause = s.Cause.String()
	}
	if e.Leases != now {
		out.Leases = e.Leases
	}
	for i := range e.Sessions {
		x := &e.Sessions[i]
		one := WhySession{
			Source: x.Source, Session: x.ID, Open: x.Live(e.Leases), Node: x.Node, Device: x.Device, Incarnation: x.Incarnation,
			Start: x.Start, At: x.At, Ahead: x.Ahead, Seq: x.Seq, Hold: x.Hold.Seconds(),
		}
		if one.Open {
			one.Until = leaseEnd(x.Until)
		} else {
			one.Cause = x.EndCause().String()
		}
		out.Sessions = append(out.Sessions, one)
	}
	for i := range e.Slots {
		x := &e.Slots[i]
		out.Slots = append(out.Slots, WhySlot{Source: x.Source, Tag: x.Tag, Open: x.Count(e.Leases), At: x.At, Until: x.Until})
	}
	for i := range e.Reports {
		out.Reports = append(out.Reports, reportedOf(&e.Reports[i]))
	}
	return out
}

func reportedOf(t *presence.Traced) WhyReport {
	r := &t.Report
	one := WhyReport{
		Received: t.Received, Source: r.Source, Kind: r.Kind.String(), Session: r.Session, Tag: r.Tag, At: r.At,
		Verdict: t.Verdict.String(), Turned: t.Turned,
	}
	switch {
	case r.Kind == presence.KindCount:
		one.Count = &r.Count
	case r.Kind == presence.KindOffline, r.Kind == presence.KindEndAll, r.Cause == presence.CauseReconciled:
		one.Cause = r.Cause.String()
	}
	return one
}

// leaseEnd returns m, or 0 for the lease of a session that lives by its node, which has no end to
// date.
func leaseEnd(m presence.Millis) presence.Millis {
	if m > 1<<46 {
		return 0
	}
	return m
}
