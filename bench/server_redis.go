package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// sharedRedis is the Redis of the recipe's servers, started and filled when the first of them asks.
func (r *rig) sharedRedis(ctx context.Context) (*store, error) {
	if r.redis != nil {
		return r.redis, nil
	}
	s, err := r.startRedis(ctx)
	if err != nil {
		return nil, err
	}
	s.truth = newTruth(r.o.peers, r.o.seed)
	if err := fillRedis(ctx, s.addr, s.truth); err != nil {
		return nil, fmt.Errorf("fill Redis: %w", err)
	}
	r.redis = s
	return s, nil
}

// startRedis starts an empty Redis that keeps nothing on disk.
func (r *rig) startRedis(ctx context.Context) (*store, error) {
	program, err := need("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "redis-")
	if err != nil {
		return nil, err
	}
	c, addr, err := r.onFreePort(ctx, func(addr string) (*child, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return r.spawn("redis", nil, program, "--bind", host, "--port", port, "--dir", dir, "--save", "", "--appendonly", "no")
	}, pingRedis)
	if err != nil {
		return nil, err
	}
	return &store{child: c, addr: addr}, nil
}

func pingRedis(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conns, closeAll, err := dialAll(ctx, addr, 1, time.Second)
		if err != nil {
			return err
		}
		defer closeAll()
		if _, err := conns[0].Write(command("PING")); err != nil {
			return err
		}
		answer, err := conns[0].readRESP()
		if err == nil && string(answer) != "+PONG\r\n" {
			err = fmt.Errorf("answered %q", answer)
		}
		return err
	}
}

// fillRedis stores every peer as the recipe would after one hook about it.
func fillRedis(ctx context.Context, addr string, t *truth) error {
	conns, closeAll, err := dialAll(ctx, addr, 1, time.Minute+time.Duration(len(t.state))*20*time.Microsecond)
	if err != nil {
		return err
	}
	defer closeAll()
	c, w := conns[0], newRespWire()
	const batch = 500
	var out []byte
	for first := 0; first < len(t.state); first += batch {
		end := min(first+batch, len(t.state))
		out = out[:0]
		for p := first; p < end; p++ {
			out = append(out, w.hook(p, t.state[p] == online)...)
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
		for range end - first {
			answer, err := c.readRESP()
			if err != nil {
				return err
			}
			if err := w.judge(answer); err != nil {
				return err
			}
		}
	}
	return nil
}

func startRedisMGET(ctx context.Context, r *rig) (*target, error) {
	s, err := r.sharedRedis(ctx)
	if err != nil {
		return nil, err
	}
	return &target{
		addr:    s.addr,
		procs:   []*child{s.child},
		truth:   s.truth,
		wire:    func() wire { return newRespWire() },
		version: redisVersion(ctx),
	}, nil
}

// redisVersion keeps the number of a line like "Redis server v=7.0.15 sha=00000000:0
// malloc=jemalloc-5.3.0 bits=64".
func redisVersion(ctx context.Context) string {
	for _, field := range strings.Fields(output(ctx, "redis-server", "--version")) {
		if version, ok := strings.CutPrefix(field, "v="); ok {
			return "Redis " + version
		}
	}
	return "unknown"
}
