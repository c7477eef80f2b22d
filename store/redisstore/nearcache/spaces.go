package nearcache

import (
	"maps"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

const maxSpaces = 255

// spaces numbers apps. The map is replaced, never changed, so that it is read without a lock.
type spaces struct {
	mu     sync.Mutex
	number atomic.Pointer[map[presence.AppID]uint8]
}

// Space returns the number of app, which it gives one if it has none; 0 when there are too many
// apps or nothing is kept.
func (c *Cache) Space(app presence.AppID) uint8 {
	if n := c.KnownSpace(app); n != 0 || c.off {
		return n
	}
	p := &c.spaces
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[presence.AppID]uint8{}
	if old := p.number.Load(); old != nil {
		if n, ok := (*old)[app]; ok || len(*old) >= maxSpaces {
			return n
		}
		next = maps.Clone(*old)
	}
	next[app] = uint8(len(next) + 1)
	p.number.Store(&next)
	return next[app]
}

// KnownSpace returns the number of app, 0 when it has none.
func (c *Cache) KnownSpace(app presence.AppID) uint8 {
	if m := c.spaces.number.Load(); m != nil {
		return (*m)[app]
	}
	return 0
}
