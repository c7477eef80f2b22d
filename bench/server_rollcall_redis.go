package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The nodes on Redis share one, of their own beside the recipe's; the first fills it. Each is
// measured with that Redis. The first has a near cache for all peers, and is asked about all of
// them before each window that others' hooks have come before; the second has one that holds next
// to nothing, so that nearly every id is read and kept in vain; the third has none.

func startRollcallWarm(ctx context.Context, r *rig) (*target, error) {
	t, err := r.startOnRedis(ctx, "rollcall-redis", "536870912")
	if err != nil {
		return nil, err
	}
	t.cached = t.nearCache
	warmAt := -1
	t.prepare = func(ctx context.Context) error {
		if warmAt == t.truth.hooks {
			return nil
		}
		warmAt = t.truth.hooks
		// The works ask about unknown peers too: the next so many ids.
		return errors.Join(verifyFrom(ctx, t, r.o.conns, 0), verifyFrom(ctx, t, r.o.conns, len(t.truth.state)))
	}
	return t, nil
}

func startRollcallCold(ctx context.Context, r *rig) (*target, error) {
	t, err := r.startOnRedis(ctx, "rollcall-redis-cold", "262144")
	if err != nil {
		return nil, err
	}
	t.cached = t.nearCache
	return t, nil
}

// nearCache asks a node what its near cache has answered since it started, and what it has not.
func (t *target) nearCache(ctx context.Context) (hits, misses float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	found := 0
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		for name, to := range map[string]*float64{"near_cache_hits": &hits, "near_cache_misses": &misses} {
			if v, ok := strings.CutPrefix(in.Text(), `rollcall_store{count="`+name+`"} `); ok {
				if *to, err = strconv.ParseFloat(v, 64); err != nil {
					return 0, 0, err
				}
				found++
			}
		}
	}
	if found != 2 {
		return 0, 0, fmt.Errorf("the metrics of %s have %d of the two counts of its near cache", t.name, found)
	}
	return hits, misses, nil
}

func startRollcallUncached(ctx context.Context, r *rig) (*target, error) {
	return r.startOnRedis(ctx, "rollcall-redis-nocache", "0")
}

func (r *rig) startOnRedis(ctx context.Context, name, nearCache string) (*target, error) {
	first := r.nodes == nil
	if first {
		s, err := r.startRedis(ctx)
		if err != nil {
			return nil, err
		}
		s.truth = newTruth(r.o.peers, r.o.seed)
		r.nodes = s
	}
	// A loaded machine may be late; a node that takes that for an outage would be measured for
	// something else.
	t, err := r.launchRollcall(ctx, name, "--data", "", "--store", "redis://"+r.nodes.addr,
		"--set", "redis.deadline=2s", "--set", "redis.near_cache="+nearCache)
	if err != nil {
		return nil, err
	}
	t.procs = append(t.procs, r.nodes.child)
	t.truth = r.nodes.truth
	t.version += ", " + redisVersion(ctx)
	if !first {
		return t, nil
	}
	return t, r.fillRollcall(ctx, name, t)
}
