package api

import "sync"

// Totals are counts since the start of which rates are made.
type Totals struct{ Reports, Changes, Queries, IDs int64 }

// Rates are means per second over the last minute.
type Rates struct {
	Reports float64 `json:"reports"`
	Changes float64 `json:"changes"`
	Queries float64 `json:"queries"`
	IDs     float64 `json:"ids"`
}

// A Meter keeps the totals of the last minute, one sample a second. The zero value is ready; many
// goroutines may use it.
type Meter struct {
	mu   sync.Mutex
	ring [61]Totals
	n    int // samples taken
}

// Sample notes the totals of this second.
func (m *Meter) Sample(t Totals) {
	m.mu.Lock()
	m.ring[m.n%len(m.ring)] = t
	m.n++
	m.mu.Unlock()
}

// PerSecond returns the mean of the last minute, or of the time since the start when that is less.
func (m *Meter) PerSecond() Rates {
	m.mu.Lock()
	defer m.mu.Unlock()
	seconds := min(m.n, len(m.ring)) - 1
	if seconds < 1 {
		return Rates{}
	}
	last, first := m.ring[(m.n-1)%len(m.ring)], m.ring[(m.n-1-seconds)%len(m.ring)]
	per := func(a, b int64) float64 { return float64(a-b) / float64(seconds) }
	return Rates{
		Reports: per(last.Reports, first.Reports), Changes: per(last.Changes, first.Changes),
		Queries: per(last.Queries, first.Queries), IDs: per(last.IDs, first.IDs),
	}
}
