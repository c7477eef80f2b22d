package embedded_test

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"rollcall/internal/disk"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A meteredFS counts what is read from its files.
type meteredFS struct {
	disk.OS
	read atomic.Int64
}

type meteredFile struct {
	disk.File
	fs *meteredFS
}

func (f *meteredFS) Open(name string) (disk.File, error) {
	file, err := f.OS.Open(name)
	if err != nil {
		return nil, err
	}
	return &meteredFile{file, f}, nil
}

func (f *meteredFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.fs.read.Add(int64(n))
	return n, err
}

func (f *meteredFile) NextData(off, size int64) (int64, int64, error) {
	return f.File.(interface {
		NextData(off, size int64) (int64, int64, error)
	}).NextData(off, size)
}

// What a start reads is what was written, not what is reserved.
func TestAStartReadsWhatWasWritten(t *testing.T) {
	cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 64 << 20}, Deps: embedded.Deps{Log: discard, Path: t.TempDir()}}
	disk := &faultFS{err: syscall.EIO}
	cfg.FS = disk
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	w := newWitness(t, s)
	for _, peer := range strings.Fields("tom ann bob eve") {
		if err := w.report(presence.KindOnline, peer); err != nil {
			t.Fatal(err)
		}
	}
	disk.die() // the process is killed: nothing is cut to its length
	s.Close()
	fs := &meteredFS{}
	cfg.FS = fs
	again := open(t, cfg)
	if got := status(t, again, start, "eve"); got != presence.Online {
		t.Errorf("eve is %v after the start, want online", got)
	}
	if n := fs.read.Load(); n > 64<<10 {
		t.Errorf("a start with four peers has read %d bytes", n)
	}
}
