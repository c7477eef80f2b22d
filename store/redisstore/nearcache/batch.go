package nearcache

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// A Lookup is the working memory of one batch.
type Lookup struct {
	Miss []int // what the batch did not answer, by place in it

	hash []uint64
	word []int
	// of what was read ahead: the compiler would leave out reads whose result is not used
	sum uint64
}

var lookups = sync.Pool{New: func() any { return new(Lookup) }}

// NewLookup returns a Lookup to be released after use.
func NewLookup() *Lookup { return lookups.Get().(*Lookup) }

// Release gives lu back.
func (lu *Lookup) Release() { lookups.Put(lu) }

// All makes every one of n ids a miss.
func (lu *Lookup) All(n int) {
	lu.Miss = lu.Miss[:0]
	for i := range n {
		lu.Miss = append(lu.Miss, i)
	}
}

// Batch calls see with the packed state of every id that is in the cache and at least as fresh as
// least, [Fresh] or [Stale]; see returns false when that does not answer. The rest goes to lu.Miss.
// In space 0 all are misses.
//
// A batch takes the locks of all shards that it touches, in order, and touches the tables first and
// the records then, in passes that do nothing else: a branch that waits for one cache miss of the
// processor, and is guessed wrong, would keep it from beginning the next.
func (c *Cache) Batch(space uint8, ids [][]byte, least Freshness, lu *Lookup, see func(i int, state []byte) bool) {
	if space == 0 {
		lu.All(len(ids))
		return
	}
	lu.hash, lu.word, lu.Miss = lu.hash[:0], lu.word[:0], lu.Miss[:0]
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
			lu.Miss = append(lu.Miss, i)
			continue
		}
		w := atomic.LoadUint64(&s.table[at])
		o := offset(w)
		f := c.freshness(s, o)
		if f == Missing || f == Stale && least == Fresh || !see(i, s.value(o)) {
			lu.Miss = append(lu.Miss, i)
			continue
		}
		s.touch(at, w)
	}
	for t := touched; t != 0; t &= t - 1 {
		c.shards[bits.TrailingZeros64(t)].mu.RUnlock()
	}
	c.hits.Add(int64(len(ids) - len(lu.Miss)))
	c.misses.Add(int64(len(lu.Miss)))
}
