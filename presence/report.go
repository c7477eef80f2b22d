package presence

import (
	"cmp"
	"fmt"
	"time"
	"unicode/utf8"
)

// A Report is what a source says of one session, or, when Session is empty, of one slot.
type Report struct {
	App  AppID
	Peer PeerID

	Source Source
	// Session is empty when the source cannot name sessions, and the slot (Source, Tag) is meant.
	// Of a [KindEndAll] it is the prefix of the ids of the sessions that ended.
	Session SessionID
	Tag     string // device class of a slot; empty and "default" mean none
	Node    NodeID // which node holds the session; see Lease. Empty: none
	Device  string // platform, for display

	Kind Kind
	At   Millis // the source's time, or the time of receipt; judged by [Rules.Admit]
	// Ahead is how far At was ahead of the receipt, when that is further than [Rules].Ahead;
	// [Rules.Admit] sets it. At orders the reports of a session all the same; what is shown, and
	// leases, count from the receipt.
	Ahead Millis
	// Seq is any number that rises with the reports of the source about the session; of two with
	// the same At and Incarnation the greater Seq is later. Zero when the source has none.
	Seq uint64
	// Incarnation is the start of the connection under a reused session id; zero when the source
	// does not name it.
	Incarnation Millis
	// Start is when the session began, when the source gives it beside At; zero when it does not.
	Start     Millis
	Cause     Cause
	Reconnect bool // an automatic login, not one by hand

	// Activity is what the user does in the session; of an online or a touch of a named session.
	Activity Activity
	Used     Millis // when the user last did something there; with Activity only; 0: not said
	// Reach is that of the device called Device, of a [KindReach].
	Reach Reach

	// Lease is how long the report stays true without another; zero takes the default of [Rules].
	// With a Node zero says that the node sends heartbeats: the session hangs on it from the
	// beginning. With another lease it hangs on it from the node's first heartbeat on.
	Lease time.Duration
	// Hold is how long after a session is lost watchers are notified.
	Hold   time.Duration
	Policy Policy

	// Count is what a [KindCount] says: how many sessions the peer has at its source, or
	// [CountUnknown] when it has some. At is when the source was asked.
	Count int `json:",omitempty"`
	// Quiet is how old such an answer may be: it changes nothing when a hook came later than At
	// less Quiet.
	Quiet time.Duration `json:",omitempty"`

	// ID names the delivery: a slot counts one ID once. Empty: every delivery counts. Sessions
	// whose source gives the time do not need it: their merge is idempotent.
	ID string
	// Received says that At is the time of receipt. A retry of such a report would look like a
	// newer one, so a session, too, counts one ID once.
	Received bool
}

// Key returns the peer that the report is about.
func (r *Report) Key() Key { return Key{r.App, r.Peer} }

// counted reports whether r is about a slot.
func (r *Report) counted() bool {
	return r.Session == "" && r.Kind != KindEndAll && r.Kind != KindReach
}

// present reports whether r says that the peer was online.
func (r *Report) present() bool {
	return r.Kind == KindOnline || r.Kind == KindTouch || r.Kind == KindCount && r.Count != 0
}

// seen returns when r was true as far as this process knows: At, unless the source's clock is
// ahead.
func (r *Report) seen() Millis { return r.At - r.Ahead }

// expired reports whether the lease of r was over at now, when it arrived.
func (r *Report) expired(now Millis, lease time.Duration) bool {
	return r.present() && !r.counted() && (r.Node == "" || r.Lease != 0) && r.seen().Add(lease) <= now
}

// known reports whether this release knows what r says.
func (r *Report) known() bool {
	return r.Kind.Known() && r.Cause.Known() && r.Policy <= PolicyLast && r.Activity < activities &&
		r.Reach < reaches && (r.Reach != ReachUnknown) == (r.Kind == KindReach)
}

// Validate returns an error matching [ErrInvalid] that names what is wrong with r, or nil.
func (r *Report) Validate() error {
	err := CheckPeer(r.Peer)
	if r.Source == SourceLeanCloud {
		err = checkPeer(r.Peer, MaxHookPeer)
	}
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{
		{"session id", string(r.Session)},
		{"tag", r.Tag},
		{"node id", string(r.Node)},
		{"device", r.Device},
		{"source", string(r.Source)},
		{"report id", r.ID},
	} {
		if len(f.value) > MaxName {
			return fmt.Errorf("%w: the %s has %d bytes, more than %d", ErrInvalid, f.name, len(f.value), MaxName)
		}
		if !utf8.ValidString(f.value) {
			return fmt.Errorf("%w: the %s is not valid UTF-8", ErrInvalid, f.name)
		}
	}
	switch {
	case r.Source == "":
		return fmt.Errorf("%w: the report has no source", ErrInvalid)
	case r.Source == SourceRecipe:
		return fmt.Errorf("%w: the source %q is reserved", ErrInvalid, r.Source)
	case r.Kind == 0:
		return fmt.Errorf("%w: the report has no kind", ErrInvalid)
	case !r.Kind.Known():
		return fmt.Errorf("%w: kind %d of the report is not known to this release", ErrInvalid, r.Kind)
	case !r.Cause.Known():
		return fmt.Errorf("%w: cause %d of the report is not known to this release", ErrInvalid, r.Cause)
	case r.Policy > PolicyLast:
		return fmt.Errorf("%w: policy %d of the report is not known to this release", ErrInvalid, r.Policy)
	case r.At <= 0 || r.At > maxMillis:
		return fmt.Errorf("%w: the time of the report is out of range", ErrInvalid)
	case r.Ahead < 0 || r.Ahead > r.At:
		return fmt.Errorf("%w: the report is ahead of its receipt by a time out of range", ErrInvalid)
	case r.Incarnation < 0 || r.Incarnation > maxMillis:
		return fmt.Errorf("%w: the incarnation is out of range", ErrInvalid)
	case r.Start < 0 || r.Start > maxMillis:
		return fmt.Errorf("%w: the start is out of range", ErrInvalid)
	case r.Lease < 0 || r.Lease > MaxLease:
		return fmt.Errorf("%w: the lease is not between 0 and %v", ErrInvalid, MaxLease)
	case r.Hold < 0 || r.Hold > MaxHold:
		return fmt.Errorf("%w: the hold is not between 0 and %v", ErrInvalid, MaxHold)
	}
	return cmp.Or(r.checkActivity(), r.checkReach(), r.validateCount())
}

// validateCount is Validate for what only a [KindCount] has.
func (r *Report) validateCount() error {
	switch {
	case r.Kind != KindCount && (r.Count != 0 || r.Quiet != 0):
		return fmt.Errorf("%w: a report of kind %v has no count", ErrInvalid, r.Kind)
	case r.Kind != KindCount:
		return nil
	case r.Session != "" || r.Tag != "" || r.Node != "":
		return fmt.Errorf("%w: a count is about no session, tag or node", ErrInvalid)
	case r.Cause != CauseReconciled:
		return fmt.Errorf("%w: the cause of a count is not %v", ErrInvalid, CauseReconciled)
	case r.Count < CountUnknown || r.Count > maxOpen:
		return fmt.Errorf("%w: the count is out of range", ErrInvalid)
	case r.Quiet < 0 || r.Quiet > MaxQuiet:
		return fmt.Errorf("%w: the quiet of a count is not between 0 and %v", ErrInvalid, MaxQuiet)
	}
	return nil
}

const (
	maxMillis = 1<<47 - 1 // what the packed state can hold: the year 6429

	// MaxLease is the longest lease a report may ask for.
	MaxLease = 30 * 24 * time.Hour
	// MaxHold is the longest hold.
	MaxHold = 10 * time.Minute
	// MaxQuiet is how old an answer may be at most.
	MaxQuiet = 10 * time.Minute
)
