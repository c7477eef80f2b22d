package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rollcall/presence"
)

// readSegments replays the log from the manifest's segment on.
func (r *recovery) readSegments(m *manifest, numbers []uint32) error {
	l := r.log
	i, _ := slices.BinarySearch(numbers, m.Segment)
	numbers = numbers[i:]
	if err := r.checkTip(m, numbers); err != nil {
		return err
	}
	l.number, l.seq = max(m.Segment, 1)-1, max(m.Sequence, 1)-1
	numbers, err := r.dropEmpty(numbers)
	if err != nil {
		return err
	}
	if m.Segment == 0 && len(numbers) > 0 {
		l.number = numbers[0] - 1
	}
	for i, n := range numbers {
		if n != l.number+1 {
			if err := r.damaged(l.path(logName, l.number+1), 0, "it is missing, and a later one is there"); err != nil {
				return err
			}
		}
		if err := r.readSegment(n, i == len(numbers)-1, m.Segment == 0 && i == 0); err != nil {
			return err
		}
		l.number = n
	}
	return r.checkEnd()
}

// dropEmpty leaves out the last segments when nothing was ever written to them: they were begun,
// and the process ended. They stay on disk until the next segment has begun, so that the segment
// named by manifest or tip is always there.
func (r *recovery) dropEmpty(numbers []uint32) ([]uint32, error) {
	for len(numbers) > 0 {
		n := numbers[len(numbers)-1]
		name := r.log.path(logName, n)
		f, err := r.log.fs.Open(name)
		if err != nil {
			return nil, err
		}
		fr, _, err := openFrames(f, name, kindLog, n)
		if err != nil {
			f.Close()
			return numbers, r.soften(err)
		}
		_, err = fr.read()
		empty := err == io.EOF
		if errors.Is(err, errBadFrame) {
			var t tail
			if t, _, err = fr.tail(); err != nil {
				f.Close()
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			empty = t == tailZero
		}
		f.Close()
		if !empty {
			return numbers, nil
		}
		r.log.unused = append(r.log.unused, n)
		numbers = numbers[:len(numbers)-1]
	}
	return numbers, nil
}

func (r *recovery) readSegment(n uint32, last, anySequence bool) error {
	l := r.log
	name := l.path(logName, n)
	f, err := l.fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fr, h, err := openFrames(f, name, kindLog, n)
	if err != nil {
		return r.soften(err)
	}
	if h.first != l.seq+1 && !anySequence {
		if err := r.damaged(name, 16, "it begins with frame %d, and frame %d is due", h.first, l.seq+1); err != nil {
			return err
		}
	}
	if err := r.readFrames(fr); err != nil {
		return err
	}
	end := fr.off
	t, at, err := fr.tail()
	if err == nil && t == tailDamage && last && r.mend == nil {
		t, err = r.unsynced(fr, at)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	switch {
	case t == tailDamage || t == tailTorn && !last:
		if err := r.skip(fr); err != nil {
			return err
		}
		end = fr.off
	case t == tailTorn:
		r.s.stats.tornTails++
		r.s.stats.tornBytes += tornBytes(fr)
		r.s.deps.Log.Warn("torn log tail cut", "file", name, "offset", end)
	}
	l.seq = fr.next - 1
	l.bytes.Add(end)
	if !last || r.mend != nil || end == fr.size {
		return nil
	}
	if err := f.Truncate(end); err != nil {
		return fmt.Errorf("cut the tail of %s: %w", name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cut the tail of %s: %w", name, err)
	}
	return nil
}

// slowSync is how much longer than its period a sync may take, and still explain a hole.
const slowSync = 5 * time.Second

// unsynced distinguishes a hole that a loss of power left with [SyncInterval] from damage: it is
// among the last frames, which were written after the last sync and reached the disk in any order.
// What follows it, from at on, is torn then.
func (r *recovery) unsynced(fr *frameReader, at int64) (tail, error) {
	if r.s.cfg.Sync != SyncInterval {
		return tailDamage, nil
	}
	rest, err := fr.restFrom(at)
	if err != nil {
		return 0, err
	}
	var first, last presence.Millis
	for i := 0; i >= 0; i = fr.resync(rest, i+1) {
		n := frameHead + int(binary.LittleEndian.Uint32(rest[i:]))
		last = max(last, timeOf(rest[i+frameHead:i+n]))
		if first == 0 {
			first = last
		}
		i += n - 1
	}
	if last.Sub(first) > r.s.cfg.SyncEvery+slowSync {
		return tailDamage, nil
	}
	return tailTorn, nil
}
