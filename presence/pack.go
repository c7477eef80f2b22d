package presence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The packed form of a state, in the lowest format that holds it, so one that needs nothing new
// stays readable by older programs. Integers are varints unless said otherwise; times are
// differences to Since, so that the usual state of a hook-fed peer takes some 35 bytes.
//
//	0  rev, 8 bytes big endian (a store compares them)
//	8  1 byte: format (high 4 bits), days (bit 3), noded (bit 2), status (bits 0-1)
//	9  1 byte: cause
//	10 until when online, last seen when not: 6 bytes big endian
//	16 since: 6 bytes big endian
//	22 hold (ms), day, last seen when online, sessions, slots, seen; days, if bit 3 is set;
//	   in format 2, sections
//
// A later format may change all of it but the first 22 bytes' length, the rev and the place of the
// format: by these an older program knows what it must not write over, see [ErrNewer].
const (
	packFormat1 = 1
	packFormat2 = 2
	packHead    = 22
	packNoded   = 1 << 2
	packDays    = 1 << 3
)

// ErrCorrupt: bytes that are not a packed state.
var ErrCorrupt = errors.New("not a packed peer state")

// ErrNewer: bytes that say they are a state in a later format than this program reads, or that hold
// a status, cause, source, flag or section that only a later release can have written; it matches
// [ErrCorrupt], too. Whether they are, or junk, is for the store to judge, which knows what
// revisions are possible.
var ErrNewer = fmt.Errorf("%w: a later release wrote it", ErrCorrupt)

// Pack appends the packed form of st to b.
func (st *State) Pack(b []byte) []byte {
	sum := st.Summary()
	b = binary.BigEndian.AppendUint64(b, st.Rev)
	format := st.format()
	flags := format<<4 | byte(st.Status)
	if sum.Noded {
		flags |= packNoded
	}
	if len(st.Days) > 0 {
		flags |= packDays
	}
	b = append(b, flags, byte(st.Cause))
	if st.Status == Online {
		b = append48(b, st.Until)
	} else {
		b = append48(b, sum.LastSeen)
	}
	b = append48(b, st.Since)
	b = binary.AppendUvarint(b, uint64(st.Hold/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(st.Day))
	if st.Status == Online {
		b = binary.AppendVarint(b, int64(st.LastSeen))
	}
	base := st.Since
	b = binary.AppendUvarint(b, uint64(len(st.Sessions)))
	for i := range st.Sessions {
		b = st.Sessions[i].pack(b, base)
	}
	b = binary.AppendUvarint(b, uint64(len(st.Slots)))
	for i := range st.Slots {
		b = st.Slots[i].pack(b, base)
	}
	b = binary.AppendUvarint(b, uint64(len(st.Deliveries)))
	for _, s := range st.Deliveries {
		b = append48(b, Millis(s.Hash))
		b = appendMillis(b, s.At, base)
	}
	if len(st.Days) > 0 {
		b = st.packDaysTo(b)
	}
	if format == packFormat2 {
		b = st.packSections(b)
	}
	return b
}

// Rev returns the revision of a packed state; 0 for bytes that are none.
func Rev(b []byte) uint64 {
	if len(b) < packHead {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// PeekStatus answers from the first bytes of a packed state what its peer is at now, and whether
// that also hangs on the heartbeats of a node. It is the hot path of a query. A forgotten or
// damaged state is Unknown.
func PeekStatus(b []byte, now Millis, rules *Rules) (status Status, noded bool) {
	if !readable(b) {
		return Unknown, false
	}
	flags := b[8]
	switch Status(flags & 3) {
	case Online:
		until := millis48(b[10:])
		if now < until {
			return Online, flags&packNoded != 0
		}
		if now < until.Add(rules.OfflineMemory) {
			return Offline, false
		}
	case Offline:
		if now < millis48(b[16:]).Add(rules.OfflineMemory) {
			return Offline, false
		}
	}
	return Unknown, false
}

// PackFormat is the latest format of states that this program writes and reads.
func PackFormat() int { return packFormat2 }

// readable reports whether b begins as a state in a format that this program reads.
func readable(b []byte) bool {
	return len(b) >= packHead && b[8]>>4-packFormat1 <= packFormat2-packFormat1
}

// Unpack replaces st by the state packed in b. It returns an error matching [ErrCorrupt] for bytes
// that are none.
func (st *State) Unpack(b []byte) error {
	if len(b) < packHead {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if !readable(b) {
		return formatError(b[8] >> 4)
	}
	*st = State{
		Rev: binary.BigEndian.Uint64(b), Status: Status(b[8] & 3), Cause: Cause(b[9]), Since: millis48(b[16:]),
		Sessions: st.Sessions[:0], Slots: st.Slots[:0], Deliveries: st.Deliveries[:0], Days: st.Days[:0],
		EndAlls: st.EndAlls[:0], Histories: st.Histories[:0], Reached: st.Reached[:0], Rest: st.Rest[:0],
	}
	if st.Status > Online || !st.Cause.Known() {
		return fmt.Errorf("%w: status %d, cause %d", ErrNewer, st.Status, st.Cause)
	}
	if st.Status == Online {
		st.Until = millis48(b[10:])
	} else {
		st.LastSeen = millis48(b[10:])
	}
	r := unpacker{b: b[packHead:], base: st.Since, format2: b[8]>>4 == packFormat2}
	st.Hold = r.duration()
	st.Day = int32(min(r.uvarint(), 1<<31-1))
	if st.Status == Online {
		st.LastSeen = Millis(r.varint())
	}
	for n := r.count(minSession); n > 0 && !r.bad; n-- {
		st.Sessions = longer(st.Sessions)
		r.session(&st.Sessions[len(st.Sessions)-1])
	}
	for n := r.count(minSlot); n > 0 && !r.bad; n-- {
		st.Slots = longer(st.Slots)
		r.slot(&st.Slots[len(st.Slots)-1])
	}
	for n := r.count(minSeen); n > 0 && !r.bad; n-- {
		st.Deliveries = append(st.Deliveries, Delivery{Hash: r.hash(), At: r.millis()})
	}
	if b[8]&packDays != 0 {
		r.days(st)
	}
	if b[8]>>4 == packFormat2 {
		r.sections(st)
	}
	switch {
	case r.newer != "" && st.plausible():
		return fmt.Errorf("%w: %s", ErrNewer, r.newer)
	case r.bad:
		return fmt.Errorf("%w: cut short, or not a state (%d bytes)", ErrCorrupt, len(b))
	case r.left() > 0:
		return fmt.Errorf("%w: %d bytes follow the state", ErrNewer, r.left())
	}
	return nil
}

// plausible reports whether what was read before something unknown can be true, so that the unknown
// is of a later release rather than of damage.
func (st *State) plausible() bool {
	const day = Millis(24 * time.Hour / time.Millisecond)
	return st.Hold <= MaxHold && Millis(st.Day) <= Millis(st.Rev)/day+2
}

// PeekSummary returns the summary of the state packed in b; the zero Summary for bytes that are
// none.
func PeekSummary(b []byte) Summary {
	if readable(b) && Status(b[8]&3) != Online {
		hold, n := binary.Uvarint(b[packHead:])
		if n > 0 && b[9] < byte(causes) && b[8]&3 <= byte(Online) {
			return Summary{
				Rev: binary.BigEndian.Uint64(b), Status: Status(b[8] & 3), Cause: Cause(b[9]),
				LastSeen: millis48(b[10:]), Since: millis48(b[16:]), Hold: time.Duration(min(hold, uint64(MaxLease/time.Millisecond))) * time.Millisecond,
			}
		}
	}
	var st State
	switch err := st.Unpack(b); {
	case err == nil:
		return st.Summary()
	case errors.Is(err, ErrNewer) && readable(b) && Status(b[8]&3) <= Online:
		return headSummary(b)
	}
	return Summary{}
}

// headSummary is what the first bytes alone say of a state that a later release wrote in this
// format, as [PeekStatus] does.
func headSummary(b []byte) Summary {
	s := Summary{Rev: binary.BigEndian.Uint64(b), Status: Status(b[8] & 3), Since: millis48(b[16:])}
	if c := Cause(b[9]); c.Known() {
		s.Cause = c
	}
	if s.Status == Online {
		s.Noded, s.Until, s.LastSeen = b[8]&packNoded != 0, millis48(b[10:]), s.Since
	} else {
		s.LastSeen = millis48(b[10:])
	}
	return s
}

const (
	sessionEnded = 1 << iota
	sessionNoded
	sessionDevice
	sessionNamed // has an incarnation
	sessionHold
	sessionLeased        // in format 2: has a lease of its own beside its node
	sessionFlags  = iota // how many there are
)

// Bytes, for bounding counts before anything is allocated.
const minSession, minSlot, minSeen = 6, 4, 7

func (s *Session) pack(b []byte, base Millis) []byte {
	b = appendSource(b, s.Source)
	b = appendString(b, string(s.ID))
	var flags byte
	if s.Ended {
		flags |= sessionEnded
	}
	if s.Node != "" {
		flags |= sessionNoded
	}
	if s.Leased() {
		flags |= sessionLeased
	}
	if s.Device != "" {
		flags |= sessionDevice
	}
	if s.Incarnation != 0 {
		flags |= sessionNamed
	}
	if s.Hold != 0 {
		flags |= sessionHold
	}
	b = append(b, flags, byte(s.Cause))
	b = appendMillis(b, s.At, base)
	b = appendMillis(b, s.Start, s.At)
	if !s.Ended && (s.Node == "" || s.Leased()) {
		b = appendMillis(b, s.Until, s.At)
	}
	if s.Node != "" {
		b = appendString(b, string(s.Node))
	}
	if s.Device != "" {
		b = appendString(b, s.Device)
	}
	if s.Incarnation != 0 {
		b = appendMillis(b, s.Incarnation, s.At)
	}
	if s.Hold != 0 {
		b = binary.AppendUvarint(b, uint64(s.Hold/time.Millisecond))
	}
	return b
}

// session reads into s, whatever it held.
func (r *unpacker) session(s *Session) {
	source, id := r.sourceAgain(s.Source), SessionID(r.again(string(s.ID)))
	node, device := s.Node, s.Device
	*s = Session{Source: source, ID: id}
	flags := r.byte()
	if flags>>sessionFlags != 0 || flags&sessionLeased != 0 && !r.format2 {
		r.later("flags %#x of a session", flags)
		return
	}
	s.Cause = r.cause()
	s.At = r.millis()
	s.Start = s.At + Millis(r.varint())
	s.Ended = flags&sessionEnded != 0
	switch {
	case s.Ended:
		s.Until = s.At
	case flags&sessionNoded != 0 && flags&sessionLeased == 0:
		s.Until = forever
	default:
		s.Until = s.At + Millis(r.varint())
	}
	if flags&sessionNoded != 0 {
		s.Node = NodeID(r.again(string(node)))
	}
	if flags&sessionLeased != 0 && !s.Leased() {
		r.fail()
	}
	if flags&sessionDevice != 0 {
		s.Device = r.again(device)
	}
	if flags&sessionNamed != 0 {
		s.Incarnation = s.At + Millis(r.varint())
	}
	if flags&sessionHold != 0 {
		s.Hold = r.duration()
	}
}

// sourceCodes are the sources that pack into one byte; the order is part of the format. Others
// follow a zero.
var sourceCodes = [...]Source{1: SourceLeanCloud, 2: SourceGateway, 3: SourceAPI}

func appendSource(b []byte, s Source) []byte {
	for i := 1; i < len(sourceCodes); i++ {
		if sourceCodes[i] == s {
			return append(b, byte(i))
		}
	}
	return appendString(append(b, 0), string(s))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMillis(b []byte, m, base Millis) []byte { return binary.AppendVarint(b, int64(m-base)) }

func append48(b []byte, m Millis) []byte {
	return append(b, byte(m>>40), byte(m>>32), byte(m>>24), byte(m>>16), byte(m>>8), byte(m))
}

func millis48(b []byte) Millis {
	return Millis(b[0])<<40 | Millis(b[1])<<32 | Millis(b[2])<<24 | Millis(b[3])<<16 | Millis(b[4])<<8 | Millis(b[5])
}
