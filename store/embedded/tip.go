package embedded

import "io"

// A tip names the newest segment of the log, so that its loss is noticed: without it a log that
// lacks its last segment looks like a shorter log. It is replaced each time a segment begins,
// before the segment takes its first frame, and at a clean stop. A store of release 0.1 has none.
type tip struct {
	Segment uint32 `json:"segment"`
	// Sequence is the number that the next frame would have had at a clean stop; zero while a
	// process writes.
	Sequence uint64 `json:"sequence,omitempty"`
	// Empty is true until the first frame is in the segment. An empty one may be missing: release
	// 0.1 removes it before it refuses a newer log, and nothing was in it.
	Empty bool `json:"empty,omitempty"`
}

func (r *recovery) readTip() error {
	_, err := r.readWhole(tipName, kindTip, &r.tip)
	return err
}

// checkTip reports segments that manifest or tip name and that are missing; numbers are those from
// m's segment on.
func (r *recovery) checkTip(m *manifest, numbers []uint32) error {
	var newest uint32
	if len(numbers) > 0 {
		newest = numbers[len(numbers)-1]
	}
	due := r.tip.Segment
	if r.tip.Empty && due > 0 {
		due--
	}
	if m.Snapshot > 0 {
		due = max(due, m.Segment) // a snapshot begins its segment before its manifest is written
	}
	if newest >= due {
		return nil
	}
	return r.damaged(r.log.path(logName, due), 0, "it is missing: the newest reports were in it")
}

// checkEnd reports a log that ends before the frame at which the store was last stopped.
func (r *recovery) checkEnd() error {
	l := r.log
	if r.tip.Sequence <= l.seq+1 {
		return nil
	}
	return r.damaged(l.path(logName, max(l.number, r.tip.Segment)), 0,
		"the log ends at frame %d, and was stopped at frame %d: a file is older than the others", l.seq, r.tip.Sequence-1)
}

// removeUnused removes the segments without a frame that the new one has not replaced.
func (l *log) removeUnused() error {
	for _, n := range l.unused {
		if n == l.number {
			continue
		}
		if err := l.fs.Remove(l.path(logName, n)); err != nil {
			return err
		}
	}
	l.unused = nil
	return nil
}

// framePad is more zeros than a frame may end with: the length of an app's id at the most.
const framePad = 16

// rest returns what follows the last good frame, up to the last byte that is not zero and framePad
// more.
func (r *frameReader) rest() ([]byte, error) { return r.restFrom(r.off) }

// restFrom is rest for what follows off.
func (r *frameReader) restFrom(off int64) ([]byte, error) {
	var (
		rest []byte
		buf  [256 << 10]byte
	)
	for at := off; at < r.written; {
		b := buf[:min(int64(len(buf)), r.written-at)]
		n, err := r.file.ReadAt(b, at)
		if n < len(b) {
			return nil, err
		}
		if b = b[:lastNonZero(b)]; len(b) > 0 {
			rest = append(rest, make([]byte, int(at-off)-len(rest))...)
			rest = append(rest, b...)
		}
		at += int64(n)
	}
	if n := int64(len(rest)); n > 0 {
		rest = append(rest, make([]byte, min(framePad, r.size-off-n))...)
	}
	return rest, nil
}

// lastNonZero returns the length of b without the zeros at its end.
func lastNonZero(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

// A sparseFile knows where it has data.
type sparseFile interface {
	// NextData returns where the first data at or after off begin and end; both are size when there
	// are none.
	NextData(off, size int64) (from, to int64, err error)
}

// writtenEnd returns where the last data of f end; what follows is reserved and reads as zero. It
// has to be asked before anything is read: the system counts zeros that it has in memory as data.
func writtenEnd(f io.ReaderAt, size int64) (int64, error) {
	s, ok := f.(sparseFile)
	if !ok {
		return size, nil
	}
	var end int64
	for at := int64(0); at < size; {
		from, to, err := s.NextData(at, size)
		if err != nil {
			return 0, err
		}
		if from >= size {
			break
		}
		at, end = to, to
	}
	return end, nil
}
