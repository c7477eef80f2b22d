package watch

import (
	"strconv"
	"sync/atomic"
	"unicode/utf8"

	"rollcall/presence"
)

// An Update is what watchers are told of one peer. It does not change once it is told.
type Update struct {
	Peer     presence.PeerID
	Status   presence.Status
	Cause    presence.Cause  // why it is offline
	Since    presence.Millis // when it turned; 0 when it is unknown
	LastSeen presence.Millis // of an offline peer
	Version  uint64          // rises with every word about the peer

	ticket uint64 // of the read it comes from
	size   int    // on the wire, at most
	json   [2]atomic.Pointer[[]byte]
}

// Detail says how much of a word may be told.
type Detail uint8

const (
	// Brief tells the status only: no time, no cause, and no version, which would give the time away.
	Brief Detail = iota
	// Full tells all.
	Full
)

// same reports whether w and n look alike to a watcher.
func (w *Update) same(n *Update) bool {
	return w.Status == n.Status && w.Cause == n.Cause && w.Since == n.Since && w.LastSeen == n.LastSeen
}

// JSON returns w as a JSON object. It is made once and shared; do not change it.
func (w *Update) JSON(d Detail) []byte {
	if b := w.json[d].Load(); b != nil {
		return *b
	}
	b := w.AppendJSON(nil, d)
	w.json[d].Store(&b)
	return b
}

// AppendJSON appends w as a JSON object to b.
func (w *Update) AppendJSON(b []byte, d Detail) []byte {
	b = append(b, `{"peer":`...)
	b = AppendString(b, string(w.Peer))
	b = append(b, `,"status":"`...)
	b = append(b, w.Status.String()...)
	b = append(b, '"')
	if d == Full {
		if w.Status != presence.Unknown {
			b = append(b, `,"since":`...)
			b = strconv.AppendInt(b, int64(w.Since), 10)
		}
		if w.Status == presence.Offline {
			b = append(b, `,"last_seen":`...)
			b = strconv.AppendInt(b, int64(w.LastSeen), 10)
			b = append(b, `,"cause":"`...)
			b = append(b, w.Cause.String()...)
			b = append(b, '"')
		}
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, w.Version, 10)
	}
	return append(b, '}')
}

// updateOverhead is what a word takes on the wire beside the peer's id, at most; an id may grow by escapes.
const updateOverhead = 160

// encodedLen returns how long s is as a JSON string, at most.
func encodedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			n += 5
		}
	}
	return n
}

// AppendString appends s to b as a JSON string. A byte that is not UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(b, `\ufffd`...)
			case r == '\u2028' || r == '\u2029': // line ends to old JavaScript
				b = append(b, `\u202`...)
				b = append(b, hex[r&15])
			default:
				b = append(b, s[i:i+n]...)
			}
			i += n
		}
	}
	return append(b, '"')
}
