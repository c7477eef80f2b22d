package lograte

import (
	"cmp"
	"sync/atomic"
)

// A Line is one kind of line of a log. The zero value is ready; many goroutines may use it.
type Line struct {
	Every int64 // the least time between two lines, in ms; 0: a second. Set it before the first use

	last, unsaid atomic.Int64
}

// Due reports whether the line is to be written at now, in ms, and how many were left out since the
// last one was. A clock that was set back does not silence it.
func (l *Line) Due(now int64) (unsaid int64, due bool) {
	every := cmp.Or(l.Every, 1000)
	last := l.last.Load()
	if last != 0 && now >= last && now-last < every || !l.last.CompareAndSwap(last, now) {
		l.unsaid.Add(1)
		return 0, false
	}
	return l.unsaid.Swap(0), true
}
