package embedded_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// Power that fails at any call takes nothing that was acknowledged, whatever part of the rest had
// reached the disk, and the store starts again; so it does when the power fails once more while it
// starts.
func TestFaultPowerFailsAtEveryCall(t *testing.T) {
	whole := newPowerFS(0)
	powered(t, whole, newWitness(t, nil), embedded.SyncAlways)
	hits := map[string]int{}
	for at := 1; at <= whole.calls+5; at++ {
		for seed := range uint64(powerSeeds) {
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			disk := newPowerFS(at)
			w := newWitness(t, nil)
			powered(t, disk, w, embedded.SyncAlways)
			what := fmt.Sprintf("power off at call %d (%s), seed %d", at, disk.hit, seed)
			hits[disk.hit]++
			disk = disk.again(rng, 1+rng.IntN(60))
			if s, err := powerConfig(disk, embedded.SyncAlways).Open(start); err == nil {
				w.store = s
				w.check(what + ", at the second start")
				w.report(presence.KindOffline, "b0")
				s.Close()
			}
			disk = disk.again(rng, 0)
			s, err := powerConfig(disk, embedded.SyncAlways).Open(start)
			if err != nil {
				t.Fatalf("%s, and at %s: open: %v", what, disk.hit, err)
			}
			w.store = s
			w.check(what)
			if err := w.report(presence.KindOnline, "next"); err != nil {
				t.Errorf("%s: report after the restart: %v", what, err)
			}
			s.Close()
		}
	}
	for _, call := range []string{"write", "sync", "rename", "sync of the directory", "create", "remove"} {
		if hits[call] == 0 {
			t.Errorf("the power never failed at a %s", call)
		}
	}
}

func powerConfig(disk *powerFS, mode embedded.SyncMode) embedded.Setup {
	return embedded.Setup{Config: embedded.Config{SegmentSize: 8 << 10, Retry: time.Hour, Sync: mode, SyncEvery: time.Hour}, Deps: embedded.Deps{Log: discard, Path: "data", FS: disk}}
}

// powered plays the story on a disk as far as its power lasts.
func powered(t *testing.T, disk *powerFS, w *witness, mode embedded.SyncMode) {
	t.Helper()
	s, err := powerConfig(disk, mode).Open(start)
	if err != nil {
		return
	}
	w.store = s
	w.story()
	s.Close()
}

// With SyncInterval the power takes what was not synced yet, in any part; the store starts all the
// same, with all that was.
func TestFaultPowerFailsBetweenIntervals(t *testing.T) {
	whole := newPowerFS(0)
	powered(t, whole, newWitness(t, nil), embedded.SyncInterval)
	taken, torn := 0, 0
	for at := 1; at <= whole.calls+5; at++ {
		for seed := range uint64(powerSeeds) {
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			disk := newPowerFS(0)
			s, err := powerConfig(disk, embedded.SyncInterval).Open(start)
			if err != nil {
				t.Fatal(err)
			}
			old := newWitness(t, s)
			old.report(presence.KindOnline, "old", "older")
			old.report(presence.KindOffline, "older")
			s.Close()
			disk.at = disk.calls + at
			w := newWitness(t, nil)
			powered(t, disk, w, embedded.SyncInterval)
			s, err = powerConfig(disk.again(rng, 0), embedded.SyncInterval).Open(start)
			if err != nil {
				t.Fatalf("power off at call %d (%s), seed %d: open: %v", at, disk.hit, seed, err)
			}
			old.store = s
			old.check(fmt.Sprintf("power off at call %d (%s), seed %d", at, disk.hit, seed))
			for p := range w.acked {
				if status(t, s, w.now, p) != w.acked[p] {
					taken++
				}
			}
			torn += int(s.Stats().TornTails)
			s.Close()
		}
	}
	if taken == 0 || torn == 0 {
		t.Errorf("the power took %d acknowledged reports and tore %d logs: the fault did not take hold", taken, torn)
	}
}

// A hole far from the end was synced long before, interval or not: it is damage, and refused.
func TestAnOldHoleIsDamageWithIntervalsToo(t *testing.T) {
	for _, tt := range []struct {
		gap     time.Duration
		damaged bool
	}{{time.Second, false}, {time.Minute, true}} {
		disk := newPowerFS(0)
		cfg := powerConfig(disk, embedded.SyncInterval)
		cfg.SyncEvery = 100 * time.Millisecond
		s, err := cfg.Open(start)
		if err != nil {
			t.Fatal(err)
		}
		w := newWitness(t, s)
		w.report(presence.KindOnline, "tom")
		w.report(presence.KindOnline, "ann")
		w.now = w.now.Add(tt.gap)
		w.report(presence.KindOnline, "bob")
		disk.mu.Lock() // maintain makes its spare meanwhile
		tip := disk.names["data/tip"]
		disk.mu.Unlock()
		s.Close()
		disk.names["data/tip"] = tip // as after a loss of power, not a clean stop
		disk.names["data/log-0000000001.seg"].data[50] ^= 1
		s, err = cfg.Open(start)
		var damage *embedded.DamageError
		if errors.As(err, &damage) != tt.damaged {
			t.Errorf("a hole %v before the end: %v", tt.gap, err)
		}
		if err == nil {
			if n := s.Stats().TornTails; n != 1 {
				t.Errorf("%d torn tails are counted", n)
			}
			s.Close()
		}
	}
}
