package intake

import (
	"fmt"
	"strings"
	"time"

	"rollcall/presence"
)

// An Event is what a source says of one session, in its own terms. The zero value of a field says
// that the source does not name it.
type Event struct {
	Peer presence.PeerID
	Kind presence.Kind
	// Session is the id of the session. Without one, events with a time are about one session for
	// each Platform; events without a time are counted by Tag.
	Session  presence.SessionID
	Prefix   presence.SessionID // of the ids of the sessions that a presence.KindEndAll ends
	Platform string             // for display
	Tag      string             // device class of a source without sessions; empty is Platform
	Node     string             // of the sender, that holds Session
	At       presence.Millis    // by the clock of the source; zero is the time of receipt
	// Lag is how much older than its receipt a presence.KindEndAll without a time counts.
	Lag time.Duration
	// Rises with the events of a session; decides between two with the same time.
	Seq         uint64
	Incarnation presence.Millis // start of the connection under a session id that is used again
	Cause       presence.Cause  // of an end
	Reconnect   bool            // an automatic login
	Lease       time.Duration   // zero is that of the [Sender]
	ID          string          // of the delivery: what is delivered twice counts once
	// Activity is what the user does in the session, and ActiveAt the last use of it.
	Activity presence.Activity
	ActiveAt presence.Millis
	Reach    presence.Reach // of Platform, of a presence.KindReach
}

// A Sender is where events come from, and how they are read.
type Sender struct {
	App    presence.AppID
	Source presence.Source
	// Hold is how long a session that ended without a logout, a kick or a newer login lingers for
	// watchers.
	Hold time.Duration
	// Lease is that of an event which names none; zero takes the default of presence.Rules.
	Lease time.Duration
	// Policy says how events without time and session are counted.
	Policy presence.Policy
}

// Node returns the node that s calls name: the nodes of two senders are apart, and so are those of
// rollcall. It returns an error matching presence.ErrInvalid when name is empty or too long.
func (s *Sender) Node(name string) (presence.NodeID, error) {
	node := s.node(name)
	if name == "" || len(node) > presence.MaxName {
		return "", fmt.Errorf("%w: the node id is empty or too long", presence.ErrInvalid)
	}
	return node, nil
}

func (s *Sender) node(name string) presence.NodeID {
	return presence.NodeID(string(s.Source) + ":" + string(s.App) + ":" + name)
}

// report turns e, received at now, into a report. It is not validated.
func (s *Sender) report(e *Event, now presence.Millis) presence.Report {
	r := presence.Report{
		App: s.App, Peer: e.Peer, Source: s.Source, Session: e.Session, Device: e.Platform, Kind: e.Kind, At: e.At, Incarnation: e.Incarnation,
		Seq: e.Seq, ID: e.ID, Cause: e.Cause, Reconnect: e.Reconnect, Lease: e.Lease, Hold: s.Hold, Policy: s.Policy,
		Activity: e.Activity, Used: e.ActiveAt,
	}
	switch e.Kind {
	case presence.KindEndAll:
		return s.endAll(e, now)
	case presence.KindReach:
		return s.reach(e, now)
	}
	if r.Lease == 0 {
		r.Lease = s.Lease
	}
	if e.Kind == presence.KindOffline && e.meant() {
		r.Hold = 0
	}
	switch {
	case r.Session != "":
	case r.At != 0:
		// Events with a time but no session have an order: one session for each platform, the
		// newest event wins.
		r.Session = presence.SessionID("platform:" + e.Platform)
	case e.Tag != "":
		r.Tag = e.Tag
	default:
		r.Tag = e.Platform
	}
	if r.At == 0 {
		r.At, r.Received, r.Seq = now, true, 0
	}
	if e.Node != "" && r.Session != "" {
		r.Node = s.node(e.Node)
	}
	return r
}

// meant reports whether the session was ended on purpose, so that it does not come back.
func (e *Event) meant() bool {
	return e.Cause == presence.CauseLogout || e.Cause == presence.CauseKicked || e.Cause == presence.CauseReplaced
}

// endAll turns e, which ends many sessions, into a report.
func (s *Sender) endAll(e *Event, now presence.Millis) presence.Report {
	r := presence.Report{
		App: s.App, Peer: e.Peer, Source: s.Source, Session: e.Prefix, Kind: e.Kind, At: e.At, ID: e.ID, Cause: e.Cause, Hold: s.Hold,
	}
	if e.meant() {
		r.Hold = 0
	}
	if r.At == 0 {
		r.At, r.Received = now.Add(-e.Lag), true
	}
	return r
}

// reach turns e, about a device, into a report.
func (s *Sender) reach(e *Event, now presence.Millis) presence.Report {
	r := presence.Report{App: s.App, Peer: e.Peer, Source: s.Source, Device: e.Platform, Kind: e.Kind, At: e.At, ID: e.ID, Reach: e.Reach}
	if r.At == 0 {
		r.At = now
	}
	return r
}

// A FieldError says which field of an event is wrong, and how. It matches presence.ErrInvalid.
type FieldError struct {
	Field string // empty when it is none
	Code  string // "invalid", "bad_json", or a reason in the time or type of the field
	Text  string
}

// Error returns what is wrong.
func (e *FieldError) Error() string { return "invalid: " + e.Text }

// Is makes a FieldError match presence.ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == presence.ErrInvalid }

func invalidField(field, code, format string, args ...any) error {
	return &FieldError{field, code, fmt.Sprintf(format, args...)}
}

// validate returns what is wrong with r, with the field of the event that it is about as far as it
// is known, or nil.
func validate(r *presence.Report) error {
	err := r.Validate()
	if err == nil {
		return nil
	}
	field, text := "", strings.TrimPrefix(err.Error(), "invalid: ")
	switch {
	case presence.CheckPeer(r.Peer) != nil:
		field = "user"
	case len(r.Session) > presence.MaxName:
		field = "session"
	case len(r.Device) > presence.MaxName || len(r.Tag) > presence.MaxName:
		field = "platform"
	case len(r.ID) > presence.MaxName:
		field = "id"
	case len(r.Node) > presence.MaxName:
		field = "node"
	case r.Activity != presence.ActivityUnknown && r.Session == "":
		field, text = "activity", "an activity is that of a session: name it, or give the time"
	}
	return &FieldError{field, "invalid", text}
}
