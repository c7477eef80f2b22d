package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

func startNodeRecipe(ctx context.Context, r *rig) (*target, error) {
	return r.startNode(ctx, nameNode)
}

func startNodeExpress(ctx context.Context, r *rig) (*target, error) {
	return r.startNode(ctx, "node-express", "BENCH_TEMPLATE=1")
}

func (r *rig) startNode(ctx context.Context, name string, env ...string) (*target, error) {
	node, err := need("node", "nodejs")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(r.root, "bench", "node-recipe")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "express")); errors.Is(err, fs.ErrNotExist) {
		return nil, &hintError{errors.New("bench/node-recipe has no node_modules (npm ci puts them there)"), setupHint}
	}
	t, err := r.startRecipe(ctx, name, env, node, filepath.Join(dir, "server.js"))
	if err != nil {
		return nil, err
	}
	t.version = "Node " + output(ctx, node, "--version") + ", " + redisVersion(ctx)
	return t, nil
}

func startGoRecipe(ctx context.Context, r *rig) (*target, error) {
	program, err := r.build(ctx, "go-recipe", "bench", "./go-recipe")
	if err != nil {
		return nil, &hintError{err, "it needs its module's dependencies once: bench/setup.sh fetches them"}
	}
	t, err := r.startRecipe(ctx, "go-recipe", nil, program)
	if err != nil {
		return nil, err
	}
	t.version = goVersion(ctx) + ", " + redisVersion(ctx)
	return t, nil
}

// startRecipe starts a form of the recipe beside the Redis that they share. It finds its settings
// where an app on LeanEngine finds them.
func (r *rig) startRecipe(ctx context.Context, name string, extra []string, program string, args ...string) (*target, error) {
	s, err := r.sharedRedis(ctx)
	if err != nil {
		return nil, err
	}
	c, addr, err := r.onFreePort(ctx, func(addr string) (*child, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		env := append(append(credentials(), extra...),
			"LEANCLOUD_APP_PORT="+port,
			"LEANCLOUD_APP_ENV=production",
			"NODE_ENV=production",
			"REDIS_URL_bench=redis://"+s.addr)
		return r.spawn(name, env, program, args...)
	}, pingOf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &target{
		addr:  addr,
		procs: []*child{c, s.child},
		truth: s.truth,
		wire:  func() wire { return newLeancloudWire(addr) },
	}, nil
}
