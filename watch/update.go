package watch

import (
	"sync/atomic"

	"rollcall/ask"
	"rollcall/presence"
)

// An Update is one peer as watchers see it. It is immutable once it is published.
type Update struct {
	Peer     presence.PeerID
	Status   presence.Status
	Cause    presence.Cause  // why it is offline
	Since    presence.Millis // when it turned; 0 when it is unknown
	LastSeen presence.Millis // of an offline peer
	Version  uint64          // rises with every update of the peer

	ticket uint64 // of the read it comes from
	size   int    // on the wire, at most
	json   [2]atomic.Pointer[[]byte]
}

// same reports whether w and n look alike to a watcher.
func (w *Update) same(n *Update) bool {
	return w.Status == n.Status && w.Cause == n.Cause && w.Since == n.Since && w.LastSeen == n.LastSeen
}

// JSON returns w as a JSON object. It is encoded once and shared; do not change it.
func (w *Update) JSON(d presence.Detail) []byte {
	if b := w.json[d].Load(); b != nil {
		return *b
	}
	b := w.AppendJSON(nil, d)
	w.json[d].Store(&b)
	return b
}

// AppendJSON appends w as a JSON object to b.
func (w *Update) AppendJSON(b []byte, d presence.Detail) []byte {
	var fields ask.Fields
	if d == presence.DetailFull {
		fields = ask.Since | ask.Cause | ask.Version
		if w.Status == presence.Offline {
			fields |= ask.LastSeen // of one that is online it moves all the time
		}
	}
	return ask.AppendPeer(b, &ask.Peer{
		ID: w.Peer, Status: w.Status, Cause: w.Cause, Since: w.Since, LastSeen: w.LastSeen, Version: w.Version,
	}, fields)
}

// updateOverhead is what an update takes on the wire beside the peer's id, at most; an id may grow
// by escapes.
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
