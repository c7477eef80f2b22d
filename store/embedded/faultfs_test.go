package embedded_test

import (
	"errors"
	"io"
	"sync"
	"testing"

	"rollcall/internal/disk"
	"rollcall/store/embedded"
)

// A faultFS is the real file system with a fault at one call, or from one call on.
type faultFS struct {
	disk.OS
	noSync bool // for tests that care about content and open thousands of stores

	mu    sync.Mutex
	calls int
	// at is the call that fails, from 1; zero for none. With onward all after it fail too, until
	// heal.
	at     int
	onward bool
	err    error
	// half lets a failing write write half of its bytes, and any other failing call take effect.
	half bool
	dies bool   // only the first failing call takes effect
	hit  string // what failed first
}

// step counts a call and says whether it fails, and whether it takes effect all the same.
func (f *faultFS) step(what string) (fails, half bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.at == 0 || f.calls != f.at && !(f.onward && f.calls > f.at) {
		return false, false
	}
	if f.hit == "" {
		f.hit = what
	}
	return true, f.half && !(f.dies && f.calls > f.at)
}

// fails is step for calls that have no effect to speak of.
func (f *faultFS) fails(what string) bool {
	fails, _ := f.step(what)
	return fails
}

// die has every call fail from now on.
func (f *faultFS) die() {
	f.mu.Lock()
	f.at, f.onward = f.calls+1, true
	f.mu.Unlock()
}

func (f *faultFS) heal() {
	f.mu.Lock()
	f.at = 0
	f.mu.Unlock()
}

func (f *faultFS) struck() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// do runs a call that may fail.
func (f *faultFS) do(what string, call func() error) error {
	fails, half := f.step(what)
	switch {
	case !fails:
		return call()
	case half:
		return errors.Join(f.err, call())
	}
	return f.err
}

func (f *faultFS) MkdirAll(dir string) error {
	return f.do("mkdir", func() error { return f.OS.MkdirAll(dir) })
}

func (f *faultFS) Lock(name string) (io.Closer, error) {
	if f.fails("lock") {
		return nil, f.err
	}
	return f.OS.Lock(name)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if f.fails("list") {
		return nil, f.err
	}
	return f.OS.List(dir)
}

func (f *faultFS) Create(name string) (disk.File, error) {
	if f.fails("create") {
		return nil, f.err
	}
	return f.file(f.OS.Create(name))
}

func (f *faultFS) Open(name string) (disk.File, error) {
	if f.fails("open") {
		return nil, f.err
	}
	return f.file(f.OS.Open(name))
}

func (f *faultFS) file(file disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}

func (f *faultFS) Rename(from, to string) error {
	return f.do("rename", func() error { return f.OS.Rename(from, to) })
}

func (f *faultFS) Remove(name string) error {
	return f.do("remove", func() error { return f.OS.Remove(name) })
}

func (f *faultFS) SyncDir(dir string) error {
	return f.do("sync of the directory", func() error {
		if f.noSync {
			return nil
		}
		return f.OS.SyncDir(dir)
	})
}

type faultFile struct {
	disk.File
	fs *faultFS
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if f.fs.fails("read") {
		return 0, f.fs.err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	fails, half := f.fs.step("write")
	switch {
	case !fails:
		return f.File.WriteAt(b, off)
	case half:
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, f.fs.err
	}
	return 0, f.fs.err
}

func (f *faultFile) Sync() error {
	return f.fs.do("sync", func() error {
		if f.fs.noSync {
			return nil
		}
		return f.File.Sync()
	})
}

func (f *faultFile) Allocate(size int64) error {
	return f.fs.do("allocate", func() error { return f.File.Allocate(size) })
}

func (f *faultFile) Truncate(size int64) error {
	return f.fs.do("truncate", func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Size() (int64, error) {
	if f.fs.fails("stat") {
		return 0, f.fs.err
	}
	return f.File.Size()
}

func (f *faultFile) Close() error {
	f.fs.fails("close")
	return f.File.Close()
}

// quiet keeps expected complaints out of the output.
func quiet(t testing.TB) embedded.Setup {
	return embedded.Setup{Config: embedded.Config{SegmentSize: 8 << 10}, Deps: embedded.Deps{Log: discard, Path: t.TempDir()}}
}
