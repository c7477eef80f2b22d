package token

import (
	"encoding/binary"

	"rollcall/presence"
)

// A Token names what a watcher or a poller surely knows. Its text means nothing to clients: it is
// sealed, see [Sealer].
//
// There are two kinds. That of a watcher that sees everything names a horizon. That of a watcher
// that sees only statuses names the statuses that it was sent, and nothing else decides what it is
// sent next: not the time at which a peer was written, which is hidden from it.
type Token struct {
	Detail presence.Detail // of the key that may use it
	// Fingerprint of the app and its peers, without regard to order and repetition.
	List uint64

	Epoch   uint64 // of Full: identity of the store
	Horizon uint64 // of Full: every write of this revision or less is known
	// Of Full: fingerprint of the peers that were sent as unknown: they have no revision to
	// compare.
	Unknown uint64

	Known string // of Brief: what was sent of each peer, see [Known]

	Seal *Seal // that seals its text; nil: the token names nothing
}

// plain is what the kinds of token begin with once they are opened.
const (
	plainBrief = 1
	plainFull  = 2
)

// AppendText appends the sealed text of t to b.
func (t Token) AppendText(b []byte) ([]byte, error) {
	if t.IsZero() {
		return b, nil
	}
	room := scratches.Get().(*scratch)
	p := room.plain[:0]
	if t.Detail == presence.DetailBrief {
		p = append(p, plainBrief)
		p = binary.BigEndian.AppendUint64(p, t.List)
		p = append(p, t.Known...)
	} else {
		p = append(p, plainFull)
		for _, v := range [...]uint64{t.List, t.Epoch, t.Horizon, t.Unknown} {
			p = binary.BigEndian.AppendUint64(p, v)
		}
	}
	room.plain = p
	b = t.Seal.append(b, t.Seal.tokens, room)
	scratches.Put(room)
	return b, nil
}

// Same reports whether t and o name the same; it looks first at what differs most.
func (t *Token) Same(o *Token) bool {
	return t.List == o.List && t.Known == o.Known && t.Unknown == o.Unknown && t.Horizon == o.Horizon && t.Epoch == o.Epoch &&
		t.Detail == o.Detail && t.Seal == o.Seal
}

// IsZero reports whether t names nothing.
func (t *Token) IsZero() bool { return t.Seal == nil }

func (t Token) String() string {
	b, _ := t.AppendText(nil)
	return string(b)
}

// Open reads a token of app; ok is false for text that is none, for a token of another app, and for
// one of a release that did not seal them.
func (ts *Sealer) Open(app presence.AppID, text string) (t Token, ok bool) {
	if text == "" || len(text) > maxSealed {
		return Token{}, false
	}
	s := ts.Of(app)
	p, ok := open(text, s.tokens, s.oldTokens)
	if !ok || len(p) < 1+8 {
		return Token{}, false
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(p[1+8*i:]) }
	switch {
	case p[0] == plainBrief:
		return Token{Detail: presence.DetailBrief, List: at(0), Known: string(p[1+8:]), Seal: s}, true
	case p[0] == plainFull && len(p) == 1+4*8:
		return Token{Detail: presence.DetailFull, List: at(0), Epoch: at(1), Horizon: at(2), Unknown: at(3), Seal: s}, true
	}
	return Token{}, false
}

// Fingerprint returns a number for an id that all processes agree on. The fingerprint of a set is
// the exclusive or of its members', so that members can come and go.
func Fingerprint(id string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return mix(h)
}

// mix finishes as splitmix64 does: FNV alone is too regular for sums.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// ListOf starts the fingerprint of a list of peers of app: the same ids in two apps are two lists.
func ListOf(app presence.AppID) uint64 { return Fingerprint("app " + string(app)) }
