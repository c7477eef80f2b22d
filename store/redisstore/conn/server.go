package conn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

var errPolicy = errors.New("the eviction policy of redis would drop peers that are online")

// CheckServer refuses a server that is too old, or on which peers that are online could be evicted.
func (c *Conn) CheckServer(ctx context.Context) error {
	err := c.anyNode(ctx, func(ctx context.Context, n rueidis.Client) error {
		return n.Do(ctx, n.B().Ping().Build()).Error()
	})
	if err != nil {
		return fmt.Errorf("ask redis: %w", Unavailable(err))
	}
	if err := c.checkVersions(ctx); err != nil {
		return err
	}
	return c.CheckPolicy(ctx)
}

// anyNode asks the nodes in turn until one answers: a Cluster that has lost a primary goes on with
// the rest.
func (c *Conn) anyNode(ctx context.Context, ask func(context.Context, rueidis.Client) error) error {
	err := errors.New("no node of redis is known")
	for _, n := range c.client.Nodes() {
		turn, cancel := context.WithTimeout(ctx, time.Second)
		err = ask(turn, n)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (c *Conn) CheckPolicy(ctx context.Context) error {
	if c.opts.Force {
		return nil
	}
	for addr, n := range c.client.Nodes() {
		got, err := n.Do(ctx, n.B().ConfigGet().Parameter("maxmemory-policy").Build()).AsStrMap()
		if err != nil {
			c.log.Debug("cannot read maxmemory-policy", "addr", addr, "err", err)
			continue
		}
		if p := got["maxmemory-policy"]; strings.HasPrefix(p, "allkeys-") {
			return fmt.Errorf("%w: it is %s at %s; set maxmemory-policy to volatile-lru, volatile-ttl or noeviction, or set redis.force", errPolicy, p, addr)
		}
	}
	return nil
}
