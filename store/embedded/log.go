package embedded

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rollcall/internal/disk"
	"rollcall/internal/wake"
	"rollcall/presence"
)

const (
	lockName     = "lock"
	manifestName = "manifest"
	drainedName  = "drained"
	tipName      = "tip"
	spareName    = "spare.seg"
	logName      = "log-%010d.seg"
	sectionName  = "snap-%010d-%04d.sec"
)

// A log is what the committer writes and maintain looks after. Its fields belong to the holder of
// Store.writer, but for those that say otherwise.
type log struct {
	dir    string
	fs     disk.FS
	lock   io.Closer
	number uint32    // of the current segment
	file   disk.File // of the current segment; nil when there is none to write to
	salt   uint64
	at     int64 // where the next frame goes
	size   int64 // reserved
	seq    uint64
	synced int64 // of SyncInterval: up to where

	failure *failure

	// What others look at, who do not wait while the disk is written to.
	bytes   atomic.Int64  // in all segments since the snapshot
	current atomic.Uint32 // number
	snap    atomic.Pointer[snapshotInfo]

	// sections is the greatest number of a snapshot that was ever begun: none is used twice,
	// because a manifest whose rename seemed to fail may name it.
	sections uint32

	unused []uint32 // segments without a frame that were found at the start

	spare atomic.Bool // a reserved segment is ready; taken by the committer, made by maintain

	stop      chan struct{}
	wake      wake.Signal // of maintain
	goroutine sync.WaitGroup
}

// A failure is why nothing can be acknowledged.
type failure struct {
	err error
	// suspect: the system may have dropped what was written, so no byte of the segment is trusted
	// any more.
	suspect bool
	renewed bool // a new segment was begun since
}

func (l *log) path(format string, args ...any) string {
	return filepath.Join(l.dir, fmt.Sprintf(format, args...))
}

// full reports whether err says that the disk is full.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// refuse turns what the disk said into what the caller may do.
func refuse(f *failure) error {
	if full(f.err) {
		return fmt.Errorf("%w: %w", presence.ErrFull, f.err)
	}
	return unavailable(f.err)
}

// begin starts segment number after the last frame, on the spare when there is one.
func (l *log) begin(number uint32, size int64) error {
	name := l.path(spareName)
	var (
		f   disk.File
		err error
	)
	if l.spare.Swap(false) {
		f, err = l.fs.Open(name)
	} else {
		f, err = l.reserve(name, size)
	}
	if err != nil {
		return fmt.Errorf("begin log segment %d: %w", number, err)
	}
	h := header{kind: kindLog, number: number, first: l.seq + 1, salt: rand.Uint64()}
	err = disk.WriteAt(f, h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		size, err = f.Size()
	}
	if err == nil {
		err = l.fs.Rename(name, l.path(logName, number))
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err == nil {
		err = l.replace(tipName, kindTip, tip{Segment: number, Empty: true})
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("begin log segment %d: %w", number, err)
	}
	l.number, l.file, l.salt, l.at, l.synced, l.size = number, f, h.salt, headerSize, headerSize, size
	l.bytes.Add(headerSize)
	l.current.Store(number)
	return nil
}

// reserve makes a file of size zero bytes that are really on disk.
func (l *log) reserve(name string, size int64) (disk.File, error) {
	f, err := l.fs.Create(name)
	if err != nil {
		return nil, err
	}
	if err = f.Allocate(size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, errors.Join(err, l.fs.Remove(name))
	}
	return f, nil
}

// rotate ends the current segment and begins the next.
func (l *log) rotate(segment int64) error {
	old := l.file
	if old != nil && l.failure == nil && l.at > l.synced {
		if err := old.Sync(); err != nil { // with SyncInterval there may be something left
			l.failure = &failure{err: err, suspect: true}
			return err
		}
	}
	if err := l.begin(l.number+1, segment); err != nil {
		return err
	}
	if old != nil {
		old.Close() // read again at the next start, if at all
	}
	return nil
}

// append writes a sealed frame. After an error nothing of it is acknowledged, and the log has
// failed.
func (s *Store) append(frame []byte) error {
	l := s.log
	if l.at+int64(len(frame)) > l.size {
		if err := l.rotate(max(s.cfg.SegmentSize, int64(len(frame))+headerSize)); err != nil {
			s.fail(err, l.failure != nil && l.failure.suspect)
			return err
		}
		s.log.wake.Wake()
	}
	if l.at <= headerSize {
		if err := l.replace(tipName, kindTip, tip{Segment: l.number}); err != nil {
			err = fmt.Errorf("write the tip of the log: %w", err)
			s.fail(err, false)
			return err
		}
	}
	sealFrame(frame, l.salt, l.seq+1)
	if err := disk.WriteAt(l.file, frame, l.at); err != nil {
		err = fmt.Errorf("write log segment %d: %w", l.number, err)
		s.fail(err, false)
		return err
	}
	if s.cfg.Sync == SyncAlways {
		start := time.Now()
		if err := l.file.Sync(); err != nil {
			err = fmt.Errorf("sync log segment %d: %w", l.number, err)
			s.fail(err, true)
			return err
		}
		s.stats.sync(time.Since(start))
		l.synced = l.at + int64(len(frame))
	}
	l.at += int64(len(frame))
	l.bytes.Add(int64(len(frame)))
	l.seq++
	if l.bytes.Load() > s.compactAt() {
		s.log.wake.Wake()
	}
	return nil
}

func (s *Store) compactAt() int64 { return max(s.cfg.SegmentSize, s.log.snap.Load().bytes) }

// fail notes that nothing can be acknowledged until maintain has mended it.
func (s *Store) fail(err error, suspect bool) {
	if s.log.failure == nil {
		s.deps.Log.Error("store is read-only", "err", err)
	}
	s.log.failure = &failure{err: err, suspect: suspect || s.log.failure != nil && s.log.failure.suspect}
	s.stats.failures.Add(1)
	text := err.Error()
	s.stats.readOnly.Store(&text)
	s.log.wake.Wake()
}

func (s *Store) mended() {
	s.log.failure = nil
	s.stats.readOnly.Store(nil)
	s.deps.Log.Info("store is writable again")
}

// commit takes what is queued until the store is closed, and then what is left.
func (s *Store) commit() {
	defer s.log.goroutine.Done()
	var batch []*op
	for {
		select {
		case <-s.queue.wake:
			s.queue.gather()
		case <-s.log.stop:
			for {
				if batch = s.queue.take(batch); len(batch) == 0 {
					return
				}
				s.commitAll(batch)
			}
		}
		batch = s.queue.take(batch)
		s.commitAll(batch)
		clear(batch)
	}
}

// maxGroup bounds what one frame holds, in bytes.
const maxGroup = 4 << 20

func (s *Store) commitAll(batch []*op) {
	for len(batch) > 0 {
		n := s.commitGroup(batch)
		batch = batch[n:]
	}
}

// commitGroup merges ops until the group is large enough, writes and shows what came of them, and
// answers. It returns how many ops that were.
func (s *Store) commitGroup(batch []*op) int {
	s.writer.Lock()
	g := &s.group
	g.reset()
	g.buf = beginPayload(g.buf)
	failed := s.log.failure
	n := 0
	s.merging.Lock()
	for n < len(batch) && len(g.buf) < maxGroup {
		o := batch[n]
		n++
		if !o.state.CompareAndSwap(opQueued, opTaken) {
			continue
		}
		if failed != nil && !o.settles {
			o.err = refuse(failed)
			continue
		}
		o.err = s.mergeOp(g, o)
	}
	s.merging.Unlock()
	var err error
	if failed == nil && len(g.entries) > 0 {
		err = s.append(g.frame())
	}
	if err == nil {
		s.show(g)
	} else {
		err = refuse(s.log.failure)
	}
	s.stats.group(len(g.entries))
	s.writer.Unlock()
	for _, o := range batch[:n] {
		if o.state.Load() != opTaken {
			continue
		}
		if err != nil {
			o.err = err
		}
		o.done <- struct{}{}
	}
	if err == nil {
		s.notify(g)
	}
	return n
}

// frame completes the frame of a group.
func (g *group) frame() []byte {
	g.used = g.used[:0]
	for i := range g.entries {
		a := g.entries[i].app
		if len(g.used) > 0 && g.used[len(g.used)-1] == a {
			continue
		}
		if !contains(g.used, a) {
			g.used = append(g.used, a)
		}
	}
	g.buf = endPayload(g.buf, g.time, g.used)
	return g.buf
}

func contains(apps []*app, a *app) bool {
	for _, u := range apps {
		if u == a {
			return true
		}
	}
	return false
}

// closeLog writes what is queued, ends the goroutines and lets go of the directory.
func (s *Store) closeLog() error {
	l := s.log
	close(l.stop)
	l.goroutine.Wait()
	s.writer.Lock()
	defer s.writer.Unlock()
	var err error
	if l.file != nil {
		if l.failure == nil {
			err = errors.Join(l.file.Truncate(l.at), l.file.Sync())
			if err == nil {
				err = l.replace(tipName, kindTip, tip{Segment: l.number, Sequence: l.seq + 1, Empty: l.at <= headerSize})
			}
		}
		err = errors.Join(err, l.file.Close())
	}
	return errors.Join(err, l.lock.Close())
}
