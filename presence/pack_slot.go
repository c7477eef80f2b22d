package presence

import (
	"encoding/binary"
	"time"
)

const (
	slotOne    = 1 << iota // one session is open
	slotTagged             // has a tag
	slotWeek               // the lease ends a week after the last hook
	slotEarly
	slotExtra
	slotLearned
	slotLost
	slotBurst
)

const week = Millis(7 * 24 * time.Hour / time.Millisecond)

func (s *Slot) pack(b []byte, base Millis) []byte {
	var flags byte
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{s.Open == 1, slotOne},
		{s.Tag != "", slotTagged},
		{s.Until == s.At+week, slotWeek},
		{len(s.Early) > 0, slotEarly},
		{len(s.Extra) > 0, slotExtra},
		{s.Devices > 1, slotLearned},
		{s.Lost > 0, slotLost},
		{s.Burst != Burst{} || s.Answered, slotBurst},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(appendSource(b, s.Source), flags)
	if s.Tag != "" {
		b = appendString(b, s.Tag)
	}
	if s.Open != 1 {
		b = binary.AppendVarint(b, int64(s.Open))
	}
	b = appendMillis(b, s.At, base)
	b = appendMillis(b, s.Start, s.At)
	if flags&slotWeek == 0 {
		b = appendMillis(b, s.Until, s.At)
	}
	if len(s.Early) > 0 {
		b = binary.AppendUvarint(b, uint64(len(s.Early)))
		for _, at := range s.Early {
			b = appendMillis(b, at, s.At)
		}
	}
	if len(s.Extra) > 0 {
		b = binary.AppendUvarint(b, uint64(len(s.Extra)))
		for _, e := range s.Extra {
			b = appendMillis(b, e.At, s.At)
			b = binary.AppendUvarint(b, uint64(e.N))
		}
	}
	if s.Devices > 1 {
		b = binary.AppendUvarint(b, uint64(s.Devices))
		b = appendMillis(b, s.Reached, s.At)
	}
	if s.Lost > 0 {
		b = binary.AppendUvarint(b, uint64(s.Lost))
		b = appendMillis(b, s.LostAt, s.At)
	}
	if flags&slotBurst != 0 {
		b = binary.AppendUvarint(b, s.burst().word())
	}
	return b
}

// slot reads into s, whatever it held.
func (r *unpacker) slot(s *Slot) {
	tag := s.Tag
	*s = Slot{Source: r.sourceAgain(s.Source), Open: 1}
	flags := r.byte()
	if flags&slotTagged != 0 {
		s.Tag = r.again(tag)
	}
	if flags&slotOne == 0 {
		s.Open = int(min(max(r.varint(), -maxOpen), maxOpen))
	}
	s.At = r.millis()
	s.Start = s.At + Millis(r.varint())
	s.Until = s.At + week
	if flags&slotWeek == 0 {
		s.Until = s.At + Millis(r.varint())
	}
	if flags&slotEarly != 0 {
		for n := r.count(1); n > 0 && !r.bad; n-- {
			s.Early = append(s.Early, s.At+Millis(r.varint()))
		}
	}
	if flags&slotExtra != 0 {
		for n := r.count(2); n > 0 && !r.bad; n-- {
			s.Extra = append(s.Extra, Extra{At: s.At + Millis(r.varint()), N: r.number()})
		}
	}
	if flags&slotLearned != 0 {
		s.Devices = min(r.number(), maxDevices)
		s.Reached = s.At + Millis(r.varint())
	}
	if flags&slotLost != 0 {
		s.Lost = r.number()
		s.LostAt = s.At + Millis(r.varint())
	}
	if flags&slotBurst != 0 {
		s.Burst = burstOf(r.uvarint())
	}
	if s.Tag == "" {
		s.Answered, s.Burst = s.Burst.Opened, Burst{}
	}
}

// burst returns the burst to pack: an untagged slot has none, and notes that it is answered there.
func (s *Slot) burst() Burst {
	if s.Tag == "" {
		return Burst{Opened: s.Answered}
	}
	return s.Burst
}

func (b Burst) word() uint64 {
	w := uint64(b.Again) << 3
	for i, set := range [...]bool{b.Replaced, b.Ended, b.Opened} {
		if set {
			w |= 1 << i
		}
	}
	return w
}

func burstOf(w uint64) Burst {
	return Burst{Replaced: w&1 != 0, Ended: w&2 != 0, Opened: w&4 != 0, Again: int(min(w>>3, maxOpen))}
}
