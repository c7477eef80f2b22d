package embedded_test

import (
	"syscall"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

const start presence.Millis = 1_772_600_767_000

func open(t testing.TB, cfg embedded.Setup) *embedded.Store {
	t.Helper()
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestStoreInMemory(t *testing.T) {
	storetest.RunVolatile(t, func(t testing.TB) storetest.Harness {
		return storetest.Harness{Store: open(t, embedded.Setup{})}
	})
}

func TestStoreOnDisk(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		return onDisk(t, embedded.Setup{Config: embedded.Config{SegmentSize: 64 << 10}, Deps: embedded.Deps{Path: t.TempDir()}})
	})
}

func TestStoreOnDiskSyncedInIntervals(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		return onDisk(t, embedded.Setup{Config: embedded.Config{Sync: embedded.SyncInterval, SyncEvery: 5 * time.Millisecond}, Deps: embedded.Deps{Path: t.TempDir()}})
	})
}

// onDisk is a harness whose store comes back from its directory. Killed is a store whose disk takes
// nothing any more, not even what it would do to end in order.
func onDisk(t testing.TB, cfg embedded.Setup) storetest.Harness {
	fs := &faultFS{err: syscall.EIO}
	cfg.FS, cfg.Log = fs, discard
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	again := func(now presence.Millis) presence.Store {
		t.Helper()
		var err error
		if s, err = cfg.Open(now); err != nil {
			t.Fatal(err)
		}
		return s
	}
	return storetest.Harness{
		Store: s,
		Reopen: func(now presence.Millis) presence.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			return again(now)
		},
		Kill: func(now presence.Millis) presence.Store {
			t.Helper()
			fs.die()
			// A sync in the background may have met the dead disk first; then closing has nothing
			// to add.
			if err := s.Close(); err == nil && cfg.Sync == embedded.SyncAlways {
				t.Error("a store without a disk closed as if nothing were")
			}
			fs.heal()
			return again(now)
		},
	}
}
