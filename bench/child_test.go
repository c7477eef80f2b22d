package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testRig(t *testing.T) *rig {
	t.Helper()
	if err := checkHost(); err != nil {
		t.Fatal(err)
	}
	r, err := newRig(options{dir: t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestClosingTheRigLeavesNothing(t *testing.T) {
	r := testRig(t)
	// The leader and its own child both ignore the gentle signal.
	c, err := r.spawn("stubborn", nil, "/bin/sh", "-c", `trap "" TERM; sleep 300 & echo $!; wait; wait`)
	if err != nil {
		t.Fatal(err)
	}
	var grandchild int
	for deadline := time.Now().Add(10 * time.Second); grandchild == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(c.log)
		if err != nil {
			t.Fatal(err)
		}
		if line, ok := strings.CutSuffix(string(b), "\n"); ok {
			if grandchild, err = strconv.Atoi(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !alive(c.pid()) || !alive(grandchild) {
		t.Fatalf("not running: %d, %d", c.pid(), grandchild)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if alive(c.pid()) {
		t.Error("the child lives")
	}
	for deadline := time.Now().Add(10 * time.Second); alive(grandchild); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) { // its new parent needs a moment to reap it
			t.Fatal("the child's child lives")
		}
	}
	if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there (%v)", err)
	}
}

func TestAChildThatEndsSaysWhy(t *testing.T) {
	r := testRig(t)
	defer r.close()
	never := func(string) func(context.Context) error {
		return func(context.Context) error { return errors.New("no answer") }
	}
	starts := 0
	_, _, err := r.onFreePort(t.Context(), func(addr string) (*child, error) {
		starts++
		return r.spawn("short", nil, "/bin/sh", "-c", "echo cannot listen on "+addr+" >&2; exit 3")
	}, never)
	if err == nil || !strings.Contains(err.Error(), "cannot listen on 127.0.0.1:") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want its status and its words", err)
	}
	if starts != 3 {
		t.Errorf("%d ports were tried, want 3", starts)
	}
}

func TestChildrenSeeACleanEnvironment(t *testing.T) {
	t.Setenv("GOGC", "50")
	r := testRig(t)
	defer r.close()
	c, err := r.spawn("env", []string{"A=b"}, "/usr/bin/env")
	if err != nil {
		t.Fatal(err)
	}
	<-c.done
	b, err := os.ReadFile(c.log)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(b); !strings.Contains(s, "A=b\n") || strings.Contains(s, "GOGC") || !strings.Contains(s, "PATH=") {
		t.Errorf("it sees %s", s)
	}
}

func TestAMissingProgramIsNamedWithAHint(t *testing.T) {
	_, err := need("no-such-program", "some-package")
	var hint *hintError
	if !errors.As(err, &hint) || !strings.Contains(err.Error(), "some-package") || !strings.Contains(hint.hint, "setup.sh") {
		t.Errorf("got %v", err)
	}
}

// The whole road with a real Redis.
func TestFillRedis(t *testing.T) {
	r := testRig(t)
	defer r.close()
	r.o = options{peers: 3000, seed: 1}
	tg, err := startRedisMGET(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), tg, 4); err != nil {
		t.Error(err)
	}
	s, err := closedLoop(t.Context(), closed(tg, work{ids: 20, hooks: 50}))
	if err != nil {
		t.Fatal(err)
	}
	if s.cpu() <= 0 || s.rss < 1<<20 {
		t.Errorf("measured %v µs and %d bytes", s.cpu(), s.rss)
	}
	if err := verify(t.Context(), tg, 4); err != nil {
		t.Error(err)
	}
}
