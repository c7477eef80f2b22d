package spool

import (
	"cmp"
	"fmt"

	"rollcall/internal/disk"
)

// compactAt is from how many bytes on that no record needs a file without a bound is replaced.
const compactAt = 1 << 20

const copyAtOnce = 256 << 10

// wasteful reports whether so much of the file is acknowledged that it is worth replacing. mu is
// held.
func (s *Spool) wasteful() bool {
	bound := max(s.live, compactAt)
	if s.limit > 0 {
		bound = min(bound, s.limit/4)
	}
	return s.size-fileHead-s.live > bound
}

// compact moves what is not acknowledged into a new file.
func (s *Spool) compact() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return ErrClosed
	}
	entries := make([]entry, 0, s.count)
	size := fileHead
	file, err := disk.Replace(s.fs, s.name(), func(f disk.File) error {
		b := []byte(mark)
		for _, e := range s.entries {
			if e.acked {
				continue
			}
			frame, err := s.read(e)
			if err != nil {
				return err
			}
			e.at = size
			size += int64(e.n)
			entries = append(entries, e)
			if b = append(b, frame...); len(b) > copyAtOnce {
				if err := disk.WriteAt(f, b, size-int64(len(b))); err != nil {
					return err
				}
				b = b[:0]
			}
		}
		return disk.WriteAt(f, b, size-int64(len(b)))
	})
	if err != nil {
		err = fmt.Errorf("compact the spool: %w", err)
		s.broken = cmp.Or(s.broken, err) // the name may stand for the new file by now
		return err
	}
	_ = s.file.Close() // no name stands for it any more
	s.file, s.entries, s.size, s.live, s.synced, s.broken = file, entries, size, size-fileHead, s.last, nil
	return nil
}
