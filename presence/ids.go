package presence

import (
	"fmt"
	"unicode/utf8"
)

// AppID names a tenant. Peers of two apps never meet.
type AppID string

// PeerID names an identity within an app; LeanCloud says client id. It is compared byte by byte.
type PeerID string

// SessionID names one live connection of a peer within its source.
type SessionID string

// NodeID names one running process that holds sockets; it carries its start time, so a restarted
// node is another node.
type NodeID string

// Source names who reports: "leancloud", "gateway", "api", or a webhook's name.
type Source string

// The sources that are part of the product.
const (
	SourceLeanCloud Source = "leancloud" // hooks _clientOnline and _clientOffline
	SourceGateway   Source = "gateway"   // sockets of a rollcall node
	SourceAPI       Source = "api"       // POST /v1/events and the node calls
)

// MaxPeer is the longest peer id that a report may name, in bytes. Queries may ask for longer ones;
// they are unknown.
const MaxPeer = 256

// MaxHookPeer is the longest peer id that a hook of the LeanCloud dialect may name, in bytes: the
// recipe stores whatever it is sent, control characters too, and apps have used ids of a thousand
// characters.
const MaxHookPeer = 4096

// MaxName is the longest session id, tag, source, node id and device name, in bytes.
const MaxName = 256

// A Key names a peer of an app.
type Key struct {
	App  AppID
	Peer PeerID
}

// MaxApp is the longest app id, in bytes.
const MaxApp = 128

// CheckApp returns an error matching [ErrInvalid] when id cannot be that of an app: it must be 1 to
// [MaxApp] ASCII letters, digits, "-", "_" and ".". Stores and doors build names of their own from
// it with other characters, so that the names of two apps never meet.
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

// CheckPeer returns an error matching [ErrInvalid] when id cannot be reported: it must be 1 to
// [MaxPeer] bytes of UTF-8 without a control character (U+0000 to U+001F, U+007F), which a log, a
// terminal or a header would take for something else.
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

// CheckKnown returns an error matching [ErrInvalid] when no source, not even a hook of the
// LeanCloud dialect, can have brought id: whatever may be known may also be asked for and erased.
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
