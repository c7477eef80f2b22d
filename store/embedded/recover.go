package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rollcall/internal/disk"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// openLog reads what the directory holds and begins a new segment.
func (s *Store) openLog(now presence.Millis) error {
	start := time.Now()
	l, err := lockLog(&s.cfg, &s.deps)
	if err != nil {
		return err
	}
	s.log = l
	r := &recovery{s: s, log: l, grace: now.Add(s.deps.Grace)}
	err = r.load()
	if err == nil {
		err = s.beginLog()
	}
	if err != nil {
		return errors.Join(err, l.lock.Close())
	}
	s.nodes.heartbeats.log = l
	s.stats.loaded = time.Since(start)
	l.goroutine.Add(2)
	go s.commit()
	go s.maintain()
	return nil
}

func lockLog(cfg *Config, deps *Deps) (*log, error) {
	l := &log{dir: deps.Path, fs: deps.FS, stop: make(chan struct{}), wake: wake.NewSignal()}
	l.snap.Store(&snapshotInfo{})
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return nil, err
	}
	lock, err := l.fs.Lock(l.path(lockName))
	if err != nil {
		return nil, err
	}
	l.lock = lock
	cfg.fit(deps)
	return l, nil
}

// beginLog begins the segment after the last. A disk that is full does not keep the store from
// starting: it answers, and takes reports when there is room.
func (s *Store) beginLog() error {
	l := s.log
	err := l.begin(l.number+1, s.cfg.SegmentSize)
	if err != nil && full(err) {
		s.fail(err, false)
		return nil
	}
	if err == nil {
		err = l.removeUnused()
	}
	return err
}

// A recovery reads the files of a store into its index. Damage ends it with an error, unless mend
// is set: then it is noted, and what can be read is read.
type recovery struct {
	s       *Store
	log     *log
	grace   presence.Millis
	mend    *Report
	state   presence.State
	old     []byte
	names   []string
	drained map[presence.NodeID]bool // before the end
	tip     tip
	top     uint64 // the greatest revision seen
}

// damaged notes or returns damage.
func (r *recovery) damaged(name string, off int64, format string, args ...any) error {
	return r.damage(&DamageError{File: name, Offset: off, What: fmt.Sprintf(format, args...)})
}

func (r *recovery) damage(d *DamageError) error {
	if r.mend == nil {
		return d
	}
	r.mend.Damage = append(r.mend.Damage, d)
	return nil
}

// soften notes damage that err is and returns any other error.
func (r *recovery) soften(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		return r.damage(d)
	}
	return err
}

func (r *recovery) load() error {
	l := r.log
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	r.names = names
	if err := r.readDrained(); err != nil {
		return err
	}
	if err := r.restoreNodes(); err != nil {
		return err
	}
	m, err := r.readManifest()
	if err != nil {
		return err
	}
	segments := numbered(names, logName)
	if err := r.readTip(); err != nil {
		return err
	}
	if m == nil {
		m, err = r.withoutManifest(segments)
		if err != nil {
			return err
		}
	}
	r.s.floor.Store(m.Floor)
	r.s.alive.Store(int64(m.Time))
	r.s.index.reserve(min(m.Peers, m.bytes()/leastEntry))
	for i := range m.Sections {
		if err := r.readSection(m, i); err != nil {
			return err
		}
	}
	l.sections = max(l.sections, m.Snapshot)
	l.snap.Store(&snapshotInfo{bytes: m.bytes(), at: m.Time})
	if err := r.readSegments(m, segments); err != nil {
		return err
	}
	if r.mend != nil {
		// What was lost may have been greater.
		r.s.floor.Store(max(r.s.floor.Load(), r.top))
		return nil
	}
	return r.tidy(m)
}

// tidy removes what an interrupted step left behind.
func (r *recovery) tidy(m *manifest) error {
	for _, n := range r.names {
		if n == spareName || strings.HasSuffix(n, disk.TempSuffix) {
			if err := r.log.fs.Remove(r.log.path("%s", n)); err != nil {
				return err
			}
		}
	}
	return r.log.sweep(m)
}

// withoutManifest says what there must be when no snapshot was ever taken: the log from its first
// segment on.
func (r *recovery) withoutManifest(segments []uint32) (*manifest, error) {
	m := &manifest{Segment: 1, Sequence: 1}
	sections := slices.ContainsFunc(r.names, func(n string) bool { return strings.HasPrefix(n, "snap-") })
	if len(segments) > 0 && segments[0] == 1 || len(segments) == 0 && !sections {
		return m, nil
	}
	if err := r.damaged(r.log.path(manifestName), 0, "it is missing, and the log does not reach back to its beginning"); err != nil {
		return nil, err
	}
	// Mending: take the latest snapshot there is, and the whole log.
	for _, n := range r.names {
		var number, section uint32
		if parseName(n, sectionName, &number, &section) {
			m.Snapshot = max(m.Snapshot, number)
		}
	}
	for slices.Contains(r.names, fmt.Sprintf(sectionName, m.Snapshot, len(m.Sections))) {
		m.Sections = append(m.Sections, sectionInfo{})
	}
	m.Segment, m.Sequence = 0, 0
	return m, nil
}

func (r *recovery) readManifest() (*manifest, error) {
	m := &manifest{}
	found, err := r.readWhole(manifestName, kindManifest, m)
	if err != nil || !found {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, r.damaged(r.log.path(manifestName), headerSize, "its checksum matches, but it cannot be read: %v", err)
	}
	return m, nil
}

// readDrained reads which nodes were drained before the end.
func (r *recovery) readDrained() error {
	var list []presence.NodeID
	if _, err := r.readWhole(drainedName, kindDrained, &list); err != nil {
		return err
	}
	r.drained = map[presence.NodeID]bool{}
	for _, id := range list {
		r.drained[id] = true
	}
	return nil
}

// restoreNodes gives the nodes that have sent a heartbeat before the end the grace.
func (r *recovery) restoreNodes() error {
	seen, err := readHeartbeats(r.log, r.names)
	if err != nil {
		return err
	}
	for id, at := range seen {
		r.s.nodes.byID[id] = &node{until: r.grace, seen: at, drained: r.drained[id]}
	}
	return nil
}

// readWhole reads into v what replace wrote. Nothing is found in a file that is not there, or is
// damaged while mending.
func (r *recovery) readWhole(base string, kind fileKind, v any) (found bool, err error) {
	if !slices.Contains(r.names, base) {
		return false, nil
	}
	name := r.log.path("%s", base)
	f, err := r.log.fs.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	fr, _, err := openFrames(f, name, kind, 0)
	if err != nil {
		return false, r.soften(err)
	}
	text, err := fr.read()
	if err == nil && fr.off < fr.size {
		return false, r.damaged(name, fr.off, "something follows its end")
	}
	if errors.Is(err, errBadFrame) || err == io.EOF {
		return false, r.damaged(name, headerSize, "its checksum does not match")
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, r.damaged(name, headerSize, "its checksum matches, but it cannot be read: %v", err)
	}
	return true, nil
}

func (r *recovery) readSection(m *manifest, i int) error {
	name := r.log.path(sectionName, m.Snapshot, i)
	if !slices.Contains(r.names, fmt.Sprintf(sectionName, m.Snapshot, i)) {
		return r.damaged(name, 0, "it is missing")
	}
	f, err := r.log.fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fr, h, err := openFrames(f, name, kindSection, uint32(i))
	if err != nil {
		return r.soften(err)
	}
	want := m.Sections[i]
	if r.mend == nil && (h.salt != want.Salt || fr.size != want.Bytes) {
		return r.damaged(name, min(fr.size, want.Bytes), "it has %d bytes and mark %x; the manifest says %d and %x", fr.size, h.salt, want.Bytes, want.Salt)
	}
	if err := r.readFrames(fr); err != nil {
		return err
	}
	if fr.off < fr.size {
		if err := r.skip(fr); err != nil {
			return err
		}
	}
	return nil
}

// skip says that what follows is damaged; when mending, it goes on behind it.
func (r *recovery) skip(fr *frameReader) error {
	for {
		if err := r.damaged(fr.name, fr.off, "the checksum of a frame does not match"); err != nil {
			return err
		}
		rest, err := fr.rest()
		if err != nil {
			return fmt.Errorf("read %s: %w", fr.name, err)
		}
		i := fr.resync(rest, 1)
		if i < 0 {
			r.mend.lost(rest)
			return nil
		}
		r.mend.lost(rest[:i])
		fr.off += int64(i)
		fr.next = sequenceOf(rest[i:])
		if err := r.readFrames(fr); err != nil {
			return err
		}
		t, _, err := fr.tail()
		if err != nil {
			return fmt.Errorf("read %s: %w", fr.name, err)
		}
		if t == tailZero {
			return nil
		}
	}
}

// readFrames takes frames until one is bad or the file ends; the caller looks at what follows.
func (r *recovery) readFrames(fr *frameReader) error {
	for {
		at := fr.off
		payload, err := fr.read()
		switch {
		case err == io.EOF || errors.Is(err, errBadFrame):
			return nil
		case err != nil:
			return fmt.Errorf("read %s at offset %d: %w", fr.name, at, err)
		}
		now, err := decodePayload(payload, r.restore)
		if newer := (*FormatError)(nil); errors.As(err, &newer) {
			newer.File = fr.name
			return newer
		}
		if err != nil {
			if err := r.damaged(fr.name, at, "%v", err); err != nil {
				return err
			}
			r.mend.lost(payload)
			continue
		}
		r.s.alive.Store(max(r.s.alive.Load(), int64(now)))
	}
}

// restore takes a state when it is newer than what is known.
func (r *recovery) restore(id presence.AppID, peer, packed []byte) error {
	s := r.s
	rev := presence.Rev(packed)
	r.top = max(r.top, rev)
	a := s.apps.intern(id)
	h := s.index.hashBytes(a.num, peer)
	var was standing
	_, rec, known := find(s.index.shard(h).view.Load(), tagOf(h), a.num, peer)
	if known {
		_, _, old, _ := split(rec)
		r.old = old.expand(r.old[:0])
		if presence.Rev(r.old) >= rev {
			return nil
		}
		if err := r.state.Unpack(r.old); err != nil {
			return err
		}
		was = standing{r.state.Status, r.state.Day}
	}
	st := &r.state
	if err := st.Unpack(packed); errors.Is(err, presence.ErrNewer) {
		return &FormatError{Format: int(packed[8] >> 4), States: true}
	} else if err != nil {
		return err
	}
	if st.Forgotten() {
		s.floor.Store(max(s.floor.Load(), rev))
		a.count(was, standing{})
		s.index.remove(h, a.num, string(peer))
		return nil
	}
	for i := range st.Sessions {
		if ss := &st.Sessions[i]; ss.Node != "" && !ss.Ended && !ss.Leased() && s.nodes.byID[ss.Node] == nil {
			s.nodes.byID[ss.Node] = &node{until: r.grace, drained: r.drained[ss.Node]}
		}
	}
	a.count(was, standing{st.Status, st.Day})
	s.index.put(h, a.num, string(peer), packed)
	return nil
}
