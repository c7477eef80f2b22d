package limit

import (
	"sync"
	"sync/atomic"
)

// A Share is something of which there is so much for all: each holder has at most half of what the
// others leave, so that one that comes later finds some of it. Holders are named by any comparable
// key, such as an address; the zero key is one that is held to the total alone.
type Share[K comparable] struct {
	total int64
	most  int64 // of one holder, whatever is left; 0: half of it

	mu   sync.Mutex
	used int64
	by   map[K]int64

	refused atomic.Int64
}

// NewShare returns a share of total, of which one holder has most at most; 0 is no further bound.
func NewShare[K comparable](total, most int64) *Share[K] {
	return &Share[K]{total: total, most: most, by: map[K]int64{}}
}

// Take takes n for holder and reports whether there was room for it. What is taken must be given
// back.
func (s *Share[K]) Take(holder K, n int64) bool {
	if s == nil || n <= 0 {
		return true
	}
	var free K
	s.mu.Lock()
	defer s.mu.Unlock()
	has := s.by[holder]
	room := s.total
	if holder != free {
		others := s.used - has
		half := (s.total - others + 1) / 2
		if s.most > 0 {
			half = min(half, s.most)
		}
		room = others + half
	}
	if s.used+n > min(room, s.total) {
		s.refused.Add(1)
		return false
	}
	s.used += n
	s.by[holder] = has + n
	return true
}

// Give gives back n that holder has taken, or as much of it as was counted.
func (s *Share[K]) Give(holder K, n int64) {
	if s == nil || n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.by[holder])
	s.used -= n
	if left := s.by[holder] - n; left > 0 {
		s.by[holder] = left
	} else {
		delete(s.by, holder)
	}
}

// Total returns how much there is for all.
func (s *Share[K]) Total() int64 { return s.total }

// Used returns how much is taken.
func (s *Share[K]) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Refused returns how often there was no room.
func (s *Share[K]) Refused() int64 { return s.refused.Load() }
