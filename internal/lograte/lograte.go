package lograte

import "sync/atomic"

// every is the least time between two lines, in ms.
const every = 1000

// A Line is one kind of line of a log. The zero value is ready; many goroutines may use it.
type Line struct{ last, unsaid atomic.Int64 }

// Due reports whether the line is to be written at now, in ms, and how many were left out since the last one was. A clock that
// was set back does not silence it.
func (l *Line) Due(now int64) (unsaid int64, due bool) {
	last := l.last.Load()
	if last != 0 && now >= last && now-last < every || !l.last.CompareAndSwap(last, now) {
		l.unsaid.Add(1)
		return 0, false
	}
	return l.unsaid.Swap(0), true
}
