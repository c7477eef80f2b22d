package embedded

import (
	"encoding/binary"
	"time"

	"rollcall/presence"
)

// A record is what the index keeps of one peer:
//
//	1 byte: length of the peer id, or 255 when it follows as a uvarint
//	uvarint: number of the app
//	the peer id
//	uvarint: twice the length of the state, plus 1 when it is squeezed
//	the state
//
// A record is written once and never changed.
const longKey = 255

// maxState bounds one packed state, in bytes.
const maxState = 2 << 20

// recordSize returns how many bytes the record of a state takes.
func recordSize(app uint32, peer string, s state) int {
	n := 1 + uvarintLen(uint64(app)) + len(peer) + uvarintLen(s.mark()) + len(s.b)
	if len(peer) >= longKey {
		n += uvarintLen(uint64(len(peer)))
	}
	return n
}

func putRecord(b []byte, app uint32, peer string, s state) {
	b = b[:0]
	if len(peer) >= longKey {
		b = append(b, longKey)
		b = binary.AppendUvarint(b, uint64(len(peer)))
	} else {
		b = append(b, byte(len(peer)))
	}
	b = binary.AppendUvarint(b, uint64(app))
	b = append(b, peer...)
	b = binary.AppendUvarint(b, s.mark())
	_ = append(b, s.b...)
}

// split returns the parts of the record that b starts with, and its size.
func split(b []byte) (app uint32, peer []byte, s state, size int) {
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
	s = state{b[at : at+int(l>>1)], l&1 != 0}
	return uint32(a), peer, s, at + int(l>>1)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// A state is a packed state as the index keeps it: squeezed, when its head has the usual shape.
// Half of the bytes of a usual state are times that differ little from one another.
//
//	0  status (bits 0-1), noded (bit 2), cause (bits 3-6), until is a week after since (bit 7)
//	1  since, 5 bytes big endian, from 2020 on
//	6  varints: revision less since; until or last seen less since, but for bit 7; uvarint hold;
//	   varint twice the day less the day of since, plus 1 in format 2
//	   the rest as package presence packs it
type state struct {
	b        []byte
	squeezed bool
}

const (
	squeezeHead = 6
	squeezeWeek = 1 << 7
	era         = 1_577_836_800_000 // 2020-01-01
	week        = presence.Millis(7 * 24 * time.Hour / time.Millisecond)
	dayLength   = presence.Millis(24 * time.Hour / time.Millisecond)

	// What is known of the packed form, see package presence. squeeze checks that it comes back the
	// same, so a new form would cost memory, never truth.
	packedHead   = 22
	packedFormat = 1 << 4 // the first of two
)

func (s state) mark() uint64 {
	m := uint64(len(s.b)) << 1
	if s.squeezed {
		m |= 1
	}
	return m
}

// squeeze returns the form of packed to keep; scratch is used for it.
func squeeze(scratch, packed []byte) (s state, used []byte) {
	b, ok := appendSqueezed(scratch[:0], packed)
	if ok {
		n := len(b)
		b = state{b, true}.expand(b)
		ok = string(b[n:]) == string(packed)
		b = b[:n]
	}
	if !ok {
		return state{packed, false}, b
	}
	return state{b, true}, b
}

func appendSqueezed(b, packed []byte) ([]byte, bool) {
	if len(packed) < packedHead || packed[8]&^7 != packedFormat && packed[8]&^7 != 2*packedFormat || packed[9] > 15 {
		return b, false
	}
	since := presence.Millis(get48(packed[16:]))
	if since < era || since >= era+1<<40 {
		return b, false
	}
	head := packed[8]&7 | packed[9]<<3
	other := presence.Millis(get48(packed[10:]))
	if other == since+week {
		head |= squeezeWeek
	}
	hold, n := binary.Uvarint(packed[packedHead:])
	if n <= 0 {
		return b, false
	}
	rest := packed[packedHead+n:]
	day, n := binary.Uvarint(rest)
	if n <= 0 {
		return b, false
	}
	rest = rest[n:]
	e := uint64(since - era)
	b = append(b, head, byte(e>>32), byte(e>>24), byte(e>>16), byte(e>>8), byte(e))
	b = binary.AppendVarint(b, int64(binary.BigEndian.Uint64(packed))-int64(since))
	if head&squeezeWeek == 0 {
		b = binary.AppendVarint(b, int64(other-since))
	}
	b = binary.AppendUvarint(b, hold)
	b = binary.AppendVarint(b, 2*(int64(day)-int64(since/dayLength))+int64(packed[8]>>4-1))
	return append(b, rest...), true
}

// expand appends the packed form of s to b.
func (s state) expand(b []byte) []byte {
	if !s.squeezed {
		return append(b, s.b...)
	}
	head, since, r := s.b[0], s.since(), s.b[squeezeHead:]
	rev, n := binary.Varint(r)
	r = r[n:]
	other := since + week
	if head&squeezeWeek == 0 {
		v, n := binary.Varint(r)
		other, r = since+presence.Millis(v), r[n:]
	}
	hold, n := binary.Uvarint(r)
	r = r[n:]
	day, n := binary.Varint(r)
	r = r[n:]
	b = binary.BigEndian.AppendUint64(b, uint64(rev+int64(since)))
	b = append(b, packedFormat+packedFormat*byte(day&1)|head&7, head>>3&15)
	b = append48(append48(b, other), since)
	b = binary.AppendUvarint(b, hold)
	b = binary.AppendUvarint(b, uint64(day>>1+int64(since/dayLength)))
	return append(b, r...)
}

func (s state) since() presence.Millis {
	b := s.b
	return era + presence.Millis(b[1])<<32 + presence.Millis(b[2])<<24 + presence.Millis(b[3])<<16 + presence.Millis(b[4])<<8 + presence.Millis(b[5])
}

// peek is presence.PeekStatus.
func (s state) peek(now presence.Millis, rules *presence.Rules) (presence.Status, bool) {
	if !s.squeezed {
		return presence.PeekStatus(s.b, now, rules)
	}
	since := s.since()
	switch presence.Status(s.b[0] & 3) {
	case presence.Online:
		until := since + week
		if s.b[0]&squeezeWeek == 0 {
			_, n := binary.Varint(s.b[squeezeHead:])
			v, _ := binary.Varint(s.b[squeezeHead+n:])
			until = since + presence.Millis(v)
		}
		if now < until {
			return presence.Online, s.b[0]&4 != 0
		}
		if now < until.Add(rules.OfflineMemory) {
			return presence.Offline, false
		}
	case presence.Offline:
		if now < since.Add(rules.OfflineMemory) {
			return presence.Offline, false
		}
	}
	return presence.Unknown, false
}

// A judge is peek for many records of the usual shape at one moment. No branch predictor can guess
// which of two peers is online, so it does not branch on that.
type judge struct {
	now   presence.Millis
	rules *presence.Rules
	// How long a status is true after since, by status and bit 7 of the head; never where that
	// takes more.
	life [8]presence.Millis
}

const never = -1 << 60

func newJudge(now presence.Millis, rules *presence.Rules) judge {
	memory := presence.Millis(0).Add(rules.OfflineMemory)
	j := judge{now: now, rules: rules, life: [8]presence.Millis{never, never, never, never, never, never, never, never}}
	j.life[presence.Offline], j.life[presence.Offline|4] = memory, memory
	j.life[presence.Online|4] = week
	return j
}

// judged is how many bytes of a usual record the judge reads, besides the peer id, less one.
const judged = 2 + squeezeHead

// usual returns the status of the peer whose record rec is. ok is false when rec is that of another
// peer, or has not the usual shape, or does not say it that simply.
func (j *judge) usual(rec []byte, app uint32, peer []byte) (st presence.Status, ok bool) {
	n := len(peer)
	if n >= longKey || app >= 0x80 || len(rec) <= judged+n || rec[0] != byte(n) || rec[1] != byte(app) || string(rec[2:2+n]) != string(peer) {
		return presence.Unknown, false
	}
	if mark := rec[2+n]; mark >= 0x80 || mark&1 == 0 {
		return presence.Unknown, false
	}
	s := state{b: rec[3+n:]}
	head := s.b[0]
	return presence.Status(head & 3), j.now < s.since()+j.life[head&3|head>>7<<2]
}

func get48(b []byte) uint64 {
	return uint64(b[0])<<40 | uint64(b[1])<<32 | uint64(b[2])<<24 | uint64(b[3])<<16 | uint64(b[4])<<8 | uint64(b[5])
}

func append48(b []byte, m presence.Millis) []byte {
	return append(b, byte(m>>40), byte(m>>32), byte(m>>24), byte(m>>16), byte(m>>8), byte(m))
}
