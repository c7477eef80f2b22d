package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/nearcache"
)

// Failed takes note of an error of a call to the primary behind k; nil when it is not known which.
func (c *Conn) Failed(k *Link, err error) {
	if err == nil || !IsDown(err) || c.Closed() {
		return
	}
	if k == nil {
		if k = c.single; k == nil {
			return
		}
	}
	if errors.Is(err, rueidis.ErrNoSlot) && c.single == nil {
		// Returned for every command of a batch of which one is for a primary that the client knows
		// no node of any more.
		nodes := c.client.Nodes()
		for _, k := range c.Links() {
			if nodes[k.addr] == nil {
				k.markDown(err)
			}
		}
		return
	}
	if timedOut(err) {
		k.suspect(err)
		return
	}
	k.markDown(err)
}

// markDown records that the primary behind k is unreachable.
func (k *Link) markDown(err error) {
	if !k.down.CompareAndSwap(0, k.c.Millis()) {
		return
	}
	k.c.stats.outages.Add(1)
	k.c.log.Warn("redis unreachable", "addr", k.Name(), "err", err)
	k.open.Store(true)
	k.c.downSince.CompareAndSwap(0, k.c.Millis())
	k.c.events.Down()
}

// FailedSince takes note of an error of a call that began at begun, to the primary of key. That the
// time was over is not the fault of a primary that was hardly given any of it.
func (c *Conn) FailedSince(begun time.Time, key string, err error) {
	if errors.Is(err, context.DeadlineExceeded) && time.Since(begun) < c.opts.Deadline/2 {
		return
	}
	c.Failed(c.LinkOf(key), err)
}

// AnyDown reports whether a primary is unreachable.
func (c *Conn) AnyDown() bool { return slices.ContainsFunc(c.Links(), (*Link).Down) }

// StartOutage notes that Redis cannot be used from now on, unless that is so already.
func (c *Conn) StartOutage() { c.downSince.CompareAndSwap(0, c.Millis()) }

// EndOutage notes that Redis can be used, and returns for how long it could not.
func (c *Conn) EndOutage() time.Duration {
	since := c.downSince.Swap(0)
	if since == 0 {
		return 0
	}
	return time.Duration(c.Millis()-since) * time.Millisecond
}

// Down reports whether calls to the primary fail.
func (k *Link) Down() bool { return k.down.Load() != 0 }

// Reachable reports whether calls to the primary are answered, as far as is known.
func (k *Link) Reachable() bool { return !k.Down() && !k.suspected.Load() }

// MarkUp records that the primary answers again, and returns for how long it did not.
func (k *Link) MarkUp() time.Duration {
	return time.Duration(k.c.Millis()-k.down.Swap(0)) * time.Millisecond
}

// ResumeExpiry lets what has run out on the primary be ended again, if it can be reached; it
// reports whether it may.
func (k *Link) ResumeExpiry() bool {
	if !k.Down() && (k.up.Load() || k.born) {
		k.open.Store(false)
	}
	if k.Down() {
		k.open.Store(true)
	}
	return !k.open.Load()
}

// Staleness returns how old the oldest of the caches is whose link is lost; ok is false when none
// is, or when it is too old.
func (c *Conn) Staleness(limit time.Duration) (age time.Duration, ok bool) {
	now := c.Millis()
	for _, k := range c.Links() {
		if k.down.Load() == 0 && k.Proven() && !k.suspected.Load() {
			continue
		}
		age = max(age, time.Duration(now-k.receivedAt.Load())*time.Millisecond, time.Millisecond)
	}
	return age, age > 0 && age <= limit
}

// CheckPrimaries returns an error when a primary is unreachable or slots have none.
func (c *Conn) CheckPrimaries() error {
	links := c.Links()
	if len(links) == 0 {
		return fmt.Errorf("%w: the cluster has no primaries", presence.ErrUnavailable)
	}
	n := 0
	for _, k := range links {
		if k.down.Load() != 0 {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%w: %d of %d redis primaries are down", presence.ErrUnavailable, n, len(links))
	}
	return c.Uncovered()
}

// LinkOf returns the link to the primary of a key, nil when there is none now. The key does not
// matter unless Redis is a Cluster.
func (c *Conn) LinkOf(key string) *Link {
	switch {
	case c.single != nil:
		return c.single
	case c.route.Load() == nil:
		return nil
	}
	return c.linkOfSlot(SlotOf(key))
}

// Unsettled names the primaries that cannot be reached or whose expiry is paused.
func (c *Conn) Unsettled() string {
	var names []string
	for _, k := range c.Links() {
		if k.down.Load() != 0 || k.open.Load() {
			names = append(names, strconv.Itoa(int(k.number)))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Settles reports whether what hangs on a key may be ended now: its primary can be reached, and its
// return has been announced if it was down.
func (c *Conn) Settles(key string) bool {
	k := c.single
	if k == nil {
		k = c.LinkOf(key)
	}
	return k != nil && k.down.Load() == 0 && !k.open.Load()
}

// Reaches reports whether the primary of a key of a Cluster is known and not down. The only primary
// there is may be tried.
func (c *Conn) Reaches(key string) bool {
	if c.single != nil {
		return true
	}
	k := c.LinkOf(key)
	return k != nil && k.down.Load() == 0 && !k.suspected.Load()
}

// Uncovered returns an error when some slots of a Cluster have no primary.
func (c *Conn) Uncovered() error {
	r := c.route.Load()
	if r == nil {
		return nil
	}
	n := 0
	for _, l := range r.slots {
		if l == nearcache.NoLink {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d slots of the cluster have no primary", presence.ErrUnavailable, n, Slots)
}

// Silence returns how long ago the primary of the link k last proved to be there.
func (c *Conn) Silence(k *Link) time.Duration {
	var receivedAt int64
	if k != nil {
		receivedAt = k.receivedAt.Load()
	} else {
		receivedAt = c.downSince.Load()
	}
	return max(time.Duration(c.Millis()-receivedAt)*time.Millisecond, time.Millisecond)
}

// confirmWithin is how long a primary that is suspected has to answer, in time that this process
// had.
const confirmWithin = 500 * time.Millisecond

// suspect asks the primary behind k whether it is there, and marks it down when no answer comes: a
// call that took too long may have waited for a turn of this process, or for one of Redis, on a
// machine that has too much to do.
func (k *Link) suspect(why error) {
	if k.down.Load() != 0 || !k.suspected.CompareAndSwap(false, true) {
		return
	}
	k.c.wg.Add(1)
	go func() {
		defer k.c.wg.Done()
		defer k.suspected.Store(false)
		ctx, cancel := k.c.pulse.within(k.c.ctx, confirmWithin)
		defer cancel()
		if err := k.Ask(ctx); err != nil && k.c.ctx.Err() == nil {
			k.markDown(errors.Join(why, err))
		}
	}()
}

// Ask asks the primary behind k for a key of our own.
func (k *Link) Ask(ctx context.Context) error {
	key := k.c.opts.Probe(uint16(k.slot.Load()))
	err := k.c.Do(ctx, k.c.client.B().Get().Key(key).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	return err
}
