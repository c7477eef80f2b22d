package server

import (
	"sync"

	"rollcall/presence"
)

// counted are totals since the start, of which rates are made.
type counted struct{ Reports, Changes, Queries, IDs int64 }

// rates remembers the totals of the last minute, one a second.
type rates struct {
	mu   sync.Mutex
	ring [61]counted
	n    int // samples taken
}

func newRates() *rates { return &rates{} }

// sample notes the totals of this second, of all apps and of each.
func (s *Server) sample() {
	s.rates.sample(s.counted())
	for i := range s.apps {
		c := s.presence.Counters().OfApp(presence.AppID(s.apps[i].ID))
		s.appRates[s.apps[i].ID].sample(counted(c))
	}
}

func (r *rates) sample(c counted) {
	r.mu.Lock()
	r.ring[r.n%len(r.ring)] = c
	r.n++
	r.mu.Unlock()
}

// perSecond returns the mean of the last minute, or of the time since the start when that is less.
func (r *rates) perSecond() Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	seconds := min(r.n, len(r.ring)) - 1
	if seconds < 1 {
		return Rates{}
	}
	last, first := r.ring[(r.n-1)%len(r.ring)], r.ring[(r.n-1-seconds)%len(r.ring)]
	per := func(a, b int64) float64 { return float64(a-b) / float64(seconds) }
	return Rates{
		Reports: per(last.Reports, first.Reports), Changes: per(last.Changes, first.Changes),
		Queries: per(last.Queries, first.Queries), IDs: per(last.IDs, first.IDs),
	}
}
