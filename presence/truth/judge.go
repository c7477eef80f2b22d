package main

import (
	"slices"
	"time"

	"rollcall/presence"
)

// A span is a time from start until before end.
type span struct{ start, end presence.Millis }

// Shares of time, judged.
type verdict struct {
	online, offline           time.Duration // in truth
	shownOffline, shownOnline time.Duration // wrongly, of the above
}

func (v *verdict) add(o verdict) {
	v.online += o.online
	v.offline += o.offline
	v.shownOffline += o.shownOffline
	v.shownOnline += o.shownOnline
}

func share(part, whole time.Duration) float64 { return float64(part) / max(float64(whole), 1) }

// truth returns when a peer is online, in order and apart from each other.
func truth(connections []connection) []span {
	var online []span
	for _, c := range connections { // in order of their start
		if n := len(online); n > 0 && c.start <= online[n-1].end {
			online[n-1].end = max(online[n-1].end, c.end)
		} else {
			online = append(online, span{c.start, c.end})
		}
	}
	return online
}

// judge compares what is shown with what is so, but for the time right after each beginning and
// end.
func judge(connections []connection, says []span, end presence.Millis) verdict {
	is := truth(connections)
	var turns []presence.Millis
	for _, c := range connections {
		turns = append(turns, c.start, c.end)
	}
	slices.Sort(turns)
	var v verdict
	from := epoch
	for _, at := range append(turns, end) {
		if at = min(at, end); from < at {
			v.add(compare(is, says, span{from, at}))
		}
		from = max(from, at.Add(late))
	}
	return v
}

// compare judges a time in which the truth does not turn.
func compare(is, says []span, s span) verdict {
	whole, said := s.end.Sub(s.start), within(says, s)
	if within(is, s) > 0 {
		return verdict{online: whole, shownOffline: whole - said}
	}
	return verdict{offline: whole, shownOnline: said}
}

// within returns how much of s is covered by spans, which are in order.
func within(spans []span, s span) (covered time.Duration) {
	i, _ := slices.BinarySearchFunc(spans, s.start, func(a span, at presence.Millis) int { return int(a.end - at) })
	for ; i < len(spans) && spans[i].start < s.end; i++ {
		covered += max(min(spans[i].end, s.end).Sub(max(spans[i].start, s.start)), 0)
	}
	return covered
}
