package redisstore

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

const (
	cacheShards  = 1 << shardBits // at most as many as bits in a word: a batch notes the shards it touches in one
	shardBits    = 4              // a batch of a hundred ids locks nearly all of them, so few are better than many
	maxCachedID  = 1 << 10
	maxCachedVal = 1 << 14
	maxLinks     = 256
	maxSpaces    = 255
	leastShard   = 16 << 10
)

// A cache holds packed states of peers by id, in a bounded number of bytes without pointers. It is right only together
// with the links: every entry carries the link that would tell of its change and that link's epoch when it was read.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
	tokens atomic.Uint64

	// links tells by number which epoch of a link is good: an entry of another epoch is not fresh.
	links [maxLinks]linkEpoch

	hits, misses, evicted, dropped atomic.Int64
	entries                        atomic.Int64

	// Only tests take one of the two guards out, to see that it is needed.
	noMarker, noEpoch bool
}

// A linkEpoch is what the cache knows of one link.
type linkEpoch struct {
	mu    sync.Mutex    // of whoever moves them
	epoch uint32        // moves with every loss and every confirmation
	good  atomic.Uint32 // the epoch while the link is up; 0 while it is not
	// From since to last are the epochs of the latest time in which it was up.
	since, last atomic.Uint32
}

// lost says that changes may now go unheard.
func (l *linkEpoch) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good.Store(0)
	l.epoch++
}

// confirmed says that from now on changes are heard.
func (l *linkEpoch) confirmed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.since.Store(l.epoch)
	l.last.Store(l.epoch)
	l.good.Store(l.epoch)
}

// renewed has everything read anew that hangs on a link which is up, without calling it unheard of.
func (l *linkEpoch) renewed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.good.Load() == 0 {
		return
	}
	l.epoch++
	l.last.Store(l.epoch)
	l.good.Store(l.epoch)
}

// A cacheShard is a ring of records and an index over them. The ring is a queue with a second chance: what was asked
// for since it was written is written again when its turn to go comes.
type cacheShard struct {
	mu         sync.RWMutex
	ring       []byte
	head, tail uint64 // positions, ever rising; the ring holds [tail, head)
	table      []uint64
	mask       uint32
	used       int
	marks      map[string]uint64 // of reads under way: space and id to token
}

// A record: size 4, id length 2, value length 2, epoch 4, link 1, space 1, dead 1, and one byte of nothing; id; value; to 8.
const (
	recordHead = 16
	stateHead  = 21 // the last byte of a packed state that an answer takes
)

// A word of the table: 31 bits of hash, one bit "asked for", 32 bits of offset in the ring divided by 8, plus 1.
const wordSeen = 1 << 32

func newCache(bytes int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	per := max(bytes/cacheShards, leastShard)
	table := 1 << (bits.Len(uint(per/80)) - 1) // some 20 bytes of table for a record of 100
	ring := (per - table*8) &^ 7
	tables := make([]uint64, cacheShards*table)
	adviseHuge(tables) // words lie all over them; records of few peers lie at the beginnings of the rings
	for i := range c.shards {
		c.shards[i] = cacheShard{
			ring: make([]byte, ring), table: tables[i*table:][:table:table], mask: uint32(table - 1), marks: map[string]uint64{},
		}
	}
	return c
}

func (c *cache) hash(space uint8, id []byte) uint64 {
	return maphash.Bytes(c.seed, id) ^ uint64(space)*0x9e3779b97f4a7c15
}

func shardOf(h uint64) int      { return int(h >> (64 - shardBits)) }
func wordTag(h uint64) uint32   { return uint32(h) & 0x7fffffff }
func tagOfWord(w uint64) uint32 { return uint32(w >> 33) }

// offset returns where in the ring the record of a word begins.
func offset(w uint64) uint64 { return uint64(uint32(w)-1) * 8 }

// find returns the index in the table of the record of id, or -1. The caller holds a lock of s.
func (s *cacheShard) find(h uint64, space uint8, id []byte) int {
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

func (s *cacheShard) is(o uint64, space uint8, id []byte) bool {
	r := s.ring[o:]
	n := int(binary.LittleEndian.Uint16(r[4:]))
	return n == len(id) && r[13] == space && string(r[recordHead:recordHead+n]) == string(id)
}

func (s *cacheShard) value(o uint64) []byte {
	r := s.ring[o:]
	n := recordHead + int(binary.LittleEndian.Uint16(r[4:]))
	return r[n : n+int(binary.LittleEndian.Uint16(r[6:]))]
}

// How far an entry may be believed.
type belief uint8

const (
	missing belief = iota
	fresh
	stale // the link was up when it was read, and is lost since
)

func (c *cache) belief(s *cacheShard, o uint64) belief {
	epoch, link := binary.LittleEndian.Uint32(s.ring[o+8:]), s.ring[o+12]
	l := &c.links[link]
	switch {
	case c.noEpoch && l.good.Load() != 0:
		return fresh
	case epoch == l.good.Load():
		return fresh
	case epoch >= l.since.Load() && epoch <= l.last.Load():
		return stale
	}
	return missing
}

// get appends the packed state of id to dst.
func (c *cache) get(space uint8, id, dst []byte) ([]byte, belief) {
	if space == 0 || len(id) > maxCachedID {
		return dst, missing
	}
	h := c.hash(space, id)
	s := &c.shards[shardOf(h)]
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(h, space, id)
	if i < 0 {
		return dst, missing
	}
	w := atomic.LoadUint64(&s.table[i])
	b := c.belief(s, offset(w))
	if b != missing {
		s.touch(i, w)
		dst = append(dst, s.value(offset(w))...)
	}
	return dst, b
}

func (s *cacheShard) touch(i int, w uint64) {
	if w&wordSeen == 0 {
		atomic.OrUint64(&s.table[i], wordSeen)
	}
}

// A lookup is the working memory of one batch.
type lookup struct {
	hash []uint64
	word []int
	miss []int
	sum  uint64 // of what was read ahead: the compiler would leave out reads that nobody uses
}

var lookups = sync.Pool{New: func() any { return new(lookup) }}

// statuses calls see with the packed state of every id that is in the cache and believed at least as far as least; see
// returns false when that does not answer. What is left is appended to lu.miss. A batch takes the locks of all
// shards it touches, in order, and touches the tables first and the records then, in passes that do nothing else: a branch that waits for
// one cache miss, and is guessed wrong, would keep the processor from beginning the next.
func (c *cache) statuses(space uint8, ids [][]byte, least belief, lu *lookup, see func(i int, state []byte) bool) {
	lu.hash, lu.word, lu.miss = lu.hash[:0], lu.word[:0], lu.miss[:0]
	var touched uint64
	for _, id := range ids {
		h := c.hash(space, id)
		lu.hash = append(lu.hash, h)
		touched |= 1 << shardOf(h)
	}
	for t := touched; t != 0; t &= t - 1 {
		c.shards[bits.TrailingZeros64(t)].mu.RLock()
	}
	sum := uint64(0)
	for _, h := range lu.hash {
		s := &c.shards[shardOf(h)]
		sum += atomic.LoadUint64(&s.table[wordTag(h)&s.mask])
	}
	for _, h := range lu.hash {
		lu.word = append(lu.word, c.shards[shardOf(h)].candidate(h))
	}
	for i, h := range lu.hash {
		if at := lu.word[i]; at >= 0 {
			s := &c.shards[shardOf(h)]
			r := s.ring[offset(atomic.LoadUint64(&s.table[at])):]
			sum += uint64(r[0]) + uint64(r[min(len(r)-1, recordHead+len(ids[i])+stateHead)])
		}
	}
	lu.sum = sum
	for i, id := range ids {
		h := lu.hash[i]
		s := &c.shards[shardOf(h)]
		at := lu.word[i]
		if at >= 0 && !s.is(offset(atomic.LoadUint64(&s.table[at])), space, id) {
			at = s.find(h, space, id)
		}
		if at < 0 {
			lu.miss = append(lu.miss, i)
			continue
		}
		w := atomic.LoadUint64(&s.table[at])
		o := offset(w)
		b := c.belief(s, o)
		if b == missing || b == stale && least == fresh || !see(i, s.value(o)) {
			lu.miss = append(lu.miss, i)
			continue
		}
		s.touch(at, w)
	}
	for t := touched; t != 0; t &= t - 1 {
		c.shards[bits.TrailingZeros64(t)].mu.RUnlock()
	}
	c.hits.Add(int64(len(ids) - len(lu.miss)))
	c.misses.Add(int64(len(lu.miss)))
}

// candidate returns the first word with the tag of h, or -1, without looking at its record.
func (s *cacheShard) candidate(h uint64) int {
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

func markOf(space uint8, id []byte) string {
	b := make([]byte, 0, 64)
	return string(append(append(b, space), id...))
}

// mark announces a read of id and returns the token under which its answer may be put.
func (c *cache) mark(space uint8, id []byte) uint64 {
	if space == 0 || len(id) > maxCachedID {
		return 0
	}
	token := c.tokens.Add(1)
	s := &c.shards[shardOf(c.hash(space, id))]
	s.mu.Lock()
	s.marks[markOf(space, id)] = token
	s.mu.Unlock()
	return token
}

// unmark takes back a mark whose read brought nothing.
func (c *cache) unmark(space uint8, id []byte, token uint64) {
	if token == 0 {
		return
	}
	s := &c.shards[shardOf(c.hash(space, id))]
	s.mu.Lock()
	if m := markOf(space, id); s.marks[m] == token {
		delete(s.marks, m)
	}
	s.mu.Unlock()
}

// put keeps what a read brought, if its mark still stands and the link is in the epoch in which it was asked.
func (c *cache) put(space uint8, id, state []byte, token uint64, link uint8, epoch uint32) {
	if token == 0 {
		return
	}
	h := c.hash(space, id)
	s := &c.shards[shardOf(h)]
	s.mu.Lock()
	defer s.mu.Unlock()
	m := markOf(space, id)
	standing := s.marks[m] == token
	if standing {
		delete(s.marks, m)
	}
	if !standing && !c.noMarker {
		return
	}
	if c.noEpoch {
		epoch = c.links[link].good.Load()
	}
	if epoch == 0 || epoch != c.links[link].good.Load() || len(state) > maxCachedVal {
		return
	}
	if i := s.find(h, space, id); i >= 0 {
		c.remove(s, i)
	}
	var head [recordHead]byte
	binary.LittleEndian.PutUint16(head[4:], uint16(len(id)))
	binary.LittleEndian.PutUint16(head[6:], uint16(len(state)))
	binary.LittleEndian.PutUint32(head[8:], epoch)
	head[12], head[13] = link, space
	c.write(s, h, head, id, state, secondChances)
}

// drop removes id: what stands, and what a read under way would put.
func (c *cache) drop(space uint8, id []byte) {
	if space == 0 || len(id) > maxCachedID {
		return
	}
	h := c.hash(space, id)
	s := &c.shards[shardOf(h)]
	s.mu.Lock()
	if len(s.marks) > 0 {
		delete(s.marks, markOf(space, id))
	}
	if i := s.find(h, space, id); i >= 0 {
		c.remove(s, i)
		c.dropped.Add(1)
	}
	s.mu.Unlock()
}

// remove takes the record of word i out of the table and leaves its bytes for the tail to pass over.
func (c *cache) remove(s *cacheShard, i int) {
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
func (c *cache) write(s *cacheShard, h uint64, head [recordHead]byte, id, state []byte, chances int) {
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

func (s *cacheShard) pad(at, n uint64) {
	binary.LittleEndian.PutUint32(s.ring[at:], uint32(n))
	if n >= recordHead {
		s.ring[at+14] = 1
	}
}

// evict moves the tail over one record. It reports whether the record was asked for and got its second chance, which
// it does not when chances is 0.
func (c *cache) evict(s *cacheShard, chances int) bool {
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
	seen := s.table[i]&wordSeen != 0 && chances > 0 && c.belief(s, at) == fresh
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

// bytes returns how much memory the cache may use.
func (c *cache) bytes() int64 {
	s := &c.shards[0]
	return int64(len(c.shards)) * int64(len(s.ring)+8*len(s.table))
}

// A read is one id on its way to Redis.
type read struct {
	i     int // in the batch
	token uint64
	link  uint8
	epoch uint32
}

// peek judges a packed state at now as queries see it. ok is false when it does not answer: a lease that has run out
// may have been renewed without a signal.
func peek(state []byte, now presence.Millis, rules *presence.Rules) (status presence.Status, noded, ok bool) {
	if len(state) == 0 {
		return presence.Unknown, false, true
	}
	status, noded = presence.PeekStatus(state, now, rules)
	return status, noded, status == presence.Online || len(state) < 9 || presence.Status(state[8]&3) != presence.Online
}
