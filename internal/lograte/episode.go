package lograte

import "sync/atomic"

// An Episode is a trouble that lasts over many tries: it is logged when it begins and when it is
// over. The zero value is ready; many goroutines may use it.
type Episode struct{ on atomic.Bool }

// Note takes the result of a try. It reports whether a trouble begins with err, and whether one is
// over.
func (e *Episode) Note(err error) (begins, over bool) {
	was := e.on.Swap(err != nil)
	return err != nil && !was, err == nil && was
}
