package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"rollcall/internal/disk"
	"rollcall/presence"
)

// Every file starts with a header:
//
//	0   "rollcall"
//	8   kind of file
//	9   format
//	12  number of the file, u32
//	16  sequence number of the first frame, u64
//	24  salt of the frames' checksums, u64, random
//	32  CRC-32C of the 32 bytes before
//	40  the first frame
//
// Integers are little endian. The salt keeps frames of other files, and bytes made to look like a
// frame, from passing for ours.
const (
	headerSize  = 40
	fileFormat  = 1
	magic       = "rollcall"
	frameHead   = 16
	maxPayload  = 1 << 30
	sectionSize = 64 << 20
)

type fileKind byte

const (
	kindLog fileKind = iota + 1
	kindSection
	kindManifest
	kindDrained
	kindTip
)

func (k fileKind) String() string {
	switch k {
	case kindLog:
		return "log segment"
	case kindSection:
		return "snapshot section"
	case kindManifest:
		return "manifest"
	case kindDrained:
		return "list of drained nodes"
	case kindTip:
		return "tip of the log"
	}
	return fmt.Sprintf("file of kind %d", byte(k))
}

type header struct {
	kind   fileKind
	number uint32
	first  uint64
	salt   uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	b[8], b[9] = byte(h.kind), fileFormat
	binary.LittleEndian.PutUint32(b[12:], h.number)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint64(b[24:], h.salt)
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	return b
}

// A FormatError says that a file, or the states in it, were written by a newer program. It is no
// damage: nothing was changed, and [Repair] refuses it, too.
type FormatError struct {
	File   string
	Format int
	States bool // the format is that of the states
}

func (e *FormatError) Error() string {
	if e.States && e.Format <= presence.PackFormat() {
		return fmt.Sprintf("%s holds states with something that this program does not know: use the newer program that wrote it", e.File)
	}
	if e.States {
		return fmt.Sprintf("%s holds states of format %d; this program reads up to %d: use the newer program that wrote it", e.File, e.Format, presence.PackFormat())
	}
	return fmt.Sprintf("%s has format %d; this program reads up to %d: use the newer program that wrote it", e.File, e.Format, fileFormat)
}

// A DamageError says where a file is not what was written. Nothing was changed; [Repair] is the way
// out.
type DamageError struct {
	File   string
	Offset int64
	What   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s", e.File, e.Offset, e.What)
}

// decodeHeader reads the header of a file that is to be of kind and number.
func decodeHeader(name string, b []byte, kind fileKind, number uint32) (header, error) {
	damage := func(off int64, what string) (header, error) {
		return header{}, &DamageError{File: name, Offset: off, What: what}
	}
	if len(b) < headerSize {
		return damage(int64(len(b)), "it is cut short within its header")
	}
	if string(b[:len(magic)]) != magic {
		return damage(0, "it does not start as our files do")
	}
	if crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return damage(0, "the checksum of its header does not match")
	}
	if b[9] > fileFormat {
		return header{}, &FormatError{File: name, Format: int(b[9])}
	}
	if binary.LittleEndian.Uint32(b[36:]) != 0 {
		return damage(36, "bytes that are zero are not")
	}
	h := header{
		kind: fileKind(b[8]), number: binary.LittleEndian.Uint32(b[12:]),
		first: binary.LittleEndian.Uint64(b[16:]), salt: binary.LittleEndian.Uint64(b[24:]),
	}
	if h.kind != kind || h.number != number {
		return damage(8, fmt.Sprintf("it is %v %d, and should be %v %d", h.kind, h.number, kind, number))
	}
	return h, nil
}

// checksum covers length, sequence number and payload of the frame b, whose checksum field is left
// out.
func checksum(salt uint64, b []byte) uint32 {
	var s [8]byte
	binary.LittleEndian.PutUint64(s[:], salt)
	c := crc32.Update(0, castagnoli, s[:])
	c = crc32.Update(c, castagnoli, b[:4])
	return crc32.Update(c, castagnoli, b[8:])
}

// sealFrame fills in the head of the frame b, whose payload is there.
func sealFrame(b []byte, salt, seq uint64) {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameHead))
	binary.LittleEndian.PutUint64(b[8:], seq)
	binary.LittleEndian.PutUint32(b[4:], checksum(salt, b))
}

// A frameReader reads the frames of a file in order.
type frameReader struct {
	name string
	file io.ReaderAt
	size int64
	salt uint64
	// written is where the last data end; from there to size the file is reserved and reads as
	// zero.
	written int64

	off  int64  // of the next frame
	next uint64 // its sequence number
	ahead
}

// ahead is a window of the file that has been read.
type ahead struct {
	buf   []byte
	start int64
	n     int
}

const readAhead = 1 << 20

// bytes returns n bytes at off, valid until the next call.
func (r *frameReader) bytes(off int64, n int) ([]byte, error) {
	if off < r.start || off+int64(n) > r.start+int64(r.n) {
		want := max(n, readAhead)
		if cap(r.buf) < want {
			r.buf = make([]byte, want)
		}
		m := max(n, int(min(int64(want), r.written-off)))
		m = int(min(int64(m), r.size-off))
		if m < n {
			return nil, io.ErrUnexpectedEOF
		}
		r.n = 0
		got, err := r.file.ReadAt(r.buf[:m], off)
		if got < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		r.start, r.n = off, got
	}
	at := int(off - r.start)
	return r.buf[at : at+n], nil
}

// errBadFrame: there is no whole, right frame at this place.
var errBadFrame = errors.New("bad frame")

// read returns the payload of the next frame, valid until the next call. It returns io.EOF at the
// end of the file, errBadFrame when what follows is no frame, and any other error when the file
// cannot be read.
func (r *frameReader) read() ([]byte, error) {
	if r.off >= r.size {
		return nil, io.EOF
	}
	if r.size-r.off < frameHead {
		return nil, errBadFrame
	}
	head, err := r.bytes(r.off, frameHead)
	if err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head))
	if n > maxPayload || n > r.size-r.off-frameHead || binary.LittleEndian.Uint64(head[8:]) != r.next {
		return nil, errBadFrame
	}
	b, err := r.bytes(r.off, frameHead+int(n))
	if err != nil {
		return nil, err
	}
	if checksum(r.salt, b) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, errBadFrame
	}
	r.off += int64(len(b))
	r.next++
	return b[frameHead:], nil
}

// tail is what follows the last good frame of a file.
type tail int

const (
	tailZero   tail = iota // nothing, or space that was never written
	tailTorn               // bytes, and no frame after them
	tailDamage             // a good frame follows
)

// tail looks at all that follows the last good frame; after a good one it returns where that is.
func (r *frameReader) tail() (t tail, at int64, err error) {
	rest, err := r.rest()
	if err != nil {
		return 0, 0, err
	}
	if len(rest) == 0 {
		return tailZero, 0, nil
	}
	if i := r.resync(rest, 1); i >= 0 {
		return tailDamage, r.off + int64(i), nil
	}
	return tailTorn, 0, nil
}

// resync returns where in b, from i on, the next good frame starts, or -1.
func (r *frameReader) resync(b []byte, i int) int {
	for ; i+frameHead <= len(b); i++ {
		seq := binary.LittleEndian.Uint64(b[i+8:])
		if seq < r.next || seq-r.next > 1<<32 {
			continue
		}
		n := int64(binary.LittleEndian.Uint32(b[i:]))
		if n > int64(len(b)-i-frameHead) {
			continue
		}
		f := b[i : i+frameHead+int(n)]
		if checksum(r.salt, f) == binary.LittleEndian.Uint32(f[4:]) {
			return i
		}
	}
	return -1
}

// openFrames opens a file of ours for reading its frames.
func openFrames(f disk.File, name string, kind fileKind, number uint32) (*frameReader, header, error) {
	size, err := f.Size()
	if err != nil {
		return nil, header{}, err
	}
	written, err := writtenEnd(f, size)
	if err != nil {
		return nil, header{}, fmt.Errorf("read %s: %w", name, err)
	}
	b := make([]byte, min(size, headerSize))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, header{}, fmt.Errorf("read %s: %w", name, err)
	}
	h, err := decodeHeader(name, b, kind, number)
	if err != nil {
		return nil, header{}, err
	}
	return &frameReader{name: name, file: f, size: size, written: written, salt: h.salt, off: headerSize, next: h.first}, h, nil
}
