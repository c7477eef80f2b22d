package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rollcall/internal/disk"
	"rollcall/presence"
)

// A manifest names the files that make up the store: the sections of the last snapshot, and the log
// from a segment on. It is replaced by a rename, so there is always a whole one.
type manifest struct {
	Snapshot uint32          `json:"snapshot"` // number of the snapshot
	Segment  uint32          `json:"segment"`  // the first segment that is not in it
	Sequence uint64          `json:"sequence"` // of the first frame of that segment
	Time     presence.Millis `json:"time"`     // the greatest time of an update
	Floor    uint64          `json:"floor"`    // the greatest revision of a peer that was forgotten
	Peers    int64           `json:"peers"`
	Sections []sectionInfo   `json:"sections"`
}

// validate refuses what no manifest of ours says.
func (m *manifest) validate() error {
	if m.Snapshot == 0 || m.Segment == 0 || m.Sequence == 0 || m.Peers < 0 || m.Time < 0 || m.Peers > 1<<36 {
		return errors.New("a number is out of range")
	}
	return nil
}

// leastEntry is how few bytes of a section a peer can take, so that a wrong count reserves no more
// than there is.
const leastEntry = 24

func (m *manifest) bytes() int64 {
	var n int64
	for _, s := range m.Sections {
		n += s.Bytes
	}
	return n
}

type sectionInfo struct {
	Salt   uint64 `json:"salt"`
	Frames uint64 `json:"frames"`
	Bytes  int64  `json:"bytes"`
}

// snapshotInfo is what is remembered of the last snapshot.
type snapshotInfo struct {
	bytes int64
	took  time.Duration
	at    presence.Millis
}

func (s *Store) wantsSnapshot() bool {
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.log.failure == nil && s.log.bytes.Load() > s.compactAt()
}

// Snapshot writes the whole index to disk and drops the log before it. Reads and writes go on
// meanwhile: what is written while the walk is under way may or may not be in the snapshot, but is
// in the log, and the greater revision wins.
func (s *Store) Snapshot() error {
	if s.log == nil {
		return nil
	}
	s.snapshots.Lock()
	defer s.snapshots.Unlock()
	s.writer.Lock()
	if f := s.log.failure; f != nil {
		s.writer.Unlock()
		return refuse(f)
	}
	before := s.log.bytes.Load()
	// All that is in older segments is in the index by now: the committer shows before it lets go
	// of the lock.
	if err := s.log.rotate(s.cfg.SegmentSize); err != nil {
		if s.log.failure != nil {
			s.fail(err, true)
		}
		s.writer.Unlock()
		return err
	}
	number := s.log.number
	first := s.log.seq + 1
	s.writer.Unlock()
	return s.writeSnapshot(number, first, before)
}

// snapshotFrom makes all before segment number superfluous. The caller knows that nothing is
// written meanwhile.
func (s *Store) snapshotFrom(number uint32) error {
	s.snapshots.Lock()
	defer s.snapshots.Unlock()
	return s.writeSnapshot(number, s.log.seq+1, s.log.bytes.Load()-headerSize)
}

// writeSnapshot is called with snapshots held.
func (s *Store) writeSnapshot(segment uint32, first uint64, before int64) error {
	l := s.log
	start := time.Now()
	w := s.newSections(segment, first)
	m := w.m
	if err := w.writeAll(); err != nil {
		w.abandon()
		return fmt.Errorf("snapshot %d: %w", m.Snapshot, err)
	}
	if err := l.writeManifest(m); err != nil {
		// It may be in place all the same, so neither its sections nor the old files are touched.
		return fmt.Errorf("snapshot %d: %w", m.Snapshot, err)
	}
	s.writer.Lock()
	l.snap.Store(&snapshotInfo{m.bytes(), time.Since(start), m.Time})
	l.bytes.Add(-before)
	s.writer.Unlock()
	s.stats.snapshots.Add(1)
	if err := l.sweep(m); err != nil {
		s.deps.Log.Warn("removing old files failed", "err", err)
	}
	return nil
}

// A sectionWriter writes the index to files of some size each.
type sectionWriter struct {
	s    *Store
	m    *manifest
	file disk.File
	info sectionInfo
	buf  []byte
	used map[uint32]bool
	last uint32
}

func (s *Store) newSections(segment uint32, first uint64) *sectionWriter {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.log.sections++
	return &sectionWriter{s: s, used: map[uint32]bool{}, m: &manifest{
		Snapshot: s.log.sections, Segment: segment, Sequence: first,
		Time: s.LastAlive(), Floor: s.floor.Load(),
	}}
}

const sectionFrame = 256 << 10

func (w *sectionWriter) writeAll() error {
	w.buf = beginPayload(w.buf)
	for shard := range shards {
		for tag, more := uint32(0), true; more; {
			// The scan only copies; what takes time is done when it has let go of its epoch.
			tag, more = w.s.index.scan(shard, tag, scanStep, w.add)
			if len(w.buf) > sectionFrame {
				if err := w.flush(); err != nil {
					return err
				}
			}
			if w.s.stopping() {
				return errClosed
			}
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.finish()
}

func (w *sectionWriter) add(_, app uint32, peer, packed []byte) {
	if len(w.used) == 0 || app != w.last {
		w.used[app] = true
		w.last = app
	}
	w.buf = appendRecord(w.buf, app, peer, packed)
	w.m.Peers++
}

// flush writes what was added as one frame.
func (w *sectionWriter) flush() error {
	if len(w.used) == 0 {
		return nil
	}
	l := w.s.log
	if w.file == nil {
		name := l.path(sectionName, w.m.Snapshot, len(w.m.Sections))
		f, err := l.fs.Create(name)
		if err != nil {
			return err
		}
		w.file = f
		w.info = sectionInfo{Salt: rand.Uint64(), Bytes: headerSize}
		h := header{kind: kindSection, number: uint32(len(w.m.Sections)), first: 1, salt: w.info.Salt}
		if err := disk.WriteAt(f, h.encode(), 0); err != nil {
			return err
		}
	}
	apps := make([]*app, 0, len(w.used))
	for num := range w.used {
		apps = append(apps, w.s.apps.at(num))
	}
	w.buf = endPayload(w.buf, w.m.Time, apps)
	sealFrame(w.buf, w.info.Salt, w.info.Frames+1)
	if err := disk.WriteAt(w.file, w.buf, w.info.Bytes); err != nil {
		return err
	}
	w.info.Frames++
	w.info.Bytes += int64(len(w.buf))
	w.buf = beginPayload(w.buf)
	clear(w.used)
	if w.info.Bytes > sectionSize {
		return w.finish()
	}
	return nil
}

// finish makes the section under way durable.
func (w *sectionWriter) finish() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	w.m.Sections = append(w.m.Sections, w.info)
	return err
}

// abandon removes what was written.
func (w *sectionWriter) abandon() {
	l := w.s.log
	if w.file != nil {
		w.file.Close()
	}
	for i := range len(w.m.Sections) + 1 {
		_ = l.fs.Remove(l.path(sectionName, w.m.Snapshot, i)) // the next start removes what stays
	}
}

func (l *log) writeManifest(m *manifest) error {
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	return l.replace(manifestName, kindManifest, m)
}

// replace makes v the content of the file called name, so that after a crash it is there whole or
// not at all.
func (l *log) replace(name string, kind fileKind, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := header{kind: kind, first: 1, salt: rand.Uint64()}
	frame := append(make([]byte, frameHead), text...)
	sealFrame(frame, h.salt, 1)
	return disk.WriteFile(l.fs, l.path("%s", name), append(h.encode(), frame...))
}

// sweep removes the files that the manifest does not need.
func (l *log) sweep(m *manifest) error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		var number, section uint32
		switch {
		case parseName(n, logName, &number):
			if number >= m.Segment {
				continue
			}
		case parseName(n, sectionName, &number, &section):
			if number == m.Snapshot && int(section) < len(m.Sections) {
				continue
			}
		default:
			continue
		}
		errs = append(errs, l.fs.Remove(l.path("%s", n)))
	}
	return errors.Join(errs...)
}

// parseName reads the numbers out of a file name made by format.
func parseName(name, format string, numbers ...*uint32) bool {
	args := make([]any, len(numbers))
	for i, n := range numbers {
		args[i] = n
	}
	verbs := strings.NewReplacer("%010d", "%d", "%04d", "%d").Replace(format)
	if n, err := fmt.Sscanf(name, verbs, args...); err != nil || n != len(numbers) {
		return false
	}
	for i, n := range numbers {
		args[i] = *n
	}
	return name == fmt.Sprintf(format, args...)
}

// stopping reports whether the store is being closed.
func (s *Store) stopping() bool {
	select {
	case <-s.log.stop:
		return true
	default:
		return false
	}
}

// numbered returns the numbers of the files made by format, in order.
func numbered(names []string, format string) []uint32 {
	var found []uint32
	for _, n := range names {
		var number uint32
		if parseName(n, format, &number) {
			found = append(found, number)
		}
	}
	slices.Sort(found)
	return found
}
