package main

import "context"

// The nodes on Redis share one, of their own beside the recipe's; the first fills it. Each is measured with that Redis.
// The first has a near cache for all peers, and is asked about all of them before anything is measured; the second has one that holds next to
// nothing, so that nearly every id is read and kept in vain; the third has none.

func startRollcallWarm(ctx context.Context, r *rig) (*target, error) {
	t, err := r.startOnRedis(ctx, "rollcall-redis", "536870912")
	if err != nil {
		return nil, err
	}
	// The check of every answer asks about the peers that are known; the works ask about unknown ones as well.
	return t, verifyFrom(ctx, t, r.o.conns, len(t.truth.state))
}

func startRollcallCold(ctx context.Context, r *rig) (*target, error) {
	return r.startOnRedis(ctx, "rollcall-redis-cold", "262144")
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
	// A loaded machine may be late; a node that takes that for an outage would be measured for something else.
	url := "redis://" + r.nodes.addr + "?deadline=2s&near_cache=" + nearCache
	t, err := r.launchRollcall(ctx, name, "--data", "", "--store", url)
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
