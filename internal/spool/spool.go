// Package spool is a durable queue: it keeps records on disk, in order, until each is acknowledged
// by its id. A record is synced before Append returns; many appends share one sync. An
// acknowledgement is written at once and becomes durable with the next sync. So after a loss of
// power records that were acknowledged may come back, and delivering one twice must do no harm.
//
//	q, err := spool.Open(dir, 256<<20)
//	ids, err := q.Append(records)      // durable
//	list, err := q.Next(0, 100)        // the oldest that are not acknowledged
//	err = q.Ack(list[0].ID)            // in any order
package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"rollcall/internal/disk"
)

// ErrFull is returned by [Spool.Append] when there is no room. Nothing of the call was kept.
var ErrFull = errors.New("the spool is full")

// ErrClosed is returned by every call on a closed spool.
var ErrClosed = errors.New("the spool is closed")

// An ID names a record of one open spool. IDs rise in the order of the records; zero is before all
// of them.
type ID uint64

// A Record is one that was not acknowledged.
type Record struct {
	ID   ID
	Data []byte
}

// A Spool is safe for many goroutines.
type Spool struct {
	fs    disk.FS
	dir   string
	limit int64 // of size, in bytes; zero for none

	turn sync.Mutex // held while the file is synced or replaced; taken before mu
	mu   sync.Mutex // guards what follows
	file disk.File  // nil when closed

	size    int64   // of what was written, in bytes
	live    int64   // of these, in records that are not acknowledged
	entries []entry // by id; the first is not acknowledged
	count   int     // of those that are not acknowledged
	last    ID      // the greatest id given out
	synced  ID      // records up to here are durable
	broken  error   // why the file has to be replaced before anything is written to it
	group   *group
	syncing bool

	lost int64 // bytes cut off when it was opened
}

// An entry is one record in the file.
type entry struct {
	id    ID
	at    int64
	n     uint32 // with its frame
	acked bool
}

// A group is the appends that wait for one sync.
type group struct {
	first ID
	done  chan struct{}
	err   error
}

// Open opens or makes the spool in dir, bounded to limit bytes; zero is no bound.
func Open(dir string, limit int64) (*Spool, error) { return OpenFS(disk.OS{}, dir, limit) }

// OpenFS is [Open] in another file system.
func OpenFS(fs disk.FS, dir string, limit int64) (*Spool, error) {
	s := &Spool{fs: fs, dir: dir, limit: limit}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open the spool in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Spool) name() string { return filepath.Join(s.dir, fileName) }

// Append keeps records, of at least one byte each, in order, and returns their ids when they are
// durable. After an error none of them is kept.
func (s *Spool) Append(records [][]byte) ([]ID, error) {
	ids := make([]ID, len(records))
	if len(records) == 0 {
		return ids, nil
	}
	g, leads, err := s.write(records, ids)
	if err != nil {
		return nil, err
	}
	if leads {
		s.sync()
	}
	<-g.done
	if g.err != nil {
		return nil, g.err
	}
	return ids, nil
}

// write writes records and returns the group that waits for their sync, and whether the caller is
// to make it.
func (s *Spool) write(records [][]byte, ids []ID) (g *group, leads bool, err error) {
	var need int64
	for _, r := range records {
		need += frameHead + int64(len(r))
	}
	if err := s.lockForWrite(need); err != nil {
		return nil, false, err
	}
	defer s.mu.Unlock()
	var b []byte
	for i, r := range records {
		ids[i] = s.last + ID(i) + 1
		b = appendFrame(b, ids[i], r)
	}
	if err := disk.WriteAt(s.file, b, s.size); err != nil {
		// What was written is beyond the end.
		return nil, false, fmt.Errorf("write the spool: %w", err)
	}
	for i, r := range records {
		n := frameHead + len(r)
		s.entries = append(s.entries, entry{id: ids[i], at: s.size, n: uint32(n)})
		s.size += int64(n)
	}
	s.live += need
	s.count += len(records)
	s.last = ids[len(ids)-1]
	if s.group == nil {
		s.group = &group{first: ids[0], done: make(chan struct{})}
	}
	leads = !s.syncing
	s.syncing = true
	return s.group, leads, nil
}

// lockForWrite locks mu when the file can be written to and has room for need more bytes; if need
// be, it replaces the file before.
func (s *Spool) lockForWrite(need int64) error {
	for range 2 {
		s.mu.Lock()
		full := s.limit > 0 && need > 0 && s.size+need > s.limit
		switch {
		case s.file == nil:
			s.mu.Unlock()
			return ErrClosed
		case s.broken == nil && !full:
			return nil
		case s.broken == nil && !s.wasteful():
			s.mu.Unlock()
			return ErrFull
		}
		s.mu.Unlock()
		if err := s.compact(); err != nil {
			return err
		}
	}
	return ErrFull
}

// sync syncs group after group until none waits.
func (s *Spool) sync() {
	for {
		s.turn.Lock()
		s.mu.Lock()
		g, last, file := s.group, s.last, s.file
		s.group = nil
		if g == nil {
			s.syncing = false
			s.mu.Unlock()
			s.turn.Unlock()
			return
		}
		s.mu.Unlock()
		err := ErrClosed
		if file != nil {
			err = file.Sync()
		}
		s.mu.Lock()
		if err == nil {
			s.synced = last
		} else {
			err = fmt.Errorf("sync the spool: %w", err)
			s.fail(g, err)
		}
		s.mu.Unlock()
		s.turn.Unlock()
		g.err = err
		close(g.done)
	}
}

// fail drops what is not durable: the kernel may have dropped the pages, so a later sync of the
// same file proves nothing. mu is held.
func (s *Spool) fail(g *group, err error) {
	s.broken = err
	if next := s.group; next != nil {
		s.group = nil
		next.err = err
		close(next.done)
	}
	for n := len(s.entries); n > 0 && s.entries[n-1].id >= g.first; n-- {
		if e := s.entries[n-1]; !e.acked {
			s.live -= int64(e.n)
			s.count--
		}
		s.entries = s.entries[:n-1]
	}
}

// Next returns up to n of the oldest durable records after an id that are not acknowledged.
func (s *Spool) Next(after ID, n int) ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, ErrClosed
	}
	var records []Record
	for _, e := range s.entries[s.find(after+1):] {
		if len(records) >= n || e.id > s.synced {
			break
		}
		if e.acked {
			continue
		}
		b, err := s.read(e)
		if err != nil {
			return nil, err
		}
		records = append(records, Record{e.id, b[frameHead:]})
	}
	return records, nil
}

// find returns the index of the first entry with an id of at least id. mu is held.
func (s *Spool) find(id ID) int {
	i, _ := slices.BinarySearchFunc(s.entries, id, func(e entry, id ID) int { return cmp.Compare(e.id, id) })
	return i
}

// read returns the frame of an entry. mu is held.
func (s *Spool) read(e entry) ([]byte, error) {
	b := make([]byte, e.n)
	_, err := s.file.ReadAt(b, e.at)
	if err == nil && !sealed(b, e.id) {
		err = errors.New("the checksum does not match")
	}
	if err != nil {
		return nil, fmt.Errorf("read the spool at %d: %w", e.at, err)
	}
	return b, nil
}

// Ack removes records. IDs that are unknown or acknowledged before do not matter. After an error
// none is removed.
func (s *Spool) Ack(ids ...ID) error {
	if err := s.lockForWrite(0); err != nil {
		return err
	}
	err := s.ack(ids)
	compact := err == nil && s.wasteful()
	s.mu.Unlock()
	if compact {
		_ = s.compact() // what is written next tries again and says why
	}
	return err
}

// ack writes the acknowledgement of ids; when nothing is left, it empties the file instead. mu is
// held.
func (s *Spool) ack(ids []ID) error {
	known := slices.DeleteFunc(slices.Clone(ids), func(id ID) bool {
		i := s.find(id)
		return i == len(s.entries) || s.entries[i].id != id || s.entries[i].acked
	})
	slices.Sort(known)
	known = slices.Compact(known)
	switch {
	case len(known) == 0:
		return nil
	case len(known) == s.count:
		if err := s.file.Truncate(fileHead); err != nil {
			return fmt.Errorf("empty the spool: %w", err)
		}
		s.size = fileHead
	default:
		b := appendAcks(nil, known)
		if err := disk.WriteAt(s.file, b, s.size); err != nil {
			return fmt.Errorf("acknowledge records of the spool: %w", err)
		}
		s.size += int64(len(b))
	}
	s.forget(known)
	return nil
}

// forget takes records out of the table. mu is held.
func (s *Spool) forget(known []ID) {
	for _, id := range known {
		e := &s.entries[s.find(id)]
		e.acked = true
		s.live -= int64(e.n)
		s.count--
	}
	for len(s.entries) > 0 && s.entries[0].acked {
		s.entries = s.entries[1:]
	}
}

// Len returns how many records are not acknowledged.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Size returns the size of the file and its bound, in bytes.
func (s *Spool) Size() (size, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.limit
}

// Lost returns how many bytes at the end were cut off when the spool was opened.
func (s *Spool) Lost() int64 { return s.lost }

// Close syncs and closes the file. What is not acknowledged is there when it is opened again.
func (s *Spool) Close() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Sync(), s.file.Close())
	s.file = nil
	return err
}

// appendAcks appends the frame that acknowledges ids.
func appendAcks(b []byte, ids []ID) []byte {
	payload := make([]byte, 0, 8*len(ids))
	for _, id := range ids {
		payload = binary.LittleEndian.AppendUint64(payload, uint64(id))
	}
	return appendFrame(b, 0, payload)
}
