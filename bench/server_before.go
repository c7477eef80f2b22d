package main

import (
	"context"
	"fmt"
	"os"
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

// buildRevision unpacks a revision beside the run's data and builds its rollcall.
func (r *rig) buildRevision(ctx context.Context, revision string) (string, error) {
	tree, program := filepath.Join(r.dir, "before"), filepath.Join(r.dir, nameBefore)
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", err
	}
	steps := [][]string{
		// The repository may be another user's.
		{"git", "-c", "safe.directory=*", "-C", r.root, "archive", "--format=tar", "-o", tree + ".tar", revision},
		{"tar", "-x", "-f", tree + ".tar", "-C", tree},
		{"go", "build", "-C", tree, "-buildvcs=false", "-o", program, "./cmd/rollcall"},
	}
	for _, s := range steps {
		if out, err := exec.CommandContext(ctx, s[0], s[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build revision %s: %w\n%s", revision, err, out)
		}
	}
	return program, nil
}
