// Package spool keeps records on disk, in order, until they can be delivered. A record is synced before Append returns; many
// appends share one sync. What a crash cut off at the end is dropped; delivered records may come again after a crash, so
// delivering one twice must do no harm.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
	frame    = 8 // length and CRC-32C, 4 bytes each, little endian
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Spool is a queue in one file. It is safe for many writers and one reader.
type Spool struct {
	dir   string
	limit int64

	mu      sync.Mutex
	f       *os.File
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
	if b, err := os.ReadFile(filepath.Join(s.dir, headName)); err == nil && len(b) == frame {
		s.head = int64(binary.LittleEndian.Uint64(b))
	}
	if s.head > st.Size() {
		s.head = 0 // of an earlier file
	}
	at := s.head
	for {
		_, n, err := s.read(at, st.Size())
		if err != nil {
			break
		}
		at += n
		s.count++
	}
	if s.count == 0 && s.head > 0 && at < st.Size() {
		// The head does not stand before a record: deliver everything again rather than nothing.
		s.head, at = 0, 0
		for {
			_, n, err := s.read(at, st.Size())
			if err != nil {
				break
			}
			at += n
			s.count++
		}
	}
	s.lost, s.size = st.Size()-at, at
	if s.lost > 0 {
		if err := s.f.Truncate(at); err != nil {
			return fmt.Errorf("cut the end of the spool: %w", err)
		}
	}
	return nil
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
		s.mu.Lock()
		g := s.group
		s.group = nil
		if g == nil {
			s.syncing = false
			s.mu.Unlock()
			return
		}
		f := s.f
		s.mu.Unlock()
		g.err = ErrClosed
		if f != nil {
			g.err = f.Sync()
		}
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

// Peek returns up to n of the oldest records and the position after them, for [Spool.Advance].
func (s *Spool) Peek(n int) (records [][]byte, next int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil, 0, ErrClosed
	}
	next = s.head
	for len(records) < n && next < s.size {
		r, size, err := s.read(next, s.size)
		if err != nil {
			return nil, 0, fmt.Errorf("read the spool at %d: %w", next, err)
		}
		records = append(records, r)
		next += size
	}
	return records, next, nil
}

// Advance says that n records, up to next, are delivered. When all are, the file is emptied.
func (s *Spool) Advance(n int, next int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return ErrClosed
	}
	s.head = next
	s.count -= n
	if s.head == s.size {
		if err := s.f.Truncate(0); err != nil {
			return fmt.Errorf("empty the spool: %w", err)
		}
		s.head, s.size, s.count, s.broken = 0, 0, 0, nil
	}
	// Not synced: an old head delivers again what was delivered, which does no harm.
	var b [frame]byte
	binary.LittleEndian.PutUint64(b[:], uint64(s.head))
	if err := os.WriteFile(filepath.Join(s.dir, headName), b[:], 0o600); err != nil {
		return fmt.Errorf("write how far the spool is delivered: %w", err)
	}
	return nil
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
