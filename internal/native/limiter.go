package native

import (
	"hash/maphash"
	"sync"
	"time"
)

// A Rate is how much a caller may take: so many units a second, and so many at once after a rest.
type Rate struct {
	// PerSecond is how many in the long run; 0 is no limit.
	PerSecond float64
	// Burst is how many at once after a rest.
	Burst float64
}

// A Limiter holds callers to a rate, each one for himself, by the generic cell rate algorithm: one time per caller, at which
// all he took will be paid for. Who has been quiet is forgotten.
type Limiter struct {
	seed   maphash.Seed
	shards [limiterShards]limiterShard
}

const (
	limiterShards = 64
	shardCallers  = 4096 // callers remembered in a shard
)

type limiterShard struct {
	mu   sync.Mutex
	paid map[uint64]int64 // hash of the caller → nanoseconds
}

// NewLimiter returns a limiter that has met nobody.
func NewLimiter() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].paid = map[uint64]int64{}
	}
	return l
}

// Take takes n units for caller at now, a running clock in nanoseconds. When they are too many it takes nothing and
// returns how long to wait. A rate of zero is no limit.
func (l *Limiter) Take(class, caller, address string, n float64, rate Rate, now int64) (wait time.Duration, ok bool) {
	if rate.PerSecond <= 0 || n <= 0 {
		return 0, true
	}
	var h maphash.Hash
	h.SetSeed(l.seed)
	_, _ = h.WriteString(class)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(caller)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(address)
	key := h.Sum64()

	each := float64(time.Second) / rate.PerSecond
	cost := int64(n * each)
	// One call may be dearer than the burst: it passes when nothing is owed, else it never could.
	room := max(int64(rate.Burst*each), cost)
	s := &l.shards[key%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	paid := max(s.paid[key], now)
	if over := paid + cost - now - room; over > 0 {
		return time.Duration(over), false
	}
	if len(s.paid) >= shardCallers {
		s.forget(now)
	}
	s.paid[key] = paid + cost
	return 0, true
}

// forget drops who owes nothing, and if that is nobody, anybody: memory stays bounded, and a crowd is let through a
// little more rather than shut out.
func (s *limiterShard) forget(now int64) {
	for k, paid := range s.paid {
		if paid <= now {
			delete(s.paid, k)
		}
	}
	for k := range s.paid {
		if len(s.paid) < shardCallers*3/4 {
			return
		}
		delete(s.paid, k)
	}
}

// Callers returns how many callers are remembered.
func (l *Limiter) Callers() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.paid)
		s.mu.Unlock()
	}
	return n
}
