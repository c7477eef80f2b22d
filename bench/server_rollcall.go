package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// unlimited lets one address ask for all that a server can answer, which the defaults do not.
var unlimited = []string{
	"ROLLCALL_GATE_LIMITS_ASK_PER_SECOND=0", "ROLLCALL_GATE_LIMITS_ASK_PEERS_PER_SECOND=0", "ROLLCALL_GATE_LIMITS_SERVE_PER_SECOND=0",
	"ROLLCALL_PROXIES=127.0.0.0/8",
}

func startRollcall(ctx context.Context, r *rig) (*target, error) {
	return r.startRollcall(ctx, "rollcall", "--data")
}

// startRollcall starts a rollcall with what flags say of its store and fills it. A last flag of
// --data is given a fresh directory.
func (r *rig) startRollcall(ctx context.Context, name string, flags ...string) (*target, error) {
	t, err := r.launchRollcall(ctx, name, flags...)
	if err != nil {
		return nil, err
	}
	t.truth = newTruth(r.o.peers, r.o.seed)
	return t, r.fillRollcall(ctx, name, t)
}

// launchRollcall starts a rollcall and leaves it as empty as its store is.
func (r *rig) launchRollcall(ctx context.Context, name string, flags ...string) (*target, error) {
	if _, err := os.Stat(filepath.Join(r.root, "cmd", "rollcall")); errors.Is(err, fs.ErrNotExist) {
		return nil, &absentError{"there is no cmd/rollcall in this repository yet"}
	}
	program, err := r.build(ctx, "rollcall", ".", "./cmd/rollcall")
	if err != nil {
		return nil, err
	}
	return r.launchProgram(ctx, program, name, flags...)
}

// launchProgram is launchRollcall for a rollcall that is built already.
func (r *rig) launchProgram(ctx context.Context, program, name string, flags ...string) (*target, error) {
	if n := len(flags); n > 0 && flags[n-1] == "--data" {
		dir, err := os.MkdirTemp(r.dir, name+"-")
		if err != nil {
			return nil, err
		}
		flags = append(flags, dir)
	}
	var admin string
	c, addr, err := r.onFreePort(ctx, func(addr string) (*child, error) {
		var err error
		if admin, err = freeAddr(); err != nil {
			return nil, err
		}
		args := append([]string{"serve", "--listen", addr, "--admin", admin}, flags...)
		return r.spawn(name, append(credentials(), unlimited...), program, args...)
	}, func(string) func(context.Context) error {
		return answers200("http://" + admin + "/readyz")
	})
	if err != nil {
		return nil, err
	}
	return &target{
		addr:    addr,
		admin:   admin,
		procs:   []*child{c},
		wire:    func() wire { return newLeancloudWire(addr) },
		version: output(ctx, program, "version"),
	}, nil
}

func (r *rig) fillRollcall(ctx context.Context, name string, t *target) error {
	began := time.Now()
	if err := fillByHooks(ctx, t); err != nil {
		return fmt.Errorf("fill %s by hooks: %w", name, r.explain(ctx, t, err))
	}
	r.say("filled %s with %d peers by hooks in %v", name, r.o.peers, time.Since(began).Round(10*time.Millisecond))
	return nil
}
