package embedded

import (
	"fmt"
	"time"

	"rollcall/internal/disk"
)

// maintain prepares segments, compacts the log and mends what failed, until the store is closed.
func (s *Store) maintain() {
	l := s.log
	defer l.goroutine.Done()
	retry := time.NewTicker(s.cfg.Retry)
	defer retry.Stop()
	var tick <-chan time.Time
	if s.cfg.Sync == SyncInterval {
		t := time.NewTicker(s.cfg.SyncEvery)
		defer t.Stop()
		tick = t.C
	}
	var rest time.Time // no snapshot before: the last one failed
	for {
		s.prepare()
		s.mend()
		if time.Now().After(rest) && s.wantsSnapshot() {
			if err := s.Snapshot(); err != nil && !s.stopping() {
				rest = time.Now().Add(10 * s.cfg.Retry)
				s.deps.Log.Warn("log compaction failed", "err", err)
			}
		}
		select {
		case <-l.wake:
		case <-retry.C:
		case <-tick:
			s.syncNow()
		case <-l.stop:
			return
		}
	}
}

// syncNow is the sync of SyncInterval.
func (s *Store) syncNow() {
	s.writer.Lock()
	defer s.writer.Unlock()
	l := s.log
	if l.failure != nil || l.file == nil || l.synced == l.at {
		return
	}
	start := time.Now()
	if err := l.file.Sync(); err != nil {
		s.fail(fmt.Errorf("sync log segment %d: %w", l.number, err), true)
		return
	}
	s.stats.sync(time.Since(start))
	l.synced = l.at
}

// prepare reserves the segment after this one, so that a full disk is known before it is needed.
func (s *Store) prepare() {
	l := s.log
	if l.spare.Load() {
		return
	}
	temp := l.path(spareName + disk.TempSuffix)
	f, err := l.reserve(temp, s.cfg.SegmentSize)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		// Under the lock: the committer may be making one of its own by that name.
		s.writer.Lock()
		if err = l.fs.Rename(temp, l.path(spareName)); err == nil {
			l.spare.Store(true)
		}
		s.writer.Unlock()
	}
	if err != nil {
		if s.stats.noSpare.Swap(true) {
			return
		}
		s.deps.Log.Warn("spare log segment not reserved", "err", err)
		return
	}
	s.stats.noSpare.Store(false)
}

// mend tries to make a log that failed writable again.
func (s *Store) mend() {
	s.writer.Lock()
	f := s.log.failure
	if f == nil || s.closed.Load() {
		s.writer.Unlock()
		return
	}
	err := s.renew(f)
	suspect := err == nil && s.log.failure.suspect
	if err == nil && !suspect {
		s.mended()
	}
	s.writer.Unlock()
	if !suspect {
		return
	}
	// What is in memory was all acknowledged once, or follows from it: write it anew, and leave the
	// old files behind.
	if err := s.snapshotFrom(s.log.number); err != nil {
		s.deps.Log.Warn("store stays read-only", "err", err)
		return
	}
	s.writer.Lock()
	s.mended()
	s.writer.Unlock()
}

// renew begins a new segment after a failure. What was torn is cut off the old one first, unless
// that cannot be trusted any more: then its failure stays suspect.
func (s *Store) renew(f *failure) error {
	l := s.log
	if f.renewed {
		return nil // by an earlier try, whose snapshot failed
	}
	if l.file != nil && !f.suspect {
		err := l.file.Truncate(l.at)
		if err == nil {
			err = l.file.Sync()
		}
		if err != nil {
			f.suspect = true
		}
	}
	old := l.file
	if err := l.begin(l.number+1, s.cfg.SegmentSize); err != nil {
		return err
	}
	f.renewed = true
	if old != nil {
		old.Close()
	}
	return nil
}
