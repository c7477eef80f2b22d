package conn

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"rollcall/internal/wake"
	"rollcall/store/redisstore/nearcache"
)

// A route maps each slot of a Cluster to the link that reports it.
type route struct {
	slots [Slots]uint8
	links map[string]*Link
}

// slotOf returns a slot of the link of that number, the first at or after from, cyclically; ok is
// false when it has none.
func (r *route) slotOf(number uint8, from int) (slot uint16, ok bool) {
	for i := range Slots {
		if at := (from + i) % Slots; r.slots[at] == number {
			return uint16(at), true
		}
	}
	return 0, false
}

// placeProbes gives each link a slot of its primary for its probes.
func (r *route) placeProbes() {
	for _, k := range r.links {
		if r.slots[k.slot.Load()] != k.number {
			slot, _ := r.slotOf(k.number, 0)
			k.slot.Store(uint32(slot))
		}
	}
}

// linkOfSlot returns the link that reports the slot, or nil when there is none now.
func (c *Conn) linkOfSlot(slot uint16) *Link {
	if c.single != nil {
		return c.single
	}
	r := c.route.Load()
	n := r.slots[slot]
	if n == nearcache.NoLink {
		return nil
	}
	return c.byNumber[n].Load()
}

// runTopology follows which primaries a Cluster has.
func (c *Conn) runTopology(ctx context.Context) {
	defer c.wg.Done()
	tick := time.NewTicker(topologyEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.topology:
		case <-tick.C:
		}
		if err := c.followTopology(ctx, false); err != nil && ctx.Err() == nil {
			c.log.Debug("ask for the slots of the cluster", "err", err)
		}
	}
}

// followTopology reads which primaries own which slots, starts links to new primaries and ends
// those to old ones.
func (c *Conn) followTopology(ctx context.Context, opening bool) error {
	var ranges []rueidis.RedisMessage
	err := c.anyNode(ctx, func(ctx context.Context, n rueidis.Client) (err error) {
		ranges, err = n.Do(ctx, n.B().ClusterSlots().Build()).ToArray()
		return err
	})
	if err != nil {
		return err
	}
	was := c.route.Load()
	now := &route{links: map[string]*Link{}}
	for i := range now.slots {
		now.slots[i] = nearcache.NoLink
	}
	fresh := false
	for _, r := range ranges {
		from, to, addr, ok := slotRange(r)
		if !ok {
			continue
		}
		k := now.links[addr]
		if k == nil {
			if was != nil {
				k = was.links[addr]
			}
			if k == nil {
				if k = c.newLink(addr, opening); k == nil {
					continue
				}
				fresh = true
			}
			now.links[addr] = k
		}
		for slot := from; slot <= to; slot++ {
			now.slots[slot] = k.number
		}
	}
	now.placeProbes()
	c.route.Store(now)
	for addr, k := range now.links {
		if was == nil || was.links[addr] == nil {
			k.start()
		}
	}
	if was == nil {
		return nil
	}
	c.leave(was, now)
	if fresh {
		// A slot may have moved to a primary without a link until now.
		for _, k := range now.links {
			k.epoch().Renew()
		}
		c.events.Look()
	}
	return nil
}

// leave ends the links that a new route does not have.
func (c *Conn) leave(was, now *route) {
	for addr, k := range was.links {
		if now.links[addr] == nil {
			k.stop()
			c.byNumber[k.number].CompareAndSwap(k, nil)
		}
	}
}

func slotRange(r rueidis.RedisMessage) (from, to int, addr string, ok bool) {
	list, err := r.ToArray()
	if err != nil || len(list) < 3 {
		return 0, 0, "", false
	}
	node, err := list[2].ToArray()
	if err != nil || len(node) < 2 {
		return 0, 0, "", false
	}
	host, err1 := node[0].ToString()
	port, err2 := node[1].AsInt64()
	a, err3 := list[0].AsInt64()
	b, err4 := list[1].AsInt64()
	if errors.Join(err1, err2, err3, err4) != nil || host == "" || a < 0 || b >= Slots {
		return 0, 0, "", false
	}
	return int(a), int(b), net.JoinHostPort(host, strconv.FormatInt(port, 10)), true
}

// newLink makes a link with a number of its own, or returns nil when there are none left.
func (c *Conn) newLink(addr string, born bool) *Link {
	for n := range uint8(nearcache.NoLink) {
		k := &Link{c: c, number: n, addr: addr, name: cmp.Or(addr, c.where), pushed: wake.NewSignal(), flush: wake.NewSignal(), done: make(chan struct{}), born: born}
		if c.byNumber[n].CompareAndSwap(nil, k) {
			k.receivedAt.Store(c.Millis())
			k.open.Store(!born)
			return k
		}
	}
	c.log.Warn("too many primaries; answers of some are not cached", "addr", addr)
	return nil
}

func (k *Link) start() {
	ctx, stop := context.WithCancel(k.c.ctx)
	k.stop = stop
	k.c.wg.Add(1)
	go func() {
		defer k.c.wg.Done()
		k.run(ctx)
	}()
}
