package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"rollcall/presence"
)

// A session id names one connection, and says which device of the peer it is and with which tag, so
// that every node reads both from the state of a peer:
//
//	CONNECTION ~ DEVICE . TAG
//
// CONNECTION is random. DEVICE is a hash of tag and device; with "!" in place of "~" the client
// named no device, and DEVICE is random. The dot and the tag are left out without a real tag. The
// release before named a session DEVICE . TAG.
const (
	namedDevice   = '~'
	unnamedDevice = '!'
)

// A place is what a session id says beside its connection.
type place struct {
	device string
	named  bool // the client says which device it is
	tag    string
}

// placeOf returns the place in id.
func placeOf(id presence.SessionID) place {
	head, tag, _ := strings.Cut(string(id), ".")
	if i := strings.IndexAny(head, "~!"); i >= 0 {
		return place{device: head[i+1:], named: head[i] == namedDevice, tag: tag}
	}
	return place{device: head, named: tag == "" || head != deviceHash(tag, ""), tag: tag}
}

// tagOf returns the real tag in a session id, or "".
func tagOf(id presence.SessionID) string {
	_, tag, _ := strings.Cut(string(id), ".")
	return tag
}

// same reports whether p and q are one device with one tag. A client that names no device is the
// same only by its token.
func (p place) same(q place) bool { return p == q }

// akin reports whether sessions of p and q may be one client that came back, so that the older one
// is worth a question.
func (p place) akin(q place) bool {
	return p.same(q) || p.tag != "" && p.tag == q.tag && !p.named && !q.named
}

// Akin reports whether sessions with these ids may be one client that came back.
func Akin(a, b presence.SessionID) bool { return placeOf(a).akin(placeOf(b)) }

// rivals reports whether a login to p and a session in q cannot coexist: one tag, two devices. An
// automatic login that names no device does not push out, nor yield to, another that names none: it
// may be its own connection of before.
func (p place) rivals(q place, auto bool) bool {
	return p.tag != "" && p.tag == q.tag && !p.same(q) && !(auto && p.akin(q))
}

// place returns where l is to be: where its token says, else where its tag and device say.
func (l *Login) place() place {
	if l.Session != "" {
		return placeOf(l.Session)
	}
	tag := l.Tag
	if tag == "default" {
		tag = ""
	}
	if l.Device == "" {
		return place{device: randomText(4), tag: tag}
	}
	return place{device: deviceHash(tag, l.Device), named: true, tag: tag}
}

// id returns the id of a new connection in p.
func (p place) id() presence.SessionID {
	b := make([]byte, 0, 64)
	b = append(b, randomText(6)...)
	if p.named {
		b = append(b, namedDevice)
	} else {
		b = append(b, unnamedDevice)
	}
	b = append(b, p.device...)
	if p.tag != "" {
		b = append(append(b, '.'), p.tag...)
	}
	return presence.SessionID(b)
}

// deviceHash names a device within its peer. The release before named sessions by it.
func deviceHash(tag, device string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tag + "\x00" + device)) // never fails
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// randomText returns n random bytes, at most 8, as text.
func randomText(n int) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return base64.RawURLEncoding.EncodeToString(b[:n])
}
