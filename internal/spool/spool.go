// Package spool keeps records on disk, in order, until they can be delivered. A record is synced before Append returns; many
// appends share one sync. What a crash cut off at the end is dropped; delivered records may come again after a crash, so
// delivering one twice must do no harm.
//
// The file begins with a mark and the number of its generation, which is another each time the file is emptied. How far it
// is delivered is kept beside it, for one generation: were it taken for that of a later file, records would be skipped.
package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// ErrFull: the spool has no room. Nothing of the call was kept.
var ErrFull = errors.New("the spool is full")

// ErrClosed: the spool is closed.
var ErrClosed = errors.New("the spool is closed")

const (
	fileName = "spool.log"
	headName = "spool.head"
	mark     = "rcspool1"
	markName = "rcspool" // the rest of the mark is the format
	start    = 16        // mark and generation, 8 bytes each; the head file has generation and offset
	frame    = 8         // length and CRC-32C, 4 bytes each, little endian
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Spool is a queue in one file. It is safe for many writers and one reader.
type Spool struct {
	dir   string
	limit int64

	turn sync.Mutex // held while the file is synced, and while another takes its place; before mu
	mu   sync.Mutex
	f    *os.File

	generation uint64

	size    int64 // of what was written
	head    int64 // what was delivered ends here
	count   int   // records between head and size
	lost    int64 // bytes cut off when it was opened
	broken  error // a failed sync: the file is not to be trusted with more
	group   *group
	syncing bool
}

// A group is the appends that wait for one sync.
type group struct {
	done chan struct{}
	err  error
}

// Open opens, or makes, the spool in dir, bounded to limit bytes.
func Open(dir string, limit int64) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the spool: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s := &Spool{dir: dir, limit: limit, f: f}
	if err := s.recover(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return s, nil
}

// recover counts the records that stand and cuts off what is none.
func (s *Spool) recover() error {
	st, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	size := st.Size()
	head := make([]byte, min(size, start))
	if _, err := s.f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	switch {
	case size >= start && string(head[:len(mark)]) == mark:
		s.generation = binary.LittleEndian.Uint64(head[len(mark):])
	case size <= start && (len(bytes.Trim(head, "\x00")) == 0 || size < start):
		return s.make() // it was being made
	case bytes.HasPrefix(head, []byte(markName)):
		return fmt.Errorf("open the spool: %s has format %q; this program reads %q: use the newer program that wrote it", s.f.Name(),
			head[len(markName):len(mark)], mark[len(markName):])
	default:
		return fmt.Errorf("open the spool: %s does not begin as a spool does", s.f.Name())
	}
	s.head = start
	if b, err := os.ReadFile(filepath.Join(s.dir, headName)); err == nil && len(b) == start {
		at := int64(binary.LittleEndian.Uint64(b[8:]))
		if binary.LittleEndian.Uint64(b) == s.generation && at >= start && at <= size {
			s.head = at
		}
	}
	at := s.scan(s.head, size)
	if s.count == 0 && s.head > start && at < size {
		// The head does not stand before a record: deliver everything again rather than nothing.
		s.head = start
		at = s.scan(s.head, size)
	}
	s.lost, s.size = size-at, at
	if s.lost > 0 {
		if err := s.f.Truncate(at); err != nil {
			return fmt.Errorf("cut the end of the spool: %w", err)
		}
	}
	return nil
}

// scan counts the records from an offset on and returns where they end.
func (s *Spool) scan(at, end int64) int64 {
	for {
		_, n, err := s.read(at, end)
		if err != nil {
			return at
		}
		at += n
		s.count++
	}
}

// make begins the file, durably.
func (s *Spool) make() error {
	err := s.renew(s.f)
	if err == nil {
		err = s.f.Sync()
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("make the spool: %w", err)
	}
	s.size, s.head = start, start
	return nil
}

// renew makes f an empty file of a new generation. Nothing of an earlier one needs to be gone for good: it would only be
// delivered again. The next sync makes all of it durable.
func (s *Spool) renew(f *os.File) error {
	g := rand.Uint64()
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64([]byte(mark), g), 0); err != nil {
		return err
	}
	s.generation = g
	return f.Truncate(start)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read returns the record at an offset and how long it is with its frame.
func (s *Spool) read(at, end int64) ([]byte, int64, error) {
	var h [frame]byte
	if at+frame > end {
		return nil, 0, io.EOF
	}
	if _, err := s.f.ReadAt(h[:], at); err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(h[:]))
	if n == 0 || at+frame+n > end {
		return nil, 0, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if _, err := s.f.ReadAt(b, at+frame); err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(h[4:]) {
		return nil, 0, errors.New("checksum")
	}
	return b, frame + n, nil
}

// Append keeps records, in order, and returns when they are synced.
func (s *Spool) Append(records [][]byte) error {
	var b []byte
	for _, r := range records {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(r, castagnoli))
		b = append(b, r...)
	}
	s.mu.Lock()
	switch {
	case s.f == nil:
		s.mu.Unlock()
		return ErrClosed
	case s.broken != nil:
		defer s.mu.Unlock()
		return s.broken
	case s.size+int64(len(b)) > s.limit:
		s.mu.Unlock()
		return ErrFull
	}
	if _, err := s.f.WriteAt(b, s.size); err != nil {
		// What was written of it is beyond the end and will be written over.
		s.mu.Unlock()
		return fmt.Errorf("write the spool: %w", err)
	}
	s.size += int64(len(b))
	s.count += len(records)
	g := s.group
	if g == nil {
		g = &group{done: make(chan struct{})}
		s.group = g
	}
	leads := !s.syncing
	if leads {
		s.syncing = true
	}
	s.mu.Unlock()
	if leads {
		s.sync()
	}
	<-g.done
	return g.err
}

// sync syncs group after group until nobody waits.
func (s *Spool) sync() {
	for {
		s.turn.Lock()
		s.mu.Lock()
		g := s.group
		s.group = nil
		if g == nil {
			s.syncing = false
			s.mu.Unlock()
			s.turn.Unlock()
			return
		}
		f := s.f
		s.mu.Unlock()
		g.err = ErrClosed
		if f != nil {
			g.err = f.Sync()
		}
		s.turn.Unlock()
		if g.err != nil {
			// The kernel may have dropped the pages: nothing after this is believed.
			g.err = fmt.Errorf("sync the spool: %w", g.err)
			s.mu.Lock()
			s.broken = g.err
			s.mu.Unlock()
		}
		close(g.done)
	}
}

// Peek returns up to n of the oldest records that begin at or after a position (0 stands for the oldest of all), where the
// first of them begins, and where each ends: the position after it, for Peek and for [Spool.Advance].
func (s *Spool) Peek(after int64, n int) (records [][]byte, from int64, ends []int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil, 0, nil, ErrClosed
	}
	from = max(after, s.head)
	for at := from; len(records) < n && at < s.size; {
		r, size, err := s.read(at, s.size)
		if err != nil {
			return nil, 0, nil, fmt.Errorf("read the spool at %d: %w", at, err)
		}
		at += size
		records, ends = append(records, r), append(ends, at)
	}
	return records, from, ends, nil
}

// Advance says that n records, up to next, are delivered. When all are, the file is emptied; when they are a good part of what
// it may hold, what is left moves into a new one, so that a spool that is never empty does not fill up. From then on
// positions are lower by moved.
func (s *Spool) Advance(n int, next int64) (moved int64, err error) {
	moved, large, err := s.advance(n, next)
	if large && err == nil {
		moved, err = s.compact()
	}
	return moved, err
}

func (s *Spool) advance(n int, next int64) (moved int64, large bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return 0, false, ErrClosed
	}
	s.head = next
	s.count -= n
	if s.head == s.size {
		if err := s.renew(s.f); err != nil {
			return 0, false, fmt.Errorf("empty the spool: %w", err)
		}
		moved = s.head - start
		s.head, s.size, s.count, s.broken = start, start, 0, nil
	}
	// Not synced: an old head delivers again what was delivered, which does no harm.
	b := binary.LittleEndian.AppendUint64(nil, s.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.head))
	if err := os.WriteFile(filepath.Join(s.dir, headName), b, 0o600); err != nil {
		return moved, false, fmt.Errorf("write how far the spool is delivered: %w", err)
	}
	return moved, s.head-start > s.limit/4, nil
}

// compact moves what is not delivered into a new file, and returns by how much.
func (s *Spool) compact() (moved int64, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.f == nil:
		return 0, ErrClosed
	case s.broken != nil:
		return 0, nil // what it holds is not to be believed; it ends when it is emptied
	}
	name := filepath.Join(s.dir, fileName)
	f, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("compact the spool: %w", err)
	}
	was := s.generation
	if err = s.renew(f); err == nil {
		_, err = io.Copy(io.NewOffsetWriter(f, start), io.NewSectionReader(s.f, s.head, s.size-s.head))
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		s.generation = was
		return 0, errors.Join(fmt.Errorf("compact the spool: %w", err), f.Close(), os.Remove(name+".new"))
	}
	_ = s.f.Close() // no name stands for it any more
	moved = s.head - start
	s.f, s.size, s.head = f, s.size-moved, start
	if err := syncDir(s.dir); err != nil {
		s.broken = fmt.Errorf("compact the spool: %w", err)
		return moved, s.broken
	}
	return moved, nil
}

// Len returns how many records wait.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Size returns how many bytes the file has and how many it may have.
func (s *Spool) Size() (size, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.limit
}

// Lost returns how many bytes at the end were cut off when the spool was opened.
func (s *Spool) Lost() int64 { return s.lost }

// Close closes the file. What waits is there when it is opened again.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}
