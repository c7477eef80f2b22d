package presence

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// OnlineDays is how many local days of online time are reported, with [Rules].OnlineTime.
const OnlineDays = 30

const dayLength = 24 * time.Hour

// A Day is how long a peer was online on one local day.
type Day struct {
	Day    int32 // days since 1970
	Online time.Duration
}

// Date returns the date of d, as 2026-11-23.
func (d Day) Date() string { return time.Unix(int64(d.Day)*86400, 0).UTC().Format(time.DateOnly) }

// OnlineTime returns how long the peer was online on each of the last [OnlineDays] local days, the
// oldest first, the time that runs counted up to now. Days without any are left out. It is empty
// for a peer that is unknown at now, and when the rules do not keep it.
func (st *State) OnlineTime(now Millis, rules *Rules) []Day {
	if !rules.OnlineTime || st.Summary().At(now, rules).Status == Unknown {
		return nil
	}
	sum := State{Days: slices.Clone(st.Days), Counted: st.Counted}
	if st.Status == Online {
		sum.addOnline(st.Since, min(now, st.Until), rules)
	}
	oldest := dayOf(now, rules) - OnlineDays + 1
	return keep(sum.Days, func(d *Day) bool { return d.Day >= oldest })
}

// countOnline adds to Days the time online that has come to its end since st had the status was,
// since since. It ends when the peer is said to have turned offline, so that the days agree with
// what was answered.
func (st *State) countOnline(was Status, since Millis, rules *Rules) {
	if !rules.OnlineTime {
		st.Days, st.Counted = st.Days[:0], 0
		return
	}
	switch {
	case st.Status != Offline:
	case was == Online:
		st.addOnline(since, st.Since, rules)
	case st.Since > since:
		// It was online in between, unheard of.
		st.addOnline(st.startBefore(st.Since), st.Since, rules)
	}
}

// startBefore returns the earliest start of the sessions that ended at end, or end when there is
// none.
func (st *State) startBefore(end Millis) Millis {
	start := end
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.End() == end {
			start = min(start, s.Start)
		}
	}
	return start
}

// addOnline adds the time between from and to that is not counted yet, split at local midnights.
// Late news may begin before what is counted; nothing counts twice.
func (st *State) addOnline(from, to Millis, rules *Rules) {
	from = max(from, st.Counted)
	if from >= to || to > maxMillis {
		return
	}
	st.Counted = to
	last := dayOf(to-1, rules)
	for day := max(dayOf(from, rules), last-OnlineDays+1); day <= last; day++ {
		st.addDay(day, min(to, midnight(day+1, rules)).Sub(max(from, midnight(day, rules))))
	}
	oldest := st.Days[len(st.Days)-1].Day - OnlineDays + 1
	st.Days = keep(st.Days, func(d *Day) bool { return d.Day >= oldest })
}

func (st *State) addDay(day int32, online time.Duration) {
	i, found := slices.BinarySearchFunc(st.Days, day, func(d Day, day int32) int { return cmp.Compare(d.Day, day) })
	if !found {
		st.Days = slices.Insert(st.Days, i, Day{Day: day})
	}
	d := &st.Days[i]
	d.Online = min(d.Online+online, dayLength) // more only when the local midnight was moved
}

// midnight returns when local day begins.
func midnight(day int32, rules *Rules) Millis {
	return (Millis(day) * Millis(dayLength/time.Millisecond)).Add(-rules.DayOffset)
}

// packDaysTo appends Days and Counted: how many, Counted, the first day as the difference to Day,
// then for each day its online time (ms) shifted left by one. The low bit is set when days without
// any lie before it; their number follows.
func (st *State) packDaysTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(st.Days)))
	b = appendMillis(b, st.Counted, st.Since)
	next := st.Days[0].Day
	b = binary.AppendVarint(b, int64(next)-int64(st.Day))
	for _, d := range st.Days {
		ms := uint64(d.Online/time.Millisecond) << 1
		if d.Day == next {
			b = binary.AppendUvarint(b, ms)
		} else {
			b = binary.AppendUvarint(b, ms|1)
			b = binary.AppendUvarint(b, uint64(d.Day-next))
		}
		next = d.Day + 1
	}
	return b
}

// days reads what packDaysTo wrote.
func (r *unpacker) days(st *State) {
	n := r.count(1)
	st.Counted = r.millis()
	first := int64(st.Day) + r.varint()
	if n == 0 || n > OnlineDays || st.Counted <= 0 || first < 0 || first > 1<<31-1-OnlineDays {
		r.fail()
		return
	}
	for next := first; n > 0 && !r.bad; n-- {
		v := r.uvarint()
		if v&1 != 0 {
			next += int64(min(r.uvarint(), OnlineDays))
		}
		online := v >> 1
		if online == 0 || online > uint64(dayLength/time.Millisecond) || next >= first+OnlineDays {
			r.fail()
			return
		}
		st.Days = append(st.Days, Day{Day: int32(next), Online: time.Duration(online) * time.Millisecond})
		next++
	}
}
