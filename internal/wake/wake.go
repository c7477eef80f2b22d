// Package wake lets goroutines wake one that waits for work. Wake-ups coalesce: the woken one looks
// at all there is to do.
//
//	work := wake.NewSignal()
//	go func() {
//		for range work {
//			doAll()
//		}
//	}()
//	work.Wake()
package wake

// A Signal is a wake-up that waits to be received, or none. Receive from it in a select as from any
// channel; it is never closed.
type Signal chan struct{}

// NewSignal returns a signal that is not set.
func NewSignal() Signal { return make(Signal, 1) }

// Wake sets the signal. It never blocks; a signal that is set stays so. Many goroutines may call
// it.
func (s Signal) Wake() {
	select {
	case s <- struct{}{}:
	default:
	}
}
