package reconcile

import "time"

// hookQuiet is how old an answer may be where the events of the product name no sessions.
const hookQuiet = 30 * time.Second

// quiet returns how old an answer may be, and how late events: what was reported since counts more.
func (w *worker) quiet() time.Duration {
	if w.limits.Counted {
		return hookQuiet
	}
	return w.src.Reconcile.Lag
}
