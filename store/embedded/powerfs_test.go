package embedded_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"rollcall/internal/disk"
)

// A powerFS is a disk in memory whose power fails at a call. What was not synced by then may be
// there, in part, or not at all: content sector by sector, in any order; names one by one, but only
// as the calls set them.
type powerFS struct {
	mu     sync.Mutex
	names  map[string]*powerFile // as calls see them
	safe   map[string]*powerFile // as a loss of power leaves them
	loose  []naming              // since the names were synced
	calls  int
	at     int // the call at which the power fails, from 1; zero for none
	off    bool
	hit    string
	locked bool
}

// A naming is one change of names, which happens as a whole or not.
type naming struct {
	unset, set string
	file       *powerFile
}

func (n naming) apply(names map[string]*powerFile) {
	if n.unset != "" {
		delete(names, n.unset)
	}
	if n.set != "" {
		names[n.set] = n.file
	}
}

// A powerFile is what a name stands for; powerFS.mu guards it.
type powerFile struct {
	data  []byte
	safe  []byte
	loose []change
}

// A change is one write, or a new size when data is nil.
type change struct {
	off  int64
	data []byte
}

const sector = 512

// apply makes the change in b where wanted says so.
func (c change) apply(b []byte, wanted func() bool) []byte {
	if c.data == nil {
		if wanted() {
			b = resize(b, c.off)
		}
		return b
	}
	for from := 0; from < len(c.data); {
		to := min(len(c.data), from+sector-int(c.off+int64(from))%sector)
		if wanted() {
			b = resize(b, max(int64(len(b)), c.off+int64(to)))
			copy(b[c.off+int64(from):], c.data[from:to])
		}
		from = to
	}
	return b
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func always() bool { return true }

var errPower = errors.New("the power is off")

func newPowerFS(at int) *powerFS {
	return &powerFS{names: map[string]*powerFile{}, safe: map[string]*powerFile{}, at: at}
}

// again returns the disk as it may be found when the power is back, to fail again at a call.
func (p *powerFS) again(rng *rand.Rand, at int) *powerFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
	wanted := []func() bool{func() bool { return false }, always, func() bool { return rng.IntN(2) == 0 }, func() bool { return rng.IntN(10) > 0 }}
	names := maps.Clone(p.safe)
	keep := wanted[rng.IntN(len(wanted))]
	for _, n := range p.loose {
		if keep() {
			n.apply(names)
		}
	}
	next := newPowerFS(at)
	found := map[*powerFile]*powerFile{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		if found[f] == nil {
			b, keep := slices.Clone(f.safe), wanted[rng.IntN(len(wanted))]
			for _, c := range f.loose {
				b = c.apply(b, keep)
			}
			found[f] = &powerFile{data: b, safe: slices.Clone(b)}
		}
		next.names[name], next.safe[name] = found[f], found[f]
	}
	return next
}

// step counts a call; ok is false when the power is off, and last true for the call at which it
// fails, which may take effect.
func (p *powerFS) step(what string) (ok, last bool) {
	p.calls++
	if p.off {
		return false, false
	}
	if p.calls == p.at {
		p.off, p.hit = true, what
		return false, true
	}
	return true, false
}

// do runs a call that changes something.
func (p *powerFS) do(what string, call func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok, last := p.step(what)
	if !ok && !last {
		return errPower
	}
	if err := call(); err != nil || ok {
		return err
	}
	return errPower
}

func (p *powerFS) rename(n naming) {
	n.apply(p.names)
	p.loose = append(p.loose, n)
}

func (p *powerFS) MkdirAll(string) error { return p.do("mkdir", func() error { return nil }) }

func (p *powerFS) Lock(string) (io.Closer, error) {
	err := p.do("lock", func() error {
		if p.locked {
			return disk.ErrInUse
		}
		p.locked = true
		return nil
	})
	return closer(func() error {
		p.mu.Lock()
		p.locked = false
		p.mu.Unlock()
		return nil
	}), err
}

type closer func() error

func (c closer) Close() error { return c() }

func (p *powerFS) List(string) (names []string, err error) {
	err = p.do("list", func() error {
		for name := range p.names {
			names = append(names, filepath.Base(name))
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

func (p *powerFS) Create(name string) (disk.File, error) {
	h := &powerHandle{fs: p}
	return h, p.do("create", func() error {
		h.file = p.names[name]
		if h.file == nil {
			h.file = &powerFile{}
			p.rename(naming{set: name, file: h.file})
			return nil
		}
		h.file.change(change{off: 0})
		return nil
	})
}

func (p *powerFS) Open(name string) (disk.File, error) {
	h := &powerHandle{fs: p}
	return h, p.do("open", func() error {
		if h.file = p.names[name]; h.file == nil {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return nil
	})
}

func (p *powerFS) Rename(from, to string) error {
	return p.do("rename", func() error {
		f := p.names[from]
		if f == nil {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		p.rename(naming{unset: from, set: to, file: f})
		return nil
	})
}

func (p *powerFS) Remove(name string) error {
	return p.do("remove", func() error {
		if p.names[name] == nil {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
		}
		p.rename(naming{unset: name})
		return nil
	})
}

func (p *powerFS) SyncDir(string) error {
	return p.sync("sync of the directory", func() { p.safe, p.loose = maps.Clone(p.names), nil })
}

// sync is do for what has no effect when the power fails at it.
func (p *powerFS) sync(what string, call func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok, _ := p.step(what); !ok {
		return errPower
	}
	call()
	return nil
}

func (f *powerFile) change(c change) {
	f.data = c.apply(f.data, always)
	f.loose = append(f.loose, c)
}

type powerHandle struct {
	fs   *powerFS
	file *powerFile
}

func (h *powerHandle) ReadAt(b []byte, off int64) (n int, err error) {
	err = h.fs.do("read", func() error {
		if off < int64(len(h.file.data)) {
			n = copy(b, h.file.data[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (h *powerHandle) WriteAt(b []byte, off int64) (int, error) {
	err := h.fs.do("write", func() error {
		h.file.change(change{off, append([]byte{}, b...)})
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (h *powerHandle) Sync() error {
	return h.fs.sync("sync", func() { h.file.safe, h.file.loose = slices.Clone(h.file.data), nil })
}

func (h *powerHandle) Allocate(size int64) error {
	return h.fs.do("allocate", func() error {
		if size > int64(len(h.file.data)) {
			h.file.change(change{off: size})
		}
		return nil
	})
}

func (h *powerHandle) Truncate(size int64) error {
	return h.fs.do("truncate", func() error {
		h.file.change(change{off: size})
		return nil
	})
}

func (h *powerHandle) Size() (size int64, err error) {
	err = h.fs.do("stat", func() error {
		size = int64(len(h.file.data))
		return nil
	})
	return size, err
}

func (h *powerHandle) Close() error { return nil }
