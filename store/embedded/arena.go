package embedded

import "sync/atomic"

const (
	unit       = 2       // records start at multiples of this
	chunkSize  = 1 << 16 // bytes
	chunkUnits = chunkSize / unit
	maxSmall   = 1024 // longer records live apart

	refSize  = 4         // bytes: no free block is smaller
	refDead  = 1<<32 - 1 // a removed table entry
	refLarge = 1 << 31   // a record that lives apart
)

// An arena holds the records of one shard in chunks without pointers, so that the garbage collector
// has nothing to walk. A reference is an offset in units. Only the writer calls alloc and release;
// at may be called by readers that hold an epoch and found the reference in a table.
type arena struct {
	slabs  *slabs
	chunks atomic.Pointer[[][]byte]
	large  atomic.Pointer[[]*largePage]

	// Of the writer.
	next      uint32 // first unit never used
	free      [maxSmall/unit + 1]uint32
	freeBytes int // in the free lists
	largeNext uint32
	largeFree []uint32
	largeSize int
}

type largePage [256]atomic.Pointer[[]byte]

func newArena(slabs *slabs) *arena {
	a := &arena{slabs: slabs, next: 1} // reference 0 is no reference
	a.chunks.Store(&[][]byte{})
	a.large.Store(&[]*largePage{})
	return a
}

// at returns the memory from ref on; the record knows its own length.
func (a *arena) at(ref uint32) []byte {
	if ref&refLarge != 0 {
		i := ref &^ refLarge
		return *(*a.large.Load())[i>>8][i&255].Load()
	}
	return (*a.chunks.Load())[ref/chunkUnits][ref%chunkUnits*unit:]
}

// alloc returns room for n bytes and its reference. The caller fills it before it publishes the
// reference.
func (a *arena) alloc(n int) (uint32, []byte) {
	if n > maxSmall {
		return a.allocLarge(n)
	}
	class := (n + unit - 1) / unit
	if ref := a.free[class]; ref != 0 {
		b := a.at(ref)
		a.free[class] = getRef(b)
		a.freeBytes -= class * unit
		return ref, b[:n]
	}
	if ref, b := a.split(class); ref != 0 {
		return ref, b[:n]
	}
	if room := chunkUnits - int(a.next%chunkUnits); a.next == 1 || a.next%chunkUnits == 0 || room < class {
		a.grow(room)
	}
	ref := a.next
	a.next += uint32(class)
	return ref, a.at(ref)[:n]
}

// split takes room for class out of a free block at least twice as large, so that memory of records
// that were long once serves short ones too.
func (a *arena) split(class int) (uint32, []byte) {
	if a.freeBytes < chunkSize {
		return 0, nil
	}
	for c := 2 * class; c < len(a.free); c++ {
		ref := a.free[c]
		if ref == 0 {
			continue
		}
		b := a.at(ref)
		a.free[c] = getRef(b)
		a.freeBytes -= c * unit
		a.release(ref+uint32(class), (c-class)*unit)
		return ref, b
	}
	return 0, nil
}

// grow adds a chunk; what is left of the last one, room units, is kept for short records.
func (a *arena) grow(room int) {
	old := *a.chunks.Load()
	if len(old) > 0 && room < chunkUnits && room*unit >= refSize {
		if room > maxSmall/unit {
			room = maxSmall / unit
		}
		a.release(a.next, room*unit)
	}
	chunks := make([][]byte, len(old)+1)
	copy(chunks, old)
	chunks[len(old)] = a.slabs.chunk()
	a.chunks.Store(&chunks)
	a.next = max(1, uint32(len(old))*chunkUnits)
}

// release gives back the memory of a record of n bytes that no reader can see any more.
func (a *arena) release(ref uint32, n int) {
	if ref&refLarge != 0 {
		i := ref &^ refLarge
		(*a.large.Load())[i>>8][i&255].Store(nil)
		a.largeFree = append(a.largeFree, i)
		a.largeSize -= n
		return
	}
	class := (n + unit - 1) / unit
	putRef(a.at(ref), a.free[class])
	a.free[class] = ref
	a.freeBytes += class * unit
}

func (a *arena) allocLarge(n int) (uint32, []byte) {
	var i uint32
	if last := len(a.largeFree) - 1; last >= 0 {
		i = a.largeFree[last]
		a.largeFree = a.largeFree[:last]
	} else {
		i = a.largeNext
		a.largeNext++
		if old := *a.large.Load(); int(i>>8) == len(old) {
			pages := append(append([]*largePage{}, old...), new(largePage))
			a.large.Store(&pages)
		}
	}
	b := make([]byte, n)
	(*a.large.Load())[i>>8][i&255].Store(&b)
	a.largeSize += n
	return i | refLarge, b
}

// bytes is what the arena takes of memory.
func (a *arena) bytes() int { return len(*a.chunks.Load())*chunkSize + a.largeSize }

func getRef(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func putRef(b []byte, ref uint32) {
	b[0], b[1], b[2], b[3] = byte(ref), byte(ref>>8), byte(ref>>16), byte(ref>>24)
}
