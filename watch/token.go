package watch

import (
	"encoding/base64"
	"encoding/binary"

	"rollcall/presence"
)

// A Token names what a watcher or a poller surely knows. Its text means nothing to clients.
type Token struct {
	Epoch   uint64 // identity of the store
	Horizon uint64 // every write of this revision or less is known
	List    uint64 // fingerprint of the app and its peers, without regard to order and repetition
	Unknown uint64 // fingerprint of those of them that were told unknown: they have no revision to compare
}

const (
	tokenFormat = 1
	tokenSize   = 1 + 4*8
)

// TokenLen is the length of a token's text.
var TokenLen = base64.RawURLEncoding.EncodedLen(tokenSize)

// AppendText appends the text of t to b.
func (t Token) AppendText(b []byte) ([]byte, error) {
	var raw [tokenSize]byte
	raw[0] = tokenFormat
	for i, v := range [...]uint64{t.Epoch, t.Horizon, t.List, t.Unknown} {
		binary.BigEndian.PutUint64(raw[1+8*i:], v)
	}
	return base64.RawURLEncoding.AppendEncode(b, raw[:]), nil
}

func (t Token) String() string {
	b, _ := t.AppendText(make([]byte, 0, TokenLen))
	return string(b)
}

// ParseToken reads a token; ok is false for text that is none.
func ParseToken(s string) (t Token, ok bool) {
	if len(s) != TokenLen {
		return Token{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != tokenSize || raw[0] != tokenFormat {
		return Token{}, false
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(raw[1+8*i:]) }
	return Token{Epoch: at(0), Horizon: at(1), List: at(2), Unknown: at(3)}, true
}

// Fingerprint returns a number for an id that all processes agree on. The fingerprint of a set is the exclusive or of its
// members', so that members can come and go.
func Fingerprint(id string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	// FNV alone is too regular for sums: finish as splitmix64 does.
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// appFingerprint starts the fingerprint of a list, so that the same ids in two apps are two lists.
func appFingerprint(app presence.AppID) uint64 { return Fingerprint("app " + string(app)) }

// unwritten reports whether time alone has made of the stored raw something else that nobody has written yet.
func unwritten(raw, seen presence.Summary) bool { return raw.Status != seen.Status }
