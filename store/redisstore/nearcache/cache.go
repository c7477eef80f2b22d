package nearcache

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

const (
	// at most as many as bits in a word: a batch notes the shards it touches in one
	shards = 1 << shardBits
	// a batch of a hundred ids locks nearly all of them, so few are better than many
	shardBits  = 4
	leastShard = 16 << 10
	maxID      = 1 << 10
	maxState   = 1 << 14
	maxLinks   = 256
)

// MinBytes is the size of the smallest cache.
const MinBytes = shards * leastShard

// A Cache holds packed states of peers by id. It is safe for many goroutines.
type Cache struct {
	seed   maphash.Seed
	shards [shards]shard
	tokens atomic.Uint64
	epochs [maxLinks]Epoch // by number of the link
	spaces spaces
	off    bool // nothing is kept

	hits, misses, evicted, dropped atomic.Int64
	entries                        atomic.Int64

	// Without takes guards out: only tests set it, to see that each is needed.
	Without struct{ Marks, Epochs bool }
}

// New returns a cache of about that many bytes, at least [MinBytes]; with none it keeps nothing.
func New(bytes int) *Cache {
	c := &Cache{seed: maphash.MakeSeed(), off: bytes <= 0}
	per := max(bytes/shards, leastShard)
	table := 1 << (bits.Len(uint(per/80)) - 1) // some 20 bytes of table for a record of 100
	ring := (per - table*8) &^ 7
	tables := make([]uint64, shards*table)
	// words lie all over them; records of few peers lie at the beginnings of the rings
	adviseHuge(tables)
	for i := range c.shards {
		c.shards[i] = shard{
			ring: make([]byte, ring), table: tables[i*table:][:table:table], mask: uint32(table - 1), marks: map[string]uint64{},
		}
	}
	return c
}

// Epoch returns the epoch of a link by the link's number.
func (c *Cache) Epoch(link uint8) *Epoch { return &c.epochs[link] }

func (c *Cache) hash(space uint8, id []byte) uint64 {
	return maphash.Bytes(c.seed, id) ^ uint64(space)*0x9e3779b97f4a7c15
}

func (c *Cache) freshness(s *shard, o uint64) Freshness {
	l := &c.epochs[s.ring[o+12]]
	if c.Without.Epochs && l.Up() {
		return Fresh
	}
	return l.of(binary.LittleEndian.Uint32(s.ring[o+8:]))
}

// Get appends the packed state of id to dst.
func (c *Cache) Get(space uint8, id, dst []byte) ([]byte, Freshness) {
	if space == 0 || len(id) > maxID {
		return dst, Missing
	}
	h := c.hash(space, id)
	s := &c.shards[shardOf(h)]
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(h, space, id)
	if i < 0 {
		return dst, Missing
	}
	w := atomic.LoadUint64(&s.table[i])
	f := c.freshness(s, offset(w))
	if f != Missing {
		s.touch(i, w)
		dst = append(dst, s.value(offset(w))...)
	}
	return dst, f
}

// A Mark announces a read of one id. The zero Mark announces nothing.
type Mark struct {
	token uint64
	epoch uint32
	link  uint8
	space uint8
}

// Mark announces a read of id from the primary of a link. It returns the zero Mark when the answer
// cannot be kept.
func (c *Cache) Mark(space uint8, id []byte, link uint8) Mark {
	epoch := c.epochs[link].good.Load()
	if space == 0 || epoch == 0 || len(id) > maxID {
		return Mark{}
	}
	m := Mark{c.tokens.Add(1), epoch, link, space}
	s := &c.shards[shardOf(c.hash(space, id))]
	s.mu.Lock()
	s.marks[markKey(space, id)] = m.token
	s.mu.Unlock()
	return m
}

func markKey(space uint8, id []byte) string {
	b := make([]byte, 0, 64)
	return string(append(append(b, space), id...))
}

// Unmark takes back a mark whose read brought nothing to keep.
func (c *Cache) Unmark(id []byte, m Mark) {
	if m.token == 0 {
		return
	}
	s := &c.shards[shardOf(c.hash(m.space, id))]
	s.mu.Lock()
	if k := markKey(m.space, id); s.marks[k] == m.token {
		delete(s.marks, k)
	}
	s.mu.Unlock()
}

// Put keeps the state that a read brought, if its mark still stands and the link is in the epoch of
// the mark.
func (c *Cache) Put(id, state []byte, m Mark) {
	if m.token == 0 {
		return
	}
	h := c.hash(m.space, id)
	s := &c.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	k := markKey(m.space, id)
	standing := s.marks[k] == m.token
	if standing {
		delete(s.marks, k)
	}
	if !standing && !c.Without.Marks {
		return
	}
	good := c.epochs[m.link].good.Load()
	if c.Without.Epochs {
		m.epoch = good
	}
	if m.epoch == 0 || m.epoch != good || len(state) > maxState {
		return
	}
	if i := s.find(h, m.space, id); i >= 0 {
		c.remove(s, i)
	}
	var head [recordHead]byte
	binary.LittleEndian.PutUint16(head[4:], uint16(len(id)))
	binary.LittleEndian.PutUint16(head[6:], uint16(len(state)))
	binary.LittleEndian.PutUint32(head[8:], m.epoch)
	head[12], head[13] = m.link, m.space
	c.write(s, h, head, id, state, secondChances)
}

// Drop removes id: the entry, and what a read under way would put.
func (c *Cache) Drop(space uint8, id []byte) {
	if space == 0 || len(id) > maxID {
		return
	}
	h := c.hash(space, id)
	s := &c.shards[shardOf(h)]
	s.mu.Lock()
	if len(s.marks) > 0 {
		delete(s.marks, markKey(space, id))
	}
	if i := s.find(h, space, id); i >= 0 {
		c.remove(s, i)
		c.dropped.Add(1)
	}
	s.mu.Unlock()
}

// Stats returns counts since the cache was made, and sizes now, by names of their own.
func (c *Cache) Stats() map[string]int64 {
	s := &c.shards[0]
	return map[string]int64{
		"near_cache_hits": c.hits.Load(), "near_cache_misses": c.misses.Load(), "near_cache_entries": c.entries.Load(),
		"near_cache_evicted": c.evicted.Load(), "near_cache_invalidated": c.dropped.Load(),
		"near_cache_bytes": int64(len(c.shards)) * int64(len(s.ring)+8*len(s.table)),
	}
}
