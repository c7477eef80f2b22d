package watch

import (
	"encoding/binary"

	"rollcall/presence"
)

// A Token names what a watcher or a poller surely knows. Its text means nothing to clients: it is sealed, see [Tokens].
//
// There are two kinds. One of a watcher that sees all names a horizon. One of a watcher that sees only statuses names the statuses that it
// was notified of, and nothing else decides what it is notified of next: not when a peer was written, which is not for its eyes.
type Token struct {
	Detail Detail // of the key that may use it
	List   uint64 // fingerprint of the app and its peers, without regard to order and repetition

	Epoch   uint64 // of Full: identity of the store
	Horizon uint64 // of Full: every write of this revision or less is known
	Unknown uint64 // of Full: fingerprint of the peers that were notified unknown: they have no revision to compare

	Known string // of Brief: what each peer was notified to be, see [known]

	seal *seal
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
	if t.Detail == Brief {
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
	b = t.seal.append(b, t.seal.tokens, room)
	scratches.Put(room)
	return b, nil
}

// same reports whether t and o name the same; it looks first at what differs most.
func (t *Token) same(o *Token) bool {
	return t.List == o.List && t.Known == o.Known && t.Unknown == o.Unknown && t.Horizon == o.Horizon && t.Epoch == o.Epoch &&
		t.Detail == o.Detail && t.seal == o.seal
}

// IsZero reports whether t names nothing.
func (t *Token) IsZero() bool { return t.seal == nil }

func (t Token) String() string {
	b, _ := t.AppendText(nil)
	return string(b)
}

// Open reads a token of app; ok is false for text that is none, for a token of another app or of a release that did not seal them.
func (ts *Tokens) Open(app presence.AppID, text string) (t Token, ok bool) {
	if text == "" || len(text) > maxSealed {
		return Token{}, false
	}
	s := ts.of(app)
	p, ok := open(s.tokens, text)
	if !ok || len(p) < 1+8 {
		return Token{}, false
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(p[1+8*i:]) }
	switch {
	case p[0] == plainBrief:
		return Token{Detail: Brief, List: at(0), Known: string(p[1+8:]), seal: s}, true
	case p[0] == plainFull && len(p) == 1+4*8:
		return Token{Detail: Full, List: at(0), Epoch: at(1), Horizon: at(2), Unknown: at(3), seal: s}, true
	}
	return Token{}, false
}

// Fingerprint returns a number for an id that all processes agree on. The fingerprint of a set is the exclusive or of its
// members', so that members can come and go.
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

// appFingerprint starts the fingerprint of a list, so that the same ids in two apps are two lists.
func appFingerprint(app presence.AppID) uint64 { return Fingerprint("app " + string(app)) }

// unwritten reports whether time alone has made of the stored raw something else that is not written yet.
func unwritten(raw, seen presence.Summary) bool { return raw.Status != seen.Status }
