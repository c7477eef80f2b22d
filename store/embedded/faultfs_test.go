package embedded_test

import (
	"errors"
	"io"
	"sync"
	"testing"

	"rollcall/store/embedded"
)

// A faultFS is the real file system with a fault at one call, or from one call on.
type faultFS struct {
	embedded.OS
	noSync bool // for tests that care about content and open thousands of stores

	mu    sync.Mutex
	calls int
	// at is the call that fails, from 1; zero for none. With onward all after it fail too, until heal.
	at     int
	onward bool
	err    error
	// half lets a failing write write half of its bytes, and any other failing call take effect.
	half bool
	hit  string // what failed first
}

// step counts a call and says whether it fails.
func (f *faultFS) step(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.at == 0 || f.calls != f.at && !(f.onward && f.calls > f.at) {
		return false
	}
	if f.hit == "" {
		f.hit = what
	}
	return true
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
	if !f.step(what) {
		return call()
	}
	if f.half {
		return errors.Join(f.err, call())
	}
	return f.err
}

func (f *faultFS) MkdirAll(dir string) error {
	return f.do("mkdir", func() error { return f.OS.MkdirAll(dir) })
}

func (f *faultFS) Lock(name string) (io.Closer, error) {
	if f.step("lock") {
		return nil, f.err
	}
	return f.OS.Lock(name)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if f.step("list") {
		return nil, f.err
	}
	return f.OS.List(dir)
}

func (f *faultFS) Create(name string) (embedded.File, error) {
	if f.step("create") {
		return nil, f.err
	}
	return f.file(f.OS.Create(name))
}

func (f *faultFS) Open(name string) (embedded.File, error) {
	if f.step("open") {
		return nil, f.err
	}
	return f.file(f.OS.Open(name))
}

func (f *faultFS) file(file embedded.File, err error) (embedded.File, error) {
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
	embedded.File
	fs *faultFS
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if f.fs.step("read") {
		return 0, f.fs.err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if !f.fs.step("write") {
		return f.File.WriteAt(b, off)
	}
	if f.fs.half {
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
	if f.fs.step("stat") {
		return 0, f.fs.err
	}
	return f.File.Size()
}

func (f *faultFile) Close() error {
	f.fs.step("close")
	return f.File.Close()
}

// quiet keeps expected complaints out of the output.
func quiet(t testing.TB) embedded.Config {
	return embedded.Config{Logger: discard, Path: t.TempDir(), SegmentSize: 8 << 10}
}
