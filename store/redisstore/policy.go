package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

var errPolicy = errors.New("the eviction policy of redis would drop peers that are online")

// checkServer refuses a server that is too old, or on which peers that are online could be evicted.
func (s *Store) checkServer(ctx context.Context) error {
	err := s.anyNode(ctx, func(ctx context.Context, n rueidis.Client) error {
		return n.Do(ctx, n.B().Ping().Build()).Error()
	})
	if err != nil {
		return fmt.Errorf("ask redis: %w", away(err))
	}
	if err := s.checkVersions(ctx); err != nil {
		return err
	}
	return s.checkPolicy(ctx)
}

// anyNode asks the nodes in turn until one answers: a Cluster that has lost a primary goes on with the rest.
func (s *Store) anyNode(ctx context.Context, ask func(context.Context, rueidis.Client) error) error {
	err := errors.New("no node of redis is known")
	for _, n := range s.client.Nodes() {
		turn, cancel := context.WithTimeout(ctx, time.Second)
		err = ask(turn, n)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (s *Store) checkPolicy(ctx context.Context) error {
	if s.cfg.Force {
		return nil
	}
	for addr, n := range s.client.Nodes() {
		got, err := n.Do(ctx, n.B().ConfigGet().Parameter("maxmemory-policy").Build()).AsStrMap()
		if err != nil {
			s.log.Debug("redis does not tell its eviction policy", "addr", addr, "err", err)
			continue
		}
		if p := got["maxmemory-policy"]; strings.HasPrefix(p, "allkeys-") {
			return fmt.Errorf("%w: it is %s at %s; set maxmemory-policy to volatile-lru, volatile-ttl or noeviction (or force it)", errPolicy, p, addr)
		}
	}
	return nil
}
