package record

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rollcall/edge/webhook"
	"rollcall/internal/disk"
	"rollcall/internal/lograte"
	"rollcall/presence"
)

const (
	// keep is how many calls of a source are kept.
	keep = 1000
	// maxCall is the largest call that is kept, with its head.
	maxCall = 64 << 10
	// waiting is how many calls may wait to be written.
	waiting = 64
)

// A Recorder writes calls to a directory. Its methods may be called by many goroutines at once.
type Recorder struct {
	dir   string
	log   *slog.Logger
	lock  io.Closer
	fails lograte.Episode

	mu     sync.RWMutex // held to read while a call is handed in, so that none is after Close
	closed bool
	queue  chan *call
	done   chan struct{}

	rings map[name]*ring // of the goroutine that writes
}

type name struct {
	app presence.AppID
	id  presence.Source
}

// Open makes dir, for its owner only, and returns a recorder that writes there. It fails when
// nothing can be written there, or another server records there.
func Open(dir string, log *slog.Logger) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := disk.Usable(dir); err != nil {
		return nil, err
	}
	lock, err := disk.OS{}.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	r := &Recorder{dir: dir, log: log, lock: lock, queue: make(chan *call, waiting), done: make(chan struct{}), rings: map[name]*ring{}}
	go r.run()
	return r, nil
}

// Take keeps c, whose origin is proven, and reports whether it will be written. It does not wait.
func (r *Recorder) Take(c *webhook.Call) bool {
	if len(r.queue) == waiting || size(c) > maxCall {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return false
	}
	select {
	case r.queue <- clone(c):
		return true
	default:
		return false
	}
}

// Close writes what waits and returns.
func (r *Recorder) Close() error {
	r.mu.Lock()
	was := r.closed
	if r.closed = true; !was {
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
	if was {
		return nil
	}
	return r.lock.Close()
}

func (r *Recorder) run() {
	defer close(r.done)
	for c := range r.queue {
		err := r.write(c)
		begins, over := r.fails.Note(err)
		if begins {
			r.log.Warn("call record failed", "dir", r.dir, "err", err)
		} else if over {
			r.log.Info("call record recovered", "dir", r.dir)
		}
	}
}

func (r *Recorder) write(c *call) error {
	of := name{c.source.App, c.source.ID}
	g := r.rings[of]
	if g == nil {
		var err error
		if g, err = openRing(filepath.Join(r.dir, string(of.app), string(of.id))); err != nil {
			return err
		}
		r.rings[of] = g
	}
	return g.add(c.file())
}

// A ring is the directory of a source, whose files are numbered.
type ring struct {
	dir  string
	kept []uint64 // rising
}

const (
	suffix = ".http"
	width  = 12 // of a number, so that names sort as the calls came
)

func openRing(dir string) (*ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	g := &ring{dir: dir}
	for _, e := range entries {
		number, ours := strings.CutSuffix(e.Name(), suffix)
		n, err := strconv.ParseUint(number, 10, 63)
		if ours && err == nil && e.Name() == fileName(n) {
			g.kept = append(g.kept, n)
		}
	}
	slices.Sort(g.kept)
	return g, nil
}

func fileName(n uint64) string { return fmt.Sprintf("%0*d", width, n) + suffix }

// add writes b as the newest file and removes the oldest ones that are too many. A file is there
// whole or not at all; it is not synced: what a loss of power takes are fixtures.
func (g *ring) add(b []byte) error {
	n := uint64(1)
	if len(g.kept) > 0 {
		n = g.kept[len(g.kept)-1] + 1
	}
	to := filepath.Join(g.dir, fileName(n))
	temp := filepath.Join(g.dir, "next"+disk.TempSuffix)
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) { // of a crash
		return err
	}
	if err := writeNew(temp, b); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, to); err != nil {
		return err
	}
	g.kept = append(g.kept, n)
	for len(g.kept) > keep {
		if err := os.Remove(filepath.Join(g.dir, fileName(g.kept[0]))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		g.kept = g.kept[1:]
	}
	return nil
}

func writeNew(file string, b []byte) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
