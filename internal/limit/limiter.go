package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Rate is how much a caller may take: so many units a second, and so many at once after a rest.
type Rate struct {
	// PerSecond is how many in the long run; 0 is no limit.
	PerSecond float64 `config:",live" range:"0.."`
	// Burst is how many at once after a rest.
	Burst float64 `config:",live" range:"0.."`
}

// A Limiter holds callers to a rate, each one by itself.
type Limiter struct {
	seed   maphash.Seed
	shards [limiterShards]limiterShard
}

const (
	limiterShards = 64
	shardCallers  = 4096 // callers remembered in a shard
)

type limiterShard struct {
	mu      sync.Mutex
	buckets map[uint64]*Bucket // by the hash of the caller
}

// A Bucket is what one caller owes. It may be kept beside a connection, which saves looking it up.
type Bucket struct {
	paid  atomic.Int64 // a Meter
	stale atomic.Bool  // forgotten by the limiter: another one may stand in its place
}

// NewLimiter returns a limiter without callers.
func NewLimiter() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].buckets = map[uint64]*Bucket{}
	}
	return l
}

// Group returns the address under which a counts: an IPv6 client has all of its /64.
func Group(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Bucket returns the bucket of a caller at now, a running clock in nanoseconds.
func (l *Limiter) Bucket(class Class, app string, address netip.Addr, now int64) *Bucket {
	var h maphash.Hash
	h.SetSeed(l.seed)
	var head [18]byte
	head[0] = byte(class)
	if address.IsValid() {
		sixteen := address.As16()
		copy(head[1:], sixteen[:])
		head[17] = 1
	}
	_, _ = h.Write(head[:])
	_, _ = h.WriteString(app)
	return l.bucket(h.Sum64(), now)
}

// bucketOf returns the bucket of a peer, wherever it calls from.
func (l *Limiter) bucketOf(class Class, app, peer string, now int64) *Bucket {
	var h maphash.Hash
	h.SetSeed(l.seed)
	_, _ = h.Write([]byte{byte(class), peers})
	_, _ = h.WriteString(app)
	_, _ = h.Write([]byte{0}) // which no app has in its id
	_, _ = h.WriteString(peer)
	return l.bucket(h.Sum64(), now)
}

// peers stands where an address begins; no caller has one that begins so, of multicast.
const peers = 0xff

func (l *Limiter) bucket(key uint64, now int64) *Bucket {
	s := &l.shards[key%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[key]
	if b == nil {
		if len(s.buckets) >= shardCallers {
			s.forget(now)
		}
		b = new(Bucket)
		s.buckets[key] = b
	}
	return b
}

// Take takes n units at now, a running clock in nanoseconds. When they are too many it takes
// nothing and returns how long to wait. A rate of zero is no limit.
func (b *Bucket) Take(n float64, rate Rate, now int64) (wait time.Duration, ok bool) {
	if rate.PerSecond <= 0 || n <= 0 {
		return 0, true
	}
	each := float64(time.Second) / rate.PerSecond
	cost := int64(n * each)
	// One call may be dearer than the burst: it passes when nothing is owed, else it never could.
	room := max(int64(rate.Burst*each), cost)
	for {
		old := b.paid.Load()
		m := Meter(old)
		if wait, ok = m.Take(time.Duration(cost), time.Duration(room), time.Duration(now)); !ok {
			return wait, false
		}
		if b.paid.CompareAndSwap(old, int64(m)) {
			return 0, true
		}
	}
}

// Stale reports whether the limiter has forgotten b, so that it has to be looked up again.
func (b *Bucket) Stale() bool { return b.stale.Load() }

// forget drops callers that owe nothing, and if there are none, any of them.
func (s *limiterShard) forget(now int64) {
	drop := func(k uint64, b *Bucket) {
		b.stale.Store(true)
		delete(s.buckets, k)
	}
	for k, b := range s.buckets {
		if Meter(b.paid.Load()).Full(time.Duration(now)) {
			drop(k, b)
		}
	}
	for k, b := range s.buckets {
		if len(s.buckets) < shardCallers*3/4 {
			return
		}
		drop(k, b)
	}
}

// Callers returns how many callers are remembered.
func (l *Limiter) Callers() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}
