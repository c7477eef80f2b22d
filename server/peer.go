package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/presence"
)

// Peer is all that is known of one peer, and why it is shown as it is.
type Peer struct {
	App      string      `json:"app"`
	Peer     string      `json:"peer"`
	Status   string      `json:"status"`
	Since    string      `json:"since,omitempty"`
	LastSeen string      `json:"last_seen,omitempty"`
	Until    string      `json:"until,omitempty"` // while online: when the last lease runs out; empty while a node beats
	Cause    string      `json:"cause,omitempty"`
	Held     string      `json:"held,omitempty"` // when watchers hear that it is offline
	Why      string      `json:"why"`
	Sessions []Session   `json:"sessions"`
	Slots    []Slot      `json:"slots"`
	Reports  []Heard     `json:"reports"`
	Days     []OnlineDay `json:"days,omitempty"` // when online time is kept; the latest first
}

// OnlineDay is how long a peer was online on one local day.
type OnlineDay struct {
	Day    string `json:"day"`
	Online string `json:"online"`
}

// Session is one session of a peer.
type Session struct {
	Source string `json:"source"`
	ID     string `json:"id"`
	Node   string `json:"node,omitempty"`
	Device string `json:"device,omitempty"`
	Open   bool   `json:"open"`
	Start  string `json:"start,omitempty"`
	At     string `json:"at"`
	Until  string `json:"until,omitempty"`
	Cause  string `json:"cause,omitempty"`
}

// Slot counts the sessions of a source that cannot name them.
type Slot struct {
	Source string `json:"source"`
	Tag    string `json:"tag,omitempty"`
	Open   int    `json:"open"`
	Start  string `json:"start,omitempty"`
	At     string `json:"at"`
	Until  string `json:"until,omitempty"`
}

// Heard is a report as this process heard it since it started, and what became of it.
type Heard struct {
	Heard   string `json:"heard"`
	Source  string `json:"source"`
	Kind    string `json:"kind"`
	Session string `json:"session,omitempty"`
	Tag     string `json:"tag,omitempty"`
	Cause   string `json:"cause,omitempty"`
	At      string `json:"at"`
	Verdict string `json:"verdict"`
	Turned  bool   `json:"turned"`
}

// Peer returns what is known of peer. app may be empty when there is one app only.
func (s *Server) Peer(ctx context.Context, app presence.AppID, peer presence.PeerID) (Peer, error) {
	app, err := s.whichApp(app)
	if err != nil {
		return Peer{}, err
	}
	if peer == "" {
		return Peer{}, fmt.Errorf("%w: no peer is named", presence.ErrInvalid)
	}
	e, err := s.presence.Why(ctx, presence.Key{App: app, Peer: peer}, s.clock.Now())
	if err != nil {
		return Peer{}, err
	}
	p := Peer{
		App: string(app), Peer: string(peer), Status: e.Summary.Status.String(),
		Since: stamp(e.Summary.Since), LastSeen: stamp(e.Summary.LastSeen), Until: leaseEnd(e.Summary.Until), Held: stamp(e.Held),
		Why: e.Why, Sessions: []Session{}, Slots: []Slot{}, Reports: []Heard{},
	}
	if e.Summary.Status == presence.Offline {
		p.Cause = e.Summary.Cause.String()
	}
	for i := range e.Sessions {
		p.Sessions = append(p.Sessions, sessionOf(&e.Sessions[i], e.Leases))
	}
	for i := range e.Slots {
		o := &e.Slots[i]
		p.Slots = append(p.Slots, Slot{
			Source: string(o.Source), Tag: o.Tag, Open: o.Count(e.Leases), Start: stamp(o.Start), At: stamp(o.At), Until: leaseEnd(o.Until),
		})
	}
	for _, t := range e.Reports {
		p.Reports = append(p.Reports, heardOf(t))
	}
	for _, d := range slices.Backward(e.Days) {
		p.Days = append(p.Days, OnlineDay{Day: d.Date(), Online: d.Online.Round(time.Second).String()})
	}
	return p, nil
}

func (s *Server) whichApp(app presence.AppID) (presence.AppID, error) {
	if app == "" {
		if len(s.apps) == 1 {
			return presence.AppID(s.apps[0].ID), nil
		}
		return "", fmt.Errorf("%w: there are %d apps; say which one", presence.ErrInvalid, len(s.apps))
	}
	if s.ring.Lookup(string(app)) == nil {
		return "", fmt.Errorf("%w: there is no app %q here", presence.ErrInvalid, app)
	}
	return app, nil
}

func sessionOf(x *presence.Session, leases presence.Millis) Session {
	o := Session{
		Source: string(x.Source), ID: string(x.ID), Node: string(x.Node), Device: x.Device, Open: x.Live(leases),
		Start: stamp(x.Start), At: stamp(x.Seen()),
	}
	if o.Open {
		o.Until = leaseEnd(x.Until)
	} else {
		o.Cause = x.EndCause().String()
	}
	return o
}

func heardOf(t presence.Traced) Heard {
	r := &t.Report
	h := Heard{
		Heard: stamp(t.Heard), Source: string(r.Source), Kind: r.Kind.String(), Session: string(r.Session), Tag: r.Tag,
		At: stamp(r.At), Verdict: t.Verdict.String(), Turned: t.Turned,
	}
	if r.Kind == presence.KindOffline {
		h.Cause = r.Cause.String()
	}
	return h
}

// leaseEnd is stamp for the end of a lease; a session whose node beats has none that a date could tell.
func leaseEnd(m presence.Millis) string {
	if m > 1<<46 {
		return ""
	}
	return stamp(m)
}
