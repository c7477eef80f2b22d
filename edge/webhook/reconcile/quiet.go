package reconcile

import (
	"sync"
	"time"

	"rollcall/presence"
)

// quiet is how old the answers of a product may be, found out as it answers. It is that of this
// process.
type quiet struct {
	mu sync.Mutex
	c  *presence.Calibration
}

func (q *quiet) init(w *worker) {
	first := w.src.Reconcile.Lag
	if w.limits.Counted {
		first = max(first, presence.DefaultQuiet)
	}
	q.c = presence.NewCalibration(first)
}

// age returns how old an answer may be, and how late events: what was reported since counts more.
func (q *quiet) age() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.c.Quiet()
}

// wait returns how long after a peer turns offline it is asked about.
func (q *quiet) wait() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.c.Wait()
}

// note takes what an answer about a peer that had logged out comes to. It reports whether answers
// are older than was thought, and how old they may be from now on.
func (q *quiet) note(a *presence.Asked, f presence.Finding) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	doubled := q.c.Note(a, f)
	return q.c.Quiet(), doubled
}
