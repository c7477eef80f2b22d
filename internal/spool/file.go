package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"

	"rollcall/internal/disk"
)

// The file begins with a mark, whose end is the number of its format. Frames follow, integers in
// little endian:
//
//	0  4 bytes: length of the payload, at least 1
//	4  4 bytes: CRC-32C of what follows
//	8  8 bytes: id of the record, or 0 when the payload is acknowledged ids of 8 bytes each
//	16 the payload
//
// What no whole frame follows is the torn end that a crash left, and is cut off: nothing of it was
// durable.
const (
	fileName  = "spool.log"
	mark      = "rcspool2"
	markName  = "rcspool"
	fileHead  = int64(len(mark))
	frameHead = 16

	headName  = "spool.head"
	firstMark = "rcspool1"
	firstHead = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(b []byte, id ID, payload []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, uint64(id))
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], castagnoli))
	return b
}

// sealed reports whether b is the whole frame of a record.
func sealed(b []byte, id ID) bool {
	return len(b) >= frameHead && int64(binary.LittleEndian.Uint32(b)) == int64(len(b)-frameHead) &&
		crc32.Checksum(b[8:], castagnoli) == binary.LittleEndian.Uint32(b[4:]) && ID(binary.LittleEndian.Uint64(b[8:])) == id
}

// open reads the file, or makes it. One of the first format, of release 0.1, is replaced.
func (s *Spool) open() error {
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(s.dir)); err != nil {
		return err
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	var head []byte
	if slices.Contains(names, fileName) {
		if s.file, err = s.fs.Open(s.name()); err != nil {
			return err
		}
		if head, err = readUpTo(s.file, firstHead); err != nil {
			return s.giveUp(err)
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte(mark)):
		err = s.scan()
	case bytes.HasPrefix(head, []byte(firstMark)) && len(head) == firstHead:
		err = s.takeFirst(binary.LittleEndian.Uint64(head[len(firstMark):]), slices.Contains(names, headName))
	case len(bytes.Trim(head, "\x00")) == 0 || len(head) < firstHead && bytes.HasPrefix([]byte(firstMark), head[:min(len(head), len(firstMark))]):
		err = s.replace(nil) // it was being made
	case bytes.HasPrefix(head, []byte(markName)):
		err = fmt.Errorf("%s has format %q; this program reads %q: use the newer program that wrote it", fileName, head[len(markName):len(mark)], mark[len(markName):])
	default:
		err = fmt.Errorf("%s does not begin as a spool does", fileName)
	}
	if err == nil && slices.Contains(names, headName) {
		err = s.fs.Remove(filepath.Join(s.dir, headName))
	}
	if err != nil {
		return s.giveUp(err)
	}
	return nil
}

func (s *Spool) giveUp(err error) error {
	if s.file != nil {
		_ = s.file.Close() // err says what is wrong
		s.file = nil
	}
	return err
}

// readUpTo returns the first n bytes of f, or all when it has less.
func readUpTo(f disk.File, n int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(n, size))
	if got, err := f.ReadAt(b, 0); got < len(b) {
		return nil, err
	}
	return b, nil
}

// replace puts a file of this format in the place of what was there, and reads it.
func (s *Spool) replace(frames func(write func([]byte) error) error) error {
	f, err := disk.Replace(s.fs, s.name(), func(f disk.File) error {
		at := int64(0)
		write := func(b []byte) error {
			err := disk.WriteAt(f, b, at)
			at += int64(len(b))
			return err
		}
		if err := write([]byte(mark)); err != nil || frames == nil {
			return err
		}
		return frames(write)
	})
	if err != nil {
		return err
	}
	_ = s.giveUp(nil) // no name stands for the old one any more
	s.file = f
	return s.scan()
}

// scan finds the records that are not acknowledged, and cuts off what is no frame.
func (s *Spool) scan() error {
	end, err := s.file.Size()
	if err != nil {
		return err
	}
	s.size = fileHead
	for {
		b, err := frameAt(s.file, s.size, end, frameHead)
		if err != nil {
			return err
		}
		if b == nil || !s.takeFrame(b) {
			break
		}
		s.size += int64(len(b))
	}
	s.synced, s.lost = s.last, end-s.size
	if s.lost > 0 {
		return s.file.Truncate(s.size)
	}
	return nil
}

// takeFrame enters the frame at s.size into the table; it reports false when it is none.
func (s *Spool) takeFrame(b []byte) bool {
	id, payload := ID(binary.LittleEndian.Uint64(b[8:])), b[frameHead:]
	switch {
	case !sealed(b, id):
		return false
	case id > 0:
		if id <= s.last {
			return false // of an earlier use of the file
		}
		s.entries = append(s.entries, entry{id: id, at: s.size, n: uint32(len(b))})
		s.live += int64(len(b))
		s.count++
		s.last = id
		return true
	}
	for ; len(payload) >= 8; payload = payload[8:] {
		id := ID(binary.LittleEndian.Uint64(payload))
		if i := s.find(id); i < len(s.entries) && s.entries[i].id == id && !s.entries[i].acked {
			s.forget([]ID{id})
		}
	}
	return true
}

// frameAt returns what is as long as the frame that begins at an offset, whose head has a number of
// bytes and begins with the length of the payload; nil when it is no frame.
func frameAt(f disk.File, at, end, head int64) ([]byte, error) {
	if at+head > end {
		return nil, nil
	}
	var h [4]byte
	if n, err := f.ReadAt(h[:], at); n < len(h) {
		return nil, fmt.Errorf("read at %d: %w", at, err)
	}
	n := int64(binary.LittleEndian.Uint32(h[:]))
	if n == 0 || at+head+n > end {
		return nil, nil
	}
	b := make([]byte, head+n)
	if n, err := f.ReadAt(b, at); n < len(b) {
		return nil, fmt.Errorf("read at %d: %w", at, err)
	}
	return b, nil
}

// takeFirst replaces a file of the first format. Its head is mark and generation of 8 bytes each,
// its frames are length, CRC-32C of the record and the record; how far it is delivered stands
// beside it, with the generation that it is of.
func (s *Spool) takeFirst(generation uint64, hasHead bool) error {
	old := s.file
	end, err := old.Size()
	if err != nil {
		return err
	}
	at := int64(firstHead)
	if hasHead {
		if at, err = s.firstDelivered(generation, end); err != nil {
			return err
		}
	}
	// If it does not stand before a record: deliver everything again rather than nothing.
	if at > firstHead && at < end {
		if b, err := firstFrame(old, at, end); err != nil {
			return err
		} else if b == nil {
			at = firstHead
		}
	}
	err = s.replace(func(write func([]byte) error) error {
		for id := ID(1); ; id++ {
			b, err := firstFrame(old, at, end)
			if err != nil || b == nil {
				return err
			}
			at += int64(len(b))
			if err := write(appendFrame(nil, id, b[8:])); err != nil {
				return err
			}
		}
	})
	s.lost = end - at
	return err
}

// firstFrame returns the frame at an offset of a file of the first format; nil when there is none.
func firstFrame(f disk.File, at, end int64) ([]byte, error) {
	b, err := frameAt(f, at, end, 8)
	if err != nil || b == nil || crc32.Checksum(b[8:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, err
	}
	return b, nil
}

func (s *Spool) firstDelivered(generation uint64, end int64) (int64, error) {
	f, err := s.fs.Open(filepath.Join(s.dir, headName))
	if err != nil {
		return 0, err
	}
	b, err := readUpTo(f, firstHead)
	_ = f.Close() // it was only read
	if err != nil || len(b) < firstHead || binary.LittleEndian.Uint64(b) != generation {
		return firstHead, err
	}
	if at := int64(binary.LittleEndian.Uint64(b[8:])); at >= firstHead && at <= end {
		return at, nil
	}
	return firstHead, nil
}
