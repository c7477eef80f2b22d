package presence

import (
	"encoding/binary"
	"time"
)

// The flags of a packed hook.
const (
	hookOffline = 1 << iota // and its cause follows
	hookAgain
	hookLast // the policy
	hookWeek // the lease
	hookLease
	hookHold
	hookJudged
	hookCount // a count: it, and how old it may be, follow
	hookFlags = iota
)

const minHistory, minHook = 6, 8 // bytes

// packHistories appends when the last replay was and the histories. Times of hooks are differences
// to the hook before.
func (st *State) packHistories(b []byte) []byte {
	b = appendMillis(b, st.Replayed, st.Since)
	b = binary.AppendUvarint(b, uint64(len(st.Histories)))
	for i := range st.Histories {
		h := &st.Histories[i]
		b = h.Base.pack(b, st.Since)
		if b = binary.AppendUvarint(b, uint64(h.Ended.hold/time.Millisecond)<<3|bit(h.Assumed)<<2|bit(h.Touched != 0)<<1|bit(h.Ended.at != 0)); h.Ended.at != 0 {
			b = append(appendMillis(b, h.Ended.at, st.Since), byte(h.Ended.cause))
		}
		if h.Touched != 0 {
			b = appendMillis(b, h.Touched, st.Since)
		}
		b = binary.AppendUvarint(b, uint64(len(h.Hooks)))
		base := st.Since
		for k := range h.Hooks {
			b = h.Hooks[k].pack(b, base)
			base = h.Hooks[k].At
		}
	}
	return b
}

func bit(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

func (h *Hook) pack(b []byte, base Millis) []byte {
	b = append48(b, Millis(h.Hash))
	b = appendMillis(b, h.At, base)
	var flags byte
	isWeek := h.Lease == time.Duration(week)*time.Millisecond
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{h.Kind == KindOffline, hookOffline},
		{h.Reconnect, hookAgain},
		{h.Policy == PolicyLast, hookLast},
		{isWeek, hookWeek},
		{h.Lease != 0 && !isWeek, hookLease},
		{h.Hold != 0, hookHold},
		{h.Judged != h.At, hookJudged},
		{h.Kind == KindCount, hookCount},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, flags)
	if flags&hookOffline != 0 {
		b = append(b, byte(h.Cause))
	}
	if flags&hookCount != 0 {
		b = binary.AppendUvarint(binary.AppendVarint(b, int64(h.Count)), uint64(h.Quiet/time.Millisecond))
	}
	if flags&hookLease != 0 {
		b = binary.AppendUvarint(b, uint64(h.Lease/time.Millisecond))
	}
	if flags&hookHold != 0 {
		b = binary.AppendUvarint(b, uint64(h.Hold/time.Millisecond))
	}
	if flags&hookJudged != 0 {
		b = appendMillis(b, h.Judged, h.At)
	}
	return b
}

// histories reads what packHistories wrote.
func (r *unpacker) histories(st *State) {
	st.Replayed = r.millis()
	since := r.base
	for n := r.count(minHistory); n > 0 && !r.bad; n-- {
		r.base = since
		var h History
		r.slot(&h.Base)
		h.Source, h.Tag = h.Base.Source, h.Base.Tag
		v := r.uvarint()
		if v&1 != 0 {
			h.Ended = ending{hold: r.within(v >> 3), at: r.millis(), cause: r.cause()}
		}
		h.Assumed = v&4 != 0
		if v&2 != 0 {
			h.Touched = r.millis()
		}
		n := r.count(minHook)
		h.Hooks = make([]Hook, 0, min(n, maxHooks)+1) // mostly one more comes
		for ; n > 0 && !r.bad; n-- {
			k := r.hook()
			h.Hooks = append(h.Hooks, k)
			r.base = k.At
		}
		st.Histories = append(st.Histories, h)
	}
	r.base = since
}

func (r *unpacker) hook() Hook {
	h := Hook{Hash: r.hash(), At: r.millis(), Kind: KindOnline}
	flags := r.byte()
	if flags&hookOffline != 0 {
		h.Kind, h.Cause = KindOffline, r.cause()
	}
	if flags&hookCount != 0 {
		h.Kind, h.Cause = KindCount, CauseReconciled
		h.Count, h.Quiet = int(min(max(r.varint(), CountUnknown), maxOpen)), r.duration()
	}
	h.Reconnect = flags&hookAgain != 0
	if flags&hookLast != 0 {
		h.Policy = PolicyLast
	}
	switch {
	case flags&hookWeek != 0:
		h.Lease = time.Duration(week) * time.Millisecond
	case flags&hookLease != 0:
		h.Lease = r.duration()
	}
	if flags&hookHold != 0 {
		h.Hold = r.duration()
	}
	h.Judged = h.At
	if flags&hookJudged != 0 {
		h.Judged = h.At + Millis(r.varint())
	}
	return h
}
