package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/disk"
	"rollcall/presence"
)

func TestAFailedSyncIsNeverTriedAgainOnTheSameFile(t *testing.T) {
	cfg := quiet(t)
	fs := &syncFS{}
	cfg.FS, cfg.Retry = fs, time.Millisecond
	s := open(t, cfg)
	w := newWitness(t, s)
	if err := w.report(presence.KindOnline, "tom"); err != nil {
		t.Fatal(err)
	}
	fs.fail(logOne)
	if err := w.report(presence.KindOnline, "ann"); !errors.Is(err, presence.ErrUnavailable) {
		t.Fatalf("a report whose sync fails: %v, want ErrUnavailable", err)
	}
	if got := status(t, s, w.now, "ann"); got != presence.Unknown {
		t.Errorf("ann is %v, and was never acknowledged", got)
	}
	w.untilAccepted("after the sync failed")
	w.check("after the sync failed")
	if n := fs.failed(); n != 1 {
		t.Errorf("the segment was synced %d times from its failure on, want once", n)
	}
	if st := s.Stats(); st.Snapshots != 1 || st.Segment != 2 || st.ReadOnly != "" {
		t.Errorf("stats are %+v, want a snapshot, segment 2 and no failure", st)
	}
}

// syncFS fails every sync of the file that has a name when it is set to.
type syncFS struct {
	disk.OS
	mu     sync.Mutex
	names  map[*syncFile]string
	broken *syncFile
	syncs  int
}

func (f *syncFS) fail(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, n := range f.names {
		if filepath.Base(n) == name {
			f.broken = file
		}
	}
}

func (f *syncFS) failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs
}

func (f *syncFS) file(name string, file disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		f.names = map[*syncFile]string{}
	}
	sf := &syncFile{file, f}
	f.names[sf] = name
	return sf, nil
}

func (f *syncFS) Open(name string) (disk.File, error) {
	file, err := f.OS.Open(name)
	return f.file(name, file, err)
}

func (f *syncFS) Create(name string) (disk.File, error) {
	file, err := f.OS.Create(name)
	return f.file(name, file, err)
}

func (f *syncFS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, n := range f.names {
		if n == from {
			f.names[file] = to
		}
	}
	return f.OS.Rename(from, to)
}

type syncFile struct {
	disk.File
	fs *syncFS
}

func (f *syncFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.broken == f {
		f.fs.syncs++
		return syscall.EIO
	}
	return f.File.Sync()
}

func TestLeasesGoOnWhileTheDiskFails(t *testing.T) {
	cfg := quiet(t)
	fs := &faultFS{}
	cfg.FS, cfg.Retry = fs, time.Hour
	s := open(t, cfg)
	w := newWitness(t, s)
	if err := w.report(presence.KindOnline, "tom"); err != nil {
		t.Fatal(err)
	}
	received := make(chan presence.Key, 10)
	defer s.Listen(func(keys []presence.Key) {
		for _, k := range keys {
			received <- k
		}
	})()
	fs.mu.Lock()
	fs.at, fs.onward, fs.err = fs.calls+1, true, syscall.ENOSPC
	fs.mu.Unlock()
	if err := w.report(presence.KindOnline, "ann"); !errors.Is(err, presence.ErrFull) {
		t.Errorf("a report on a full disk: %v, want ErrFull", err)
	}
	if s.Stats().ReadOnly == "" {
		t.Error("the stats do not say that the store is read-only")
	}
	service := presence.NewService(s, presence.DefaultConfig())
	later := w.now.Add(8 * 24 * time.Hour)
	turned, err := service.Sweep(t.Context(), later)
	if err != nil || turned != 1 {
		t.Errorf("the sweep turned %d peers: %v; want 1", turned, err)
	}
	if got := status(t, s, later, "tom"); got != presence.Offline {
		t.Errorf("tom is %v, want offline", got)
	}
	if k := <-received; k.Peer != "tom" {
		t.Errorf("a signal about %s came, want tom", k.Peer)
	}
	fs.heal()
}

func TestASlowDiskBoundsTheQueue(t *testing.T) {
	cfg := quiet(t)
	block := make(chan struct{})
	cfg.FS, cfg.MaxQueue = &slowFS{block: block}, 3
	s := open(t, cfg)
	w := newWitness(t, s)
	w.store.Stats()
	results := make(chan error, 20)
	for i := range 20 {
		go func() {
			key := []presence.Key{{App: "app", Peer: presence.PeerID(fmt.Sprint("p", i))}}
			results <- s.Update(t.Context(), key, start, func(_ int, st *presence.State) presence.Effect {
				st.Status, st.Since, st.Until = presence.Online, start, start+1000
				st.Sessions = []presence.Session{{Source: "api", ID: "s", At: start, Start: start, Until: start + 1000}}
				return presence.Shown
			})
		}()
	}
	refused := 0
	for refused < 5 { // some are refused while the disk stands still
		if err := <-results; !errors.Is(err, presence.ErrFull) {
			t.Fatalf("an update came back with %v while the disk stands still", err)
		}
		refused++
	}
	if got := status(t, s, start, "noone"); got != presence.Unknown {
		t.Errorf("a peer without reports is %v", got)
	}
	if st := s.Stats(); st.Queued != 3 || st.Segment != 1 {
		t.Errorf("the stats are %+v while the disk hangs", st)
	}
	close(block)
	for range 20 - refused {
		if err := <-results; err != nil && !errors.Is(err, presence.ErrFull) {
			t.Errorf("update: %v", err)
		}
	}
}

// slowFS holds up every write of a frame.
type slowFS struct {
	disk.OS
	block chan struct{}
}

func (f *slowFS) Create(name string) (disk.File, error) {
	file, err := f.OS.Create(name)
	return &slowFile{file, f}, err
}

func (f *slowFS) Open(name string) (disk.File, error) {
	file, err := f.OS.Open(name)
	return &slowFile{file, f}, err
}

type slowFile struct {
	disk.File
	fs *slowFS
}

func (f *slowFile) WriteAt(b []byte, off int64) (int, error) {
	if off > 0 {
		<-f.fs.block
	}
	return f.File.WriteAt(b, off)
}

func TestACallerMayStopWaiting(t *testing.T) {
	cfg := quiet(t)
	block := make(chan struct{})
	cfg.FS = &slowFS{block: block}
	s := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	merges := 0
	err := s.Update(ctx, []presence.Key{{App: "app", Peer: "tom"}}, start, func(_ int, st *presence.State) presence.Effect {
		merges++ // a race with the read below, were it called after Update has returned
		st.Status, st.Since, st.Until = presence.Online, start, start+1000
		return presence.Shown
	})
	if !errors.Is(err, presence.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("update: %v, want ErrUnavailable and the deadline", err)
	}
	if merges > 1 {
		t.Errorf("merged %d times", merges)
	}
	close(block)
}
