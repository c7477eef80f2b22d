package presence

import (
	"encoding/binary"
	"fmt"
)

// Sections follow the sessions, slots and deliveries of a state in format 2: uvarint length of all
// of them, then for each uvarint tag<<1|critical, uvarint length, and as many bytes. A reader that
// does not know a tag keeps the section as it is, unless it is critical: then it leaves the whole
// state alone.
const (
	sectionCritical = 1
	// sectionEndAlls holds when the peer was last seen without what end-alls have ended, and then
	// end-alls: source, length and bytes of the prefix, time, uvarint Ahead, 1 byte cause, uvarint
	// hold in milliseconds.
	sectionEndAlls = 2<<1 | sectionCritical
	// sectionHistories holds the histories of slots.
	sectionHistories = 8<<1 | sectionCritical
	// sectionOrder holds what orders the reports of sessions beside their times, for each session
	// that has such: uvarint place among the sessions less that of the one before, uvarint Seq,
	// uvarint Ahead.
	sectionOrder = 9<<1 | sectionCritical
)

// format returns the lowest format that can hold st. To format 1 a cause from [CauseReconciled] on
// is damage, and a release that writes nothing later does not have [SessionFound] give way.
func (st *State) format() byte {
	if len(st.Rest) > 0 || len(st.Histories) > 0 || len(st.EndAlls) > 0 || len(st.Reached) > 0 || st.Missed || st.Cause >= CauseReconciled {
		return packFormat2
	}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Seq != 0 || s.Ahead != 0 || s.Leased() || s.Cause >= CauseReconciled || s.ID == SessionFound || s.Active.At != 0 {
			return packFormat2
		}
	}
	return packFormat1
}

func (st *State) packSections(b []byte) []byte {
	var order []byte
	last := 0
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Seq == 0 && s.Ahead == 0 {
			continue
		}
		order = binary.AppendUvarint(order, uint64(i-last))
		order = binary.AppendUvarint(order, s.Seq)
		order = binary.AppendUvarint(order, uint64(s.Ahead))
		last = i
	}
	var all []byte
	if len(st.EndAlls) > 0 {
		all = appendString(binary.AppendUvarint(all, sectionEndAlls), string(st.packEndAlls(nil)))
	}
	if len(st.Reached) > 0 {
		all = appendString(binary.AppendUvarint(all, sectionReach), string(st.Reached.pack(st.Since)))
	}
	if active := packActivity(st.Sessions); len(active) > 0 {
		all = appendString(binary.AppendUvarint(all, sectionActivity), string(active))
	}
	if len(st.Histories) > 0 {
		all = appendString(binary.AppendUvarint(all, sectionHistories), string(st.packHistories(nil)))
	}
	if len(order) > 0 {
		all = appendString(binary.AppendUvarint(all, sectionOrder), string(order))
	}
	if st.Missed {
		all = appendString(binary.AppendUvarint(all, sectionMissed), "")
	}
	return appendString(b, string(append(all, st.Rest...)))
}

// sections reads what follows in a state of format 2.
func (r *unpacker) sections(st *State) {
	all := unpacker{b: r.bytes(), base: r.base}
	defer func() { r.bad, r.newer = r.bad || all.bad, all.newer }()
	for all.left() > 0 && !all.bad {
		begin := all.at
		tag := all.uvarint()
		body := all.bytes()
		switch {
		case all.bad:
		case tag == sectionOrder:
			o := unpacker{b: body}
			o.order(st)
			all.bad = o.bad
		case tag == sectionEndAlls:
			e := unpacker{b: body, base: r.base}
			e.endAlls(st)
			all.newer = e.newer
			all.bad = e.bad || len(st.EndAlls) == 0
		case tag == sectionReach:
			w := unpacker{b: body, base: r.base}
			w.reached(st)
			all.bad = w.bad || len(st.Reached) == 0
		case tag == sectionMissed:
			st.Missed = true
			all.bad = len(body) > 0
		case tag == sectionActivity:
			a := unpacker{b: body}
			a.activity(st)
			all.bad = a.bad
		case tag == sectionHistories:
			h := unpacker{b: body, base: r.base, format2: true}
			h.histories(st)
			all.newer = h.newer
			all.bad = h.bad || h.left() > 0 || len(st.Histories) == 0
		case tag&sectionCritical != 0:
			all.later("section %d", tag>>1)
		default:
			st.Rest = append(st.Rest, all.b[begin:all.at]...)
		}
	}
	st.overAll()
}

func (r *unpacker) order(st *State) {
	for at := uint64(0); r.left() > 0 && !r.bad; {
		at += r.uvarint()
		seq, ahead := r.uvarint(), r.uvarint()
		if at >= uint64(len(st.Sessions)) || ahead > uint64(maxMillis) {
			r.fail()
			return
		}
		s := &st.Sessions[at]
		s.Seq, s.Ahead = seq, Millis(ahead)
		if s.Ended {
			s.Until = s.Seen()
		}
	}
}

func formatError(f byte) error {
	if f > packFormat2 {
		return fmt.Errorf("%w: format %d, this program reads %d", ErrNewer, f, packFormat2)
	}
	return fmt.Errorf("%w: format %d, this program reads %d and %d", ErrCorrupt, f, packFormat1, packFormat2)
}
