package presence

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// AppID names a tenant. Peers of two apps never meet.
type AppID string

// PeerID names an identity within an app; LeanCloud says client id. It is compared byte by byte.
type PeerID string

// SessionID names one live connection of a peer within its source.
type SessionID string

// NodeID names one running process that holds sockets; it carries its start time, so a restarted node is another node.
type NodeID string

// Source names who reports: "leancloud", "gateway", "api", or a webhook's name.
type Source string

// The sources that are part of the product.
const (
	SourceLeanCloud Source = "leancloud" // hooks _clientOnline and _clientOffline
	SourceGateway   Source = "gateway"   // sockets of a rollcall node
	SourceAPI       Source = "api"       // POST /v1/events and the node calls
)

// MaxPeer is the longest peer id that a report may name, in bytes. Queries may ask for longer ones; they are unknown.
const MaxPeer = 256

// MaxHookPeer is the longest peer id that a hook of the LeanCloud dialect may name, in bytes: the recipe stores whatever it
// is sent, control characters too, and apps have used ids of a thousand characters.
const MaxHookPeer = 4096

// MaxName is the longest session id, tag, source, node id and device name, in bytes.
const MaxName = 256

// A Key names a peer of an app.
type Key struct {
	App  AppID
	Peer PeerID
}

// Status is what a peer is now.
type Status uint8

// The statuses. The zero value says that nobody has reported the peer, or that it is forgotten.
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
	CauseKicked         // closed by somebody with the right to
	CauseReplaced       // a newer login took its place
	CauseExpired        // its lease ran out
	CauseNodeLost       // the node that held it died
	CauseDrained        // the node that held it was shut down and it did not come back
	causes
)

var causeNames = [causes]string{"unknown", "logout", "lost", "kicked", "replaced", "expired", "node_lost", "drained"}

func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return "unknown"
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
)

// Known reports whether k is a kind that this release knows. A report of any other kind changes nothing: a later release has
// written it, and only that one knows what it means.
func (k Kind) Known() bool { return k >= KindOnline && k <= KindTouch }

func (k Kind) String() string {
	switch k {
	case KindOnline:
		return "online"
	case KindOffline:
		return "offline"
	case KindTouch:
		return "touch"
	}
	return "invalid"
}

// Policy says how hooks that carry no time and no session are read. It is a setting of the source.
type Policy uint8

const (
	// PolicySum counts logins and logouts per slot: any order within the reorder window gives the truth.
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

// Millis is a point in time: Unix milliseconds in UTC. Zero means that the time is not known.
type Millis int64

// MillisOf returns t in milliseconds; the zero time is zero.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time returns m as a time in UTC; zero is the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add returns m moved by d, in whole milliseconds.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d/time.Millisecond) }

// Sub returns the time from n to m.
func (m Millis) Sub(n Millis) time.Duration { return time.Duration(m-n) * time.Millisecond }

// MaxApp is the longest app id, in bytes.
const MaxApp = 128

// CheckApp returns an error matching [ErrInvalid] when id cannot be that of an app: it must be 1 to [MaxApp] ASCII letters, digits, "-", "_"
// and ".". Stores and doors build names of their own from it with other characters, so that the names of two apps never meet.
func CheckApp(id AppID) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the app id is empty", ErrInvalid)
	case len(id) > MaxApp:
		return fmt.Errorf("%w: the app id has %d bytes, more than %d", ErrInvalid, len(id), MaxApp)
	}
	for _, r := range string(id) {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Errorf("%w: the app id holds %q; it may hold letters, digits, - _ and . only", ErrInvalid, r)
		}
	}
	return nil
}

// CheckPeer returns an error matching [ErrInvalid] when id cannot be reported: it must be 1 to [MaxPeer] bytes of UTF-8
// without a control character (U+0000 to U+001F, U+007F), which a log, a terminal or a header would take for something else.
func CheckPeer(id PeerID) error {
	if err := checkPeer(id, MaxPeer); err != nil {
		return err
	}
	for i := range len(id) {
		if c := id[i]; c < ' ' || c == 0x7f {
			return fmt.Errorf("%w: the peer id holds the control character U+%04X", ErrInvalid, c)
		}
	}
	return nil
}

// CheckKnown returns an error matching [ErrInvalid] when no source, not even a hook of the LeanCloud dialect, can have brought
// id: whatever may be known may also be asked for and erased.
func CheckKnown(id PeerID) error { return checkPeer(id, MaxHookPeer) }

// checkPeer is what holds for every source, also the hooks of the LeanCloud dialect.
func checkPeer(id PeerID, most int) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the peer id is empty", ErrInvalid)
	case len(id) > most:
		return fmt.Errorf("%w: the peer id has %d bytes, more than %d", ErrInvalid, len(id), most)
	case !utf8.ValidString(string(id)):
		return fmt.Errorf("%w: the peer id is not valid UTF-8", ErrInvalid)
	}
	return nil
}
