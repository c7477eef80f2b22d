package presence

import "fmt"

// Status is what a peer is now.
type Status uint8

// The statuses. The zero value: the peer has never been reported, or is forgotten.
const (
	Unknown Status = iota
	Offline
	Online
)

func (s Status) String() string {
	switch s {
	case Offline:
		return "offline"
	case Online:
		return "online"
	}
	return "unknown"
}

// Cause says why a session ended or a peer turned.
type Cause uint8

// Known reports whether c is a cause that this release knows.
func (c Cause) Known() bool { return c < causes }

// The causes. CauseUnknown is an offline whose source does not say why.
const (
	CauseUnknown  Cause = iota
	CauseLogout         // the user logged out
	CauseLost           // the connection broke
	CauseKicked         // closed by a caller with the right to
	CauseReplaced       // a newer login took its place
	CauseExpired        // its lease ran out
	CauseNodeLost       // the node that held it died
	CauseDrained        // the node that held it was shut down and it did not come back
	// CauseReconciled: its source was asked, and did not hold it. A state with it is packed in
	// format 2.
	CauseReconciled
	causes
)

var causeNames = [causes]string{"unknown", "logout", "lost", "kicked", "replaced", "expired", "node_lost", "drained", "reconciled"}

func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return "unknown"
}

// Lost reports whether an offline of this cause may be a short loss of the connection and not
// intended: watchers are notified of it when its hold is over.
func (c Cause) Lost() bool {
	switch c {
	case CauseLogout, CauseKicked, CauseReplaced:
		return false
	}
	return true
}

// ParseCause returns the cause called name; ok is false for a name that is none.
func ParseCause(name string) (c Cause, ok bool) {
	for i, n := range causeNames {
		if n == name {
			return Cause(i), true
		}
	}
	return CauseUnknown, false
}

// Kind is what a report says of its session.
type Kind uint8

// The kinds of report. The zero value is not a kind.
const (
	KindOnline  Kind = iota + 1 // the session began
	KindOffline                 // the session ended
	KindTouch                   // the session is still there
	KindEndAll                  // many sessions ended, see [EndAll]
	// KindCount is the answer of a product that was asked how many sessions the peer has, where its
	// hooks name none, see [Report].Count.
	KindCount
	KindReach // whether pushes get to a device, see [Reached]
)

// Known reports whether k is a kind that this release knows. A report of any other kind changes
// nothing: a later release has written it, and only that one knows what it means.
func (k Kind) Known() bool { return k >= KindOnline && k <= KindReach }

func (k Kind) String() string {
	switch k {
	case KindOnline:
		return "online"
	case KindOffline:
		return "offline"
	case KindTouch:
		return "touch"
	case KindEndAll:
		return "end_all"
	case KindCount:
		return "count"
	case KindReach:
		return "reach"
	}
	return "invalid"
}

// Policy says how hooks that carry no time and no session are read. It is a setting of the source.
type Policy uint8

const (
	// PolicySum counts logins and logouts per slot: any order within the reorder window gives the
	// truth.
	PolicySum Policy = iota
	// PolicyLast believes the hook that arrived last, as the recipe does.
	PolicyLast
)

func (p Policy) String() string {
	if p == PolicyLast {
		return "last"
	}
	return "sum"
}

// MarshalText returns the name of p.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes "sum" or "last".
func (p *Policy) UnmarshalText(b []byte) error {
	switch string(b) {
	case "sum":
		*p = PolicySum
	case "last":
		*p = PolicyLast
	default:
		return fmt.Errorf("%w: the policy is sum or last, not %.40q", ErrInvalid, b)
	}
	return nil
}
