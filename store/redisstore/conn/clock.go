package conn

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// Now returns the time of Redis, which all nodes share: nodes that judge leases by it agree,
// whatever their own clocks show. It runs on the monotonic clock between looks at Redis.
func (c *Conn) Now() presence.Millis { return presence.Millis(c.clock.Load() + c.Millis()) }

func (c *Conn) SyncClock(ctx context.Context) error {
	if c.client.Mode() != rueidis.ClientModeCluster {
		return c.clockOf(ctx, c.client)
	}
	if k := c.LinkOf(c.opts.ClockKey); k != nil {
		if n := c.client.Nodes()[k.addr]; n != nil {
			return c.clockOf(ctx, n)
		}
	}
	// At the start no link stands yet, and one of the primaries may be lost.
	return c.anyNode(ctx, c.clockOf)
}

// clockSamples is how often the time is asked for in a row: the nodes order hooks by it, so the
// quickest answer counts.
const clockSamples = 3

// clockOf takes the time of one server.
func (c *Conn) clockOf(ctx context.Context, node rueidis.Client) error {
	var offset, took int64
	for n := range clockSamples {
		before := c.Millis()
		list, err := node.Do(ctx, node.B().Time().Build()).AsStrSlice()
		if err != nil {
			return err
		}
		var sec, micro int64
		if _, err := fmt.Sscan(strings.Join(list, " "), &sec, &micro); err != nil {
			return fmt.Errorf("read the time of redis: %w", err)
		}
		if after := c.Millis(); n == 0 || after-before < took {
			offset, took = sec*1000+micro/1000-(before+after)/2, after-before
		}
	}
	if c.clock.Load() == 0 || took < 100 {
		c.clock.Store(offset)
	}
	return nil
}
