package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// before is rollcall as it was at a revision, on the embedded store. Both builds run in the same
// rounds, so that their ratio says what the changes between them cost.
func before(revision string) server {
	return server{
		name:  nameBefore,
		about: "rollcall serve as it was at " + revision,
		start: func(ctx context.Context, r *rig) (*target, error) {
			program, err := r.buildRevision(ctx, revision)
			if err != nil {
				return nil, err
			}
			t, err := r.launchProgram(ctx, program, nameBefore, "--data")
			if err != nil {
				return nil, err
			}
			t.truth = newTruth(r.o.peers, r.o.seed)
			return t, r.fillRollcall(ctx, nameBefore, t)
		},
	}
}

// buildRevision checks a revision out beside the run's data and builds its rollcall.
func (r *rig) buildRevision(ctx context.Context, revision string) (string, error) {
	tree, program := filepath.Join(r.dir, "before"), filepath.Join(r.dir, nameBefore)
	steps := [][]string{
		{"git", "clone", "--quiet", "--no-checkout", r.root, tree},
		{"git", "-C", tree, "checkout", "--quiet", "--detach", revision},
		{"go", "build", "-C", tree, "-buildvcs=false", "-o", program, "./cmd/rollcall"},
	}
	for _, s := range steps {
		if out, err := exec.CommandContext(ctx, s[0], s[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build revision %s: %w\n%s", revision, err, out)
		}
	}
	return program, nil
}
