package intake

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// A Resync is the complete list of a node's sessions: those on it are online, all others of the
// node end. What the node reported after the time of the list stands. One goroutine fills and sends
// it.
type Resync struct {
	in      *Intake
	from    Sender
	node    presence.NodeID
	now     presence.Millis
	at      presence.Millis // of the list
	own     bool            // at is by the clock of the node
	seen    int
	reports []presence.Report
	listed  map[sessionKey]struct{}
	tally   Tally
}

type sessionKey struct {
	peer    presence.PeerID
	session presence.SessionID
}

// Resync opens a list of about n sessions of node, see [Sender.Node], as of at by the clock of the
// node, however far ahead that is: it has also stamped what the list is compared with. Zero is now.
func (in *Intake) Resync(from Sender, node presence.NodeID, at presence.Millis, n int) *Resync {
	r := &Resync{
		in: in, from: from, node: node, now: in.Now(), at: at, own: at != 0,
		reports: make([]presence.Report, 0, n), listed: make(map[sessionKey]struct{}, n),
	}
	if at == 0 {
		r.at = r.now
	}
	return r
}

// AddJSON adds a session in the generic JSON, which is an event without state and node. One that
// cannot be used is ignored, and the session that it names is not ended for it. It returns an
// error, a [*FieldError] as a rule, when it does not say which session that is; then the list must
// not be sent.
func (r *Resync) AddJSON(raw []byte) error {
	e, err := parseSession(raw)
	if err == nil {
		err = r.Add(&e)
	}
	if err == nil {
		return nil
	}
	ids := named(raw)
	if len(ids) == 0 {
		return err
	}
	for _, id := range ids {
		r.listed[id] = struct{}{}
	}
	r.tally.ignore(r.seen, err)
	r.seen++
	return nil
}

// Add adds a session; Kind and Node of e are not looked at. It returns a [*FieldError] when it
// cannot be used, and has not added it then.
func (r *Resync) Add(e *Event) error {
	session := *e
	session.Kind, session.Node = presence.KindOnline, ""
	rep := r.from.report(&session, r.now)
	if err := validate(&rep); err != nil {
		return err
	}
	rep.Node = r.node
	// The list is a report of its own time: a session on it lives, however long ago it began, and
	// whatever was concluded since.
	rep.Received = false
	switch {
	case e.At == 0 && r.at == r.now:
		r.in.receipts.stamp(&rep, r.now)
	case e.At == 0:
		rep.At = r.at
	case rep.At < r.at:
		rep.Start, rep.At, rep.Seq = rep.At, r.at, 0
	}
	r.listed[sessionKey{rep.Peer, rep.Session}] = struct{}{}
	r.reports = append(r.reports, rep)
	r.seen++
	return nil
}

// Send counts the list and ends what is not on it. It returns what became of the sessions, those
// that ended too, and how many ended. The error matches presence.ErrUnavailable or
// presence.ErrFull; the caller sends the list again.
func (r *Resync) Send(ctx context.Context) (t Tally, ended int, err error) {
	ends, err := r.missing(ctx)
	if err != nil {
		return Tally{}, 0, err
	}
	err = r.in.send(ctx, append(r.reports, ends...), r.now, &r.tally)
	return r.tally, len(ends), err
}

// missing returns an end for every session of the node that is not listed and began before the
// list.
func (r *Resync) missing(ctx context.Context) (ends []presence.Report, err error) {
	err = r.in.Service.SessionsOn(ctx, r.node, func(key presence.Key, s *presence.Session) {
		if _, ok := r.listed[sessionKey{key.Peer, s.ID}]; ok || !s.Live(r.at) {
			return
		}
		stood, end := s.At, r.at
		if !r.own { // the list was made now, whatever the clock of the node says
			stood, end = s.Seen(), max(r.at, s.At+1)
		}
		if stood >= r.at {
			return
		}
		ends = append(ends, presence.Report{
			App: key.App, Peer: key.Peer, Source: s.Source, Session: s.ID, Device: s.Device, Kind: presence.KindOffline,
			At: end, Incarnation: s.Incarnation, Cause: presence.CauseLost, Hold: r.from.Hold,
		})
	})
	if err != nil {
		return nil, err
	}
	return ends, nil
}

// named returns the sessions that an entry of a list may be about when it is not understood; none
// when it does not say.
func named(raw []byte) (ids []sessionKey) {
	var at *strictjson.Error
	if errors.As(strictjson.Check(raw, MaxDepth), &at) && at.Kind == strictjson.ErrDuplicate {
		switch strings.ToLower(at.Member) {
		case "user", "peer", "session":
			return nil // which of the two is meant is not known
		}
	}
	var e struct {
		User    text `json:"user"`
		Peer    text `json:"peer"`
		Session text `json:"session"`
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.Session.s == "" {
		return nil
	}
	for _, peer := range []string{e.User.s, e.Peer.s} {
		if peer != "" {
			ids = append(ids, sessionKey{presence.PeerID(peer), presence.SessionID(e.Session.s)})
		}
	}
	return ids
}
