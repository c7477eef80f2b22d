//go:build faults && linux

package embedded_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// A real disk that is full, filled and freed while reports come: a tmpfs of a few MiB, so it needs
// root.
func TestFaultAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("rollcall-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a tmpfs: %v (this test needs root)", err)
	}
	defer syscall.Unmount(dir, 0)
	cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 256 << 10, Retry: 10 * time.Millisecond}, Deps: embedded.Deps{Path: filepath.Join(dir, "store"), Log: discard}}
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	w := newWitness(t, s)
	n := 0
	report := func() error { n++; return w.report(presence.KindOnline, fmt.Sprint("peer", n%3000)) }
	for round := range 5 {
		for range 200 {
			if err := report(); err != nil {
				t.Fatalf("round %d: report with room on the disk: %v", round, err)
			}
		}
		ballast := fill(t, filepath.Join(dir, "ballast"))
		refused := 0
		for range 20_000 {
			if err := report(); err != nil {
				if !errors.Is(err, presence.ErrFull) && !errors.Is(err, presence.ErrUnavailable) {
					t.Fatalf("a report on a full disk: %v", err)
				}
				if refused++; refused > 20 {
					break
				}
			}
		}
		if refused == 0 {
			t.Fatalf("round %d: nothing was refused on a full disk of 4 MiB", round)
		}
		w.check("while the disk is full")
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		w.untilAccepted("when space returns")
		w.check("when space returns")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if w.store, err = cfg.Open(start); err != nil {
		t.Fatal(err)
	}
	w.check("after a restart")
	w.store.Close()
}

// The defaults are for disks of any size: on one of 8 MiB the store works, compacts, and comes back
// when it was full.
func TestFaultASmallDiskWithDefaults(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("rollcall-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("mount a tmpfs: %v (this test needs root)", err)
	}
	defer syscall.Unmount(dir, 0)
	s, err := embedded.Setup{Config: embedded.Config{Retry: 10 * time.Millisecond}, Deps: embedded.Deps{Path: filepath.Join(dir, "store"), Log: discard}}.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	w := newWitness(t, s)
	ballast := ""
	for i := range 100_000 { // more than the disk holds, were it not compacted
		switch err := w.report(presence.KindOnline, fmt.Sprint("peer", i%300)); {
		case err == nil:
		case i > 50_000 && ballast != "" && errors.Is(err, presence.ErrFull):
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			w.untilAccepted("when space returns")
			ballast = ""
		default:
			t.Fatalf("report %d: %v", i, err)
		}
		if i == 50_000 {
			ballast = fill(t, filepath.Join(dir, "ballast"))
		}
	}
	if ballast != "" {
		t.Error("nothing was refused on a full disk")
	}
	w.check("at the end")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// fill takes all the room there is.
func fill(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return name
}
