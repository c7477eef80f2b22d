package main

import (
	"context"
	"fmt"
	"strings"
)

func startConstant(ctx context.Context, r *rig) (*target, error) {
	program, err := r.build(ctx, "constant", "bench", "./constant")
	if err != nil {
		return nil, err
	}
	var answers []string
	for _, w := range works {
		if w.ids > 0 {
			answers = append(answers, fmt.Sprintf("%d=%d", len(queryBody(w.ids)), answerSize(w.ids)))
		}
	}
	c, addr, err := r.onFreePort(ctx, func(addr string) (*child, error) {
		return r.spawn("constant", nil, program, "-listen", addr, "-answers", strings.Join(answers, ","))
	}, pingOf)
	if err != nil {
		return nil, err
	}
	return &target{
		addr:    addr,
		procs:   []*child{c},
		truth:   newTruth(r.o.peers, r.o.seed),
		wire:    func() wire { return constantWire{newLeancloudWire(addr)} },
		version: goVersion(ctx),
		blind:   true,
	}, nil
}

// pingOf probes a server that answers LeanEngine's ping.
func pingOf(addr string) func(context.Context) error {
	return answers200("http://" + addr + "/__engine/1/ping")
}

func goVersion(ctx context.Context) string { return output(ctx, "go", "env", "GOVERSION") }
