package reconcile

import "time"

// Hasten has the sources that come next change nodes within some seconds.
func (r *Runner) Hasten() {
	r.timing = timing{claim: 5 * time.Second, renew: 200 * time.Millisecond, first: 50 * time.Millisecond, retry: time.Second}
}

// ClaimFor has the sources that come next claim their work for d.
func (r *Runner) ClaimFor(d time.Duration) { r.timing.claim = d }
