package embedded

import (
	"encoding/binary"

	"rollcall/presence"
)

// A record is what the index keeps of one peer:
//
//	1 byte: length of the peer id, or 255 when it follows as a uvarint
//	uvarint: number of the app
//	the peer id
//	uvarint: length of the packed state
//	the packed state
//
// A record is written once and never changed.
const longKey = 255

// maxState bounds one packed state, in bytes.
const maxState = 2 << 20

// recordSize returns how many bytes a record takes.
func recordSize(app uint32, peer string, packed []byte) int {
	n := 1 + uvarintLen(uint64(app)) + len(peer) + uvarintLen(uint64(len(packed))) + len(packed)
	if len(peer) >= longKey {
		n += uvarintLen(uint64(len(peer)))
	}
	return n
}

func putRecord(b []byte, app uint32, peer string, packed []byte) {
	b = b[:0]
	if len(peer) >= longKey {
		b = append(b, longKey)
		b = binary.AppendUvarint(b, uint64(len(peer)))
	} else {
		b = append(b, byte(len(peer)))
	}
	b = binary.AppendUvarint(b, uint64(app))
	b = append(b, peer...)
	b = binary.AppendUvarint(b, uint64(len(packed)))
	_ = append(b, packed...)
}

// split returns the parts of the record that b starts with, and its size.
func split(b []byte) (app uint32, peer, packed []byte, size int) {
	n, at := uint64(b[0]), 1
	if n == longKey {
		l, w := binary.Uvarint(b[at:])
		n, at = l, at+w
	}
	a := uint64(b[at])
	at++
	if a >= 0x80 {
		l, w := binary.Uvarint(b[at-1:])
		a, at = l, at-1+w
	}
	peer = b[at : at+int(n)]
	at += int(n)
	l := uint64(b[at])
	at++
	if l >= 0x80 {
		v, w := binary.Uvarint(b[at-1:])
		l, at = v, at-1+w
	}
	packed = b[at : at+int(l)]
	return uint32(a), peer, packed, at + int(l)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// storedStatus is the status as last written, whatever the time.
func storedStatus(packed []byte, rules *presence.Rules) presence.Status {
	s, _ := presence.PeekStatus(packed, 0, rules)
	return s
}
