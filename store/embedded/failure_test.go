package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

var discard = slog.New(slog.NewTextHandler(io.Discard, nil))

// A witness reports peers and remembers what was acknowledged.
type witness struct {
	t     testing.TB
	store *embedded.Store
	now   presence.Millis
	acked map[string]presence.Status
	rules presence.Rules
}

func newWitness(t testing.TB, s *embedded.Store) *witness {
	return &witness{t: t, store: s, now: start, acked: map[string]presence.Status{}, rules: presence.DefaultRules()}
}

func (w *witness) report(kind presence.Kind, peers ...string) error {
	w.now += 10
	keys := make([]presence.Key, len(peers))
	for i, p := range peers {
		keys[i] = presence.Key{App: "app", Peer: presence.PeerID(p)}
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	err := w.store.Update(ctx, keys, w.now, func(i int, st *presence.State) presence.Effect {
		_, e := st.Apply(&presence.Report{
			App: "app", Peer: keys[i].Peer, Source: presence.SourceAPI, Session: "s", Kind: kind, At: w.now,
		}, w.now, &w.rules)
		return e
	})
	for _, p := range peers {
		switch {
		case err != nil:
			// Not acknowledged: either answer is right from now on.
			delete(w.acked, p)
		case kind == presence.KindOnline:
			w.acked[p] = presence.Online
		default:
			w.acked[p] = presence.Offline
		}
	}
	if err != nil && !errors.Is(err, presence.ErrUnavailable) && !errors.Is(err, presence.ErrFull) {
		w.t.Errorf("report: %v matches neither ErrUnavailable nor ErrFull", err)
	}
	return err
}

// check says that all that was acknowledged is there.
func (w *witness) check(what string) {
	w.t.Helper()
	for p, want := range w.acked {
		if got := status(w.t, w.store, w.now, p); got != want {
			w.t.Errorf("%s: %s is %v, acknowledged was %v", what, p, got, want)
		}
	}
}

func status(t testing.TB, s *embedded.Store, now presence.Millis, peer string) presence.Status {
	t.Helper()
	out := make([]presence.Status, 1)
	if _, err := s.Statuses(t.Context(), "app", [][]byte{[]byte(peer)}, now, out); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// story is a run in which a store does everything that touches files: it starts, takes reports,
// fills segments, compacts, and closes.
func (w *witness) story() {
	for i := range 6 {
		w.report(presence.KindOnline, fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	w.report(presence.KindOffline, "a1")
	w.store.Snapshot() // may fail: that is the point
	w.report(presence.KindOnline, "c1")
	w.report(presence.KindOffline, "a2", "a3")
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprint("many", i))
	}
	for range 3 {
		w.report(presence.KindOnline, many...) // more than a segment
		w.report(presence.KindOffline, many[:5]...)
	}
}

// untilAccepted reports until the store takes it: recovery is automatic.
func (w *witness) untilAccepted(what string) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; w.report(presence.KindOnline, fmt.Sprint("after", i)) != nil; i++ {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: the store never took a report again: %s", what, w.store.Stats().ReadOnly)
		}
	}
}

// calls counts the calls of a story without faults.
func calls(t *testing.T) int {
	fs := &faultFS{noSync: true}
	cfg := quiet(t)
	cfg.FS = fs
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	newWitness(t, s).story()
	s.Close()
	return fs.calls
}

func TestFaultEveryCallOfTheDiskMayFailOnce(t *testing.T) {
	n := calls(t)
	for _, fault := range []struct {
		name string
		err  error
		half bool
	}{
		{"EIO", syscall.EIO, false},
		{"ENOSPC", syscall.ENOSPC, false},
		{"half a write, then EIO", syscall.EIO, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for at := 1; at <= n+5; at += stride {
				fs := &faultFS{noSync: true, at: at, err: fault.err, half: fault.half}
				storyWith(t, fs, fmt.Sprintf("call %d", at))
			}
		})
	}
}

func TestFaultEveryCallOfTheDiskMayFailFromOneOn(t *testing.T) {
	n := calls(t)
	for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(err.Error(), func(t *testing.T) {
			for at := 1; at <= n+5; at += stride {
				fs := &faultFS{noSync: true, at: at, err: err, onward: true}
				storyWith(t, fs, fmt.Sprintf("from call %d on", at))
			}
		})
	}
}

// storyWith runs the story over a faulty disk, heals it, and looks at the disk through sound
// glasses.
func storyWith(t *testing.T, fs *faultFS, what string) {
	t.Helper()
	cfg := quiet(t)
	cfg.FS, cfg.Retry = fs, time.Millisecond
	s, err := cfg.Open(start)
	if err != nil {
		// It may refuse to start, but a sound disk must then do.
		fs.heal()
		if s, err = cfg.Open(start); err != nil {
			t.Fatalf("%s (%s): open after the fault: %v", what, fs.struck(), err)
		}
	}
	w := newWitness(t, s)
	w.story()
	what = fmt.Sprintf("%s (%s)", what, fs.struck())
	w.check(what + ", while it fails")
	fs.heal()
	w.untilAccepted(what)
	w.check(what + ", when it is mended")
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
	cfg.FS = &faultFS{noSync: true}
	if w.store, err = cfg.Open(start); err != nil {
		t.Fatalf("%s: open again: %v", what, err)
	}
	w.check(what + ", after a restart")
	if n := w.store.Stats().TornTails; n != 0 {
		t.Errorf("%s: %d torn tails after an orderly end", what, n)
	}
	w.store.Close()
}

// A process that dies at a call is a disk on which nothing happens any more from that call on.
func TestFaultAProcessMayDieAtEveryCall(t *testing.T) {
	n := calls(t)
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprintf("the last call took effect: %t", half), func(t *testing.T) {
			for at := 1; at <= n+5; at += stride {
				fs := &faultFS{noSync: true, at: at, err: syscall.EIO, onward: true, half: half, dies: true}
				dies(t, fs, at)
			}
		})
	}
}

func dies(t *testing.T, fs *faultFS, at int) {
	t.Helper()
	cfg := quiet(t)
	cfg.FS, cfg.Retry = fs, time.Hour
	w := newWitness(t, nil)
	s, err := cfg.Open(start)
	if err == nil {
		w.store = s
		w.story()
		s.Close()
	}
	what := fmt.Sprintf("dead at call %d (%s)", at, fs.struck())
	cfg.FS = &faultFS{noSync: true}
	if w.store, err = cfg.Open(start); err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	w.check(what)
	if err := w.report(presence.KindOnline, "next"); err != nil {
		t.Errorf("%s: report after the restart: %v", what, err)
	}
	w.store.Close()
}

func TestMemoryIsBounded(t *testing.T) {
	empty := open(t, embedded.Setup{}).Stats().Used
	s := open(t, embedded.Setup{Config: embedded.Config{MaxMemory: empty + 64<<10}})
	w := newWitness(t, s)
	var err error
	n := 0
	for ; err == nil && n < 100_000; n++ {
		err = w.report(presence.KindOnline, fmt.Sprint("peer", n))
	}
	if !errors.Is(err, presence.ErrFull) {
		t.Fatalf("after %d peers: %v, want ErrFull", n, err)
	}
	if err := w.report(presence.KindOffline, "peer0"); err != nil {
		t.Errorf("a report of a known peer: %v", err)
	}
	w.check("at the bound")
}

func TestConfigNamesEveryMistake(t *testing.T) {
	cfg := embedded.Setup{Config: embedded.Config{Sync: 7, SyncEvery: -1, SegmentSize: 1, MaxMemory: -1, MaxQueue: -1, Retry: -1}}
	_, err := cfg.Open(start)
	if err == nil {
		t.Fatal("a config of mistakes is valid")
	}
	if strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("%v, want six mistakes", err)
	}
}
