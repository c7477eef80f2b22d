package nearcache

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// A shard is a ring of records and an index over them. The ring is a queue with a second chance:
// what was asked for since it was written is written again when its turn to go comes.
type shard struct {
	mu         sync.RWMutex
	ring       []byte
	head, tail uint64 // positions, ever rising; the ring holds [tail, head)
	table      []uint64
	mask       uint32
	used       int
	marks      map[string]uint64 // of reads under way: space and id to token
}

// A record: size 4, id length 2, value length 2, epoch 4, link 1, space 1, dead 1, and one byte of
// nothing; id; value; to 8.
const (
	recordHead = 16
	stateHead  = 21 // the last byte of a packed state that an answer takes
)

// A word of the table: 31 bits of hash, one bit "asked for", 32 bits of offset in the ring divided
// by 8, plus 1.
const wordSeen = 1 << 32

func shardOf(h uint64) int      { return int(h >> (64 - shardBits)) }
func wordTag(h uint64) uint32   { return uint32(h) & 0x7fffffff }
func tagOfWord(w uint64) uint32 { return uint32(w >> 33) }

// offset returns where in the ring the record of a word begins.
func offset(w uint64) uint64 { return uint64(uint32(w)-1) * 8 }

// find returns the index in the table of the record of id, or -1. The caller holds a lock of s.
func (s *shard) find(h uint64, space uint8, id []byte) int {
	tag := wordTag(h)
	for i := tag & s.mask; ; i = (i + 1) & s.mask {
		w := atomic.LoadUint64(&s.table[i])
		if w == 0 {
			return -1
		}
		if tagOfWord(w) == tag && s.is(offset(w), space, id) {
			return int(i)
		}
	}
}

func (s *shard) is(o uint64, space uint8, id []byte) bool {
	r := s.ring[o:]
	n := int(binary.LittleEndian.Uint16(r[4:]))
	return n == len(id) && r[13] == space && string(r[recordHead:recordHead+n]) == string(id)
}

func (s *shard) value(o uint64) []byte {
	r := s.ring[o:]
	n := recordHead + int(binary.LittleEndian.Uint16(r[4:]))
	return r[n : n+int(binary.LittleEndian.Uint16(r[6:]))]
}

func (s *shard) touch(i int, w uint64) {
	if w&wordSeen == 0 {
		atomic.OrUint64(&s.table[i], wordSeen)
	}
}

// candidate returns the first word with the tag of h, or -1, without looking at its record.
func (s *shard) candidate(h uint64) int {
	tag := wordTag(h)
	for i := tag & s.mask; ; i = (i + 1) & s.mask {
		w := atomic.LoadUint64(&s.table[i])
		if w == 0 {
			return -1
		}
		if tagOfWord(w) == tag {
			return int(i)
		}
	}
}

// remove takes the record of word i out of the table and leaves its bytes for the tail to pass
// over.
func (c *Cache) remove(s *shard, i int) {
	s.ring[offset(s.table[i])+14] = 1
	s.used--
	c.entries.Add(-1)
	hole := uint32(i)
	for j := (hole + 1) & s.mask; s.table[j] != 0; j = (j + 1) & s.mask {
		home := tagOfWord(s.table[j]) & s.mask
		if (j-home)&s.mask >= (j-hole)&s.mask { // its search passes the hole
			s.table[hole] = s.table[j]
			hole = j
		}
	}
	s.table[hole] = 0
}

func recordSize(id, state int) uint64 { return uint64(recordHead+id+state+7) &^ 7 }

// secondChances bounds how many records one write may spare.
const secondChances = 4

// write puts a record at the head of the ring and moves the tail as far as that takes.
func (c *Cache) write(s *shard, h uint64, head [recordHead]byte, id, state []byte, chances int) {
	n := recordSize(len(id), len(state))
	size := uint64(len(s.ring))
	if n > size/4 {
		return
	}
	for s.used >= len(s.table)*3/4 {
		if c.evict(s, chances) {
			chances--
		}
	}
	for {
		at := s.head % size
		need := n
		if at+n > size {
			need += size - at // the rest of the ring stays empty
		}
		if s.head+need-s.tail <= size {
			break
		}
		if c.evict(s, chances) {
			chances--
		}
	}
	if at := s.head % size; at+n > size {
		s.pad(at, size-at)
		s.head += size - at
	}
	at := s.head % size
	binary.LittleEndian.PutUint32(head[:], uint32(n))
	copy(s.ring[at:], head[:])
	copy(s.ring[at+recordHead:], id)
	copy(s.ring[at+recordHead+uint64(len(id)):], state)
	s.head += n
	i := wordTag(h) & s.mask
	for s.table[i] != 0 {
		i = (i + 1) & s.mask
	}
	s.table[i] = uint64(wordTag(h))<<33 | (at/8 + 1)
	s.used++
	c.entries.Add(1)
}

func (s *shard) pad(at, n uint64) {
	binary.LittleEndian.PutUint32(s.ring[at:], uint32(n))
	if n >= recordHead {
		s.ring[at+14] = 1
	}
}

// evict moves the tail over one record. It reports whether the record was asked for and got its
// second chance, which it does not when chances is 0.
func (c *Cache) evict(s *shard, chances int) bool {
	at := s.tail % uint64(len(s.ring))
	r := s.ring[at:]
	n := uint64(binary.LittleEndian.Uint32(r))
	if n < recordHead || r[14] == 1 {
		s.tail += n
		return false
	}
	idLen := int(binary.LittleEndian.Uint16(r[4:]))
	id, space := r[recordHead:recordHead+idLen], r[13]
	h := c.hash(space, id)
	i := s.find(h, space, id)
	seen := s.table[i]&wordSeen != 0 && chances > 0 && c.freshness(s, at) == Fresh
	if !seen {
		c.remove(s, i)
		c.evicted.Add(1)
		s.tail += n
		return false
	}
	head := [recordHead]byte(r[:recordHead])
	id, state := append([]byte(nil), id...), append([]byte(nil), s.value(at)...)
	c.remove(s, i)
	s.tail += n
	c.write(s, h, head, id, state, 0)
	return true
}
