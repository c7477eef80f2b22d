package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// A rig is what a run stands on: a directory, the programs built for it and the children that are
// alive.
type rig struct {
	root     string // of the repository
	dir      string // of this run; goes when the run ends
	o        options
	log      io.Writer
	children []*child // in the order of their start
	redis    *store   // shared by the servers of the recipe; nil until one of them needs it
	nodes    *store   // shared by the rollcall nodes on Redis, likewise
	skipped  []string // remarks on servers that cannot run yet
}

// A store holds peers for one or more servers.
type store struct {
	child *child
	addr  string
	truth *truth
}

func newRig(o options, log io.Writer) (*rig, error) {
	if err := checkHost(); err != nil {
		return nil, err
	}
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.dir, "rollcall-bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	return &rig{root: root, dir: dir, o: o, log: log}, nil
}

// close ends all children, the youngest first, and removes what the run wrote.
func (r *rig) close() error {
	for _, c := range slices.Backward(r.children) {
		c.stop()
	}
	return os.RemoveAll(r.dir)
}

func (r *rig) say(format string, args ...any) { fmt.Fprintf(r.log, format+"\n", args...) }

// findRoot looks for the repository upwards from the working directory.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	module := regexp.MustCompile(`(?m)^module rollcall\s*$`)
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && module.Match(b) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the repository of rollcall: no go.mod of module rollcall upwards from here")
		}
		dir = up
	}
}

// start brings up the chosen servers and checks that their answers are right before anything is
// measured.
func (r *rig) start(ctx context.Context) ([]*target, error) {
	var targets []*target
	for _, s := range r.o.servers {
		began := time.Now()
		t, err := s.start(ctx, r)
		var absent *absentError
		if errors.As(err, &absent) && !r.o.named {
			r.skipped = append(r.skipped, fmt.Sprintf("%s is left out: %v", s.name, absent))
			r.say("%s", r.skipped[len(r.skipped)-1])
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				err = errors.New("stopped")
			}
			return nil, fmt.Errorf("start %s: %w", s.name, err)
		}
		t.name, t.about = s.name, s.about
		targets = append(targets, t)
		r.say("started %s in %v", s.name, time.Since(began).Round(10*time.Millisecond))
	}
	return targets, r.verify(ctx, targets)
}

// verify asks about every peer of every store once.
func (r *rig) verify(ctx context.Context, targets []*target) error {
	seen := map[*truth]bool{}
	for _, t := range targets {
		if t.blind || seen[t.truth] {
			continue
		}
		seen[t.truth] = true
		if err := verify(ctx, t, r.o.conns); err != nil {
			return fmt.Errorf("check every peer with %s: %w", t.name, r.explain(ctx, t, err))
		}
	}
	return nil
}

// explain turns the error of a connection into its cause, when that is known.
func (r *rig) explain(ctx context.Context, t *target, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	for _, c := range t.procs {
		// The connection breaks a moment before the kernel has reported the death behind it.
		select {
		case <-c.done:
		case <-time.After(100 * time.Millisecond):
		}
		if gone := c.ended(); gone != nil {
			return fmt.Errorf("%w (%w)", gone, err)
		}
	}
	return err
}

// build compiles a program of this repository into the run's directory. dir is the module that it
// belongs to.
func (r *rig) build(ctx context.Context, name, dir, pkg string) (string, error) {
	out := filepath.Join(r.dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", out, pkg)
	cmd.Dir = filepath.Join(r.root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, bytes.TrimSpace(b))
	}
	return out, nil
}

// output is the first line that a program prints, for the versions in the report.
func output(ctx context.Context, program string, args ...string) string {
	b, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(bytes.TrimSpace(line))
}
