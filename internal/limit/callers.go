package limit

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits are the rates that callers are held to, each by key and address, whichever door they use.
type Limits struct {
	// Ask is the rate of calls with the app key.
	Ask Rate
	// AskPeers is the rate of peers named in such calls. A body counts as one peer for every 64
	// bytes when that is more.
	AskPeers Rate
	// Serve is the rate of calls with the master key or the hook key.
	Serve Rate
	// Streams is the rate of streams opened.
	Streams Rate
	// Refused is the rate of calls with a wrong key, by address alone.
	Refused Rate
}

// DefaultLimits are generous: a server that asks for a large app meets none of them, a script that
// walks over all ids does.
func DefaultLimits() Limits {
	return Limits{
		Ask:      Rate{PerSecond: 5_000, Burst: 10_000},
		AskPeers: Rate{PerSecond: 150_000, Burst: 200_000},
		Serve:    Rate{PerSecond: 50_000, Burst: 100_000},
		Streams:  Rate{PerSecond: 200, Burst: 4000},
		Refused:  Rate{PerSecond: 10, Burst: 200},
	}
}

// A Class is what a caller takes.
type Class uint8

// The classes, each with the rate of its name in [Limits].
const (
	Ask Class = iota
	AskPeers
	Serve
	Streams
	Refused
	Anyone // calls without a key: at the rate of Ask, beside it
)

// PeerBytes is how many bytes of a body count as one peer.
const PeerBytes = 64

// Callers holds callers to their rates. All doors of a server share one.
type Callers struct {
	limits  atomic.Pointer[Limits]
	limiter *Limiter
	start   time.Time
	limited atomic.Int64
}

// NewCallers returns the book of a server.
func NewCallers(limits Limits) *Callers {
	c := &Callers{limiter: NewLimiter(), start: time.Now()}
	c.SetLimits(limits)
	return c
}

// SetLimits holds callers to limits from now on. What they owe stays.
func (c *Callers) SetLimits(limits Limits) { c.limits.Store(&limits) }

// now is the running clock of the limiter.
func (c *Callers) now() int64 { return int64(time.Since(c.start)) }

func (c *Callers) rate(class Class) Rate {
	limits := c.limits.Load()
	switch class {
	case AskPeers:
		return limits.AskPeers
	case Serve:
		return limits.Serve
	case Streams:
		return limits.Streams
	case Refused:
		return limits.Refused
	}
	return limits.Ask
}

// Take charges n units of class to the caller with a key of app at address. When they are too many
// it charges nothing and returns how long to wait. Nil charges nothing.
func (c *Callers) Take(class Class, app string, address netip.Addr, n float64) (wait time.Duration, ok bool) {
	if c == nil {
		return 0, true
	}
	rate := c.rate(class)
	if rate.PerSecond <= 0 || n <= 0 {
		return 0, true
	}
	now := c.now()
	return c.counted(c.limiter.Bucket(class, app, Group(address), now).Take(n, rate, now))
}

// TakeOf is Take for a caller that has proven to be peer: it is held to the rate by itself, from
// whatever addresses it calls. "" is none, and goes by its address.
func (c *Callers) TakeOf(class Class, app string, address netip.Addr, peer string, n float64) (wait time.Duration, ok bool) {
	if peer == "" {
		return c.Take(class, app, address, n)
	}
	if c == nil {
		return 0, true
	}
	rate := c.rate(class)
	if rate.PerSecond <= 0 || n <= 0 {
		return 0, true
	}
	now := c.now()
	return c.counted(c.limiter.bucketOf(class, app, peer, now).Take(n, rate, now))
}

// TakeFrom is Take for a caller that keeps the bucket between calls; *kept is nil at first.
func (c *Callers) TakeFrom(kept **Bucket, class Class, app string, address netip.Addr, n float64) (wait time.Duration, ok bool) {
	if c == nil {
		return 0, true
	}
	rate := c.rate(class)
	if rate.PerSecond <= 0 || n <= 0 {
		return 0, true
	}
	now := c.now()
	if *kept == nil || (*kept).Stale() {
		*kept = c.limiter.Bucket(class, app, Group(address), now)
	}
	return c.counted((*kept).Take(n, rate, now))
}

func (c *Callers) counted(wait time.Duration, ok bool) (time.Duration, bool) {
	if !ok {
		c.limited.Add(1)
	}
	return wait, ok
}

// Limited returns how many calls were refused because a caller asked too often.
func (c *Callers) Limited() int64 {
	if c == nil {
		return 0
	}
	return c.limited.Load()
}
