package embedded

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	shards   = 256
	minTable = 8
	spill    = 64 // slots after the last home, so that no probe wraps around
)

// The index finds the record of a peer. One writer at a time; any number of readers, without locks.
//
// A shard's table is a slice of words: the upper half is a tag, the upper 32 bits of the hash; the
// lower half a reference into the arena. The home of a tag is tag*n>>32, so a table is in the order
// of the hash but for displacement: a walk by tag sees every record that is there throughout
// exactly once, however often the table is built anew in between. See [index.scan].
type index struct {
	seed   maphash.Seed
	slabs  *slabs
	epochs epochs
	shards [shards]shard

	// Of the writer.
	retired []retired
	scratch []byte
	bytes   atomic.Int64
	used    atomic.Int64 // bytes less free room in arenas, which new records take first
	peers   atomic.Int64
}

type shard struct {
	view atomic.Pointer[view]

	// Of the writer.
	live, dead int // entries of the table
	liveBytes  int
	size       int // what was added to index.bytes
	used       int // what was added to index.used
}

// A view is a table with the arena that its references point into.
type view struct {
	table []uint64 // read and written atomically
	homes uint32
	arena *arena
}

// retired is the memory of a record, or, when ref is 0, of a whole arena.
type retired struct {
	epoch uint64
	arena *arena
	ref   uint32
	size  uint32
}

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	x.slabs = newSlabs(x)
	for i := range x.shards {
		sh := &x.shards[i]
		sh.view.Store(&view{table: make([]uint64, minTable+spill), homes: minTable, arena: newArena(x.slabs)})
		x.account(sh)
	}
	return x
}

// mix keeps the peers of two apps apart.
func mix(app uint32) uint64 { return uint64(app) * 0x9e3779b97f4a7c15 }

func (x *index) hash(app uint32, peer string) uint64 {
	return maphash.String(x.seed, peer) ^ mix(app)
}

func (x *index) hashBytes(app uint32, peer []byte) uint64 {
	return maphash.Bytes(x.seed, peer) ^ mix(app)
}

// reserve makes the tables wide enough for so many peers.
func (x *index) reserve(peers int64) {
	homes := uint32(peers/shards*5/4) + minTable
	for i := range x.shards {
		sh := &x.shards[i]
		sh.view.Store(&view{table: make([]uint64, homes+spill), homes: homes, arena: sh.view.Load().arena})
		x.account(sh)
	}
}

func (x *index) shard(h uint64) *shard { return &x.shards[h%shards] }

func tagOf(h uint64) uint32 { return uint32(h >> 32) }

func home(tag, homes uint32) int { return int(uint64(tag) * uint64(homes) >> 32) }

// find returns the position and the record of a peer; ok is false when it is not there.
func find[K string | []byte](v *view, tag, app uint32, peer K) (pos int, rec []byte, ok bool) {
	for pos = home(tag, v.homes); pos < len(v.table); pos++ {
		w := atomic.LoadUint64(&v.table[pos])
		if w == 0 {
			return pos, nil, false
		}
		if uint32(w>>32) == tag && uint32(w) != refDead {
			rec = v.arena.at(uint32(w))
			if a, p, _, _ := split(rec); a == app && string(p) == string(peer) {
				return pos, rec, true
			}
		}
	}
	return pos, nil, false
}

// get appends the packed state of a peer to b; nothing is appended when it is not known.
func (x *index) get(b []byte, app uint32, peer string) []byte {
	h := x.hash(app, peer)
	slot := x.epochs.enter(int(h>>8) % readers)
	defer x.epochs.leave(slot)
	return x.getAt(b, h, app, peer)
}

// getAt is get for callers inside an epoch, and for the writer.
func (x *index) getAt(b []byte, h uint64, app uint32, peer string) []byte {
	if _, rec, ok := find(x.shard(h).view.Load(), tagOf(h), app, peer); ok {
		_, _, st, _ := split(rec)
		b = st.expand(b)
	}
	return b
}

// put keeps packed as the state of a peer. Only the writer calls it.
func (x *index) put(h uint64, app uint32, peer string, packed []byte) {
	sh := x.shard(h)
	v := sh.view.Load()
	tag := tagOf(h)
	pos, old, found := find(v, tag, app, peer)
	if !found && (pos >= len(v.table) || sh.live+sh.dead >= int(v.homes)-int(v.homes)/6) {
		v = x.rebuild(sh)
		pos, _, _ = find(v, tag, app, peer)
	}
	var st state
	st, x.scratch = squeeze(x.scratch, packed)
	n := recordSize(app, peer, st)
	ref, b := v.arena.alloc(n)
	putRecord(b, app, peer, st)
	was := atomic.LoadUint64(&v.table[pos])
	atomic.StoreUint64(&v.table[pos], uint64(tag)<<32|uint64(ref))
	sh.liveBytes += n
	if found {
		x.retire(sh, v.arena, uint32(was), old)
	} else {
		sh.live++
		x.peers.Add(1)
	}
	x.account(sh)
}

// remove forgets a peer. Only the writer calls it.
func (x *index) remove(h uint64, app uint32, peer string) {
	sh := x.shard(h)
	v := sh.view.Load()
	pos, rec, ok := find(v, tagOf(h), app, peer)
	if !ok {
		return
	}
	w := atomic.LoadUint64(&v.table[pos])
	atomic.StoreUint64(&v.table[pos], w|refDead)
	x.retire(sh, v.arena, uint32(w), rec)
	sh.live--
	sh.dead++
	x.peers.Add(-1)
	x.account(sh)
}

func (x *index) retire(sh *shard, a *arena, ref uint32, rec []byte) {
	_, _, _, n := split(rec)
	sh.liveBytes -= n
	x.retired = append(x.retired, retired{x.epochs.now.Load(), a, ref, uint32(n)})
	if len(x.retired) >= 256 {
		x.reclaim()
	}
}

// reclaim gives back what no reader can see any more.
func (x *index) reclaim() {
	oldest := x.epochs.advance()
	n := 0
	for n < len(x.retired) && x.retired[n].epoch < oldest {
		r := &x.retired[n]
		if r.ref == 0 {
			r.arena.slabs.release(*r.arena.chunks.Load())
		} else {
			r.arena.release(r.ref, int(r.size))
		}
		n++
	}
	x.retired = x.retired[:copy(x.retired, x.retired[n:])]
}

// rebuild gives a shard a table that fits and, when much of its arena is free, a new arena too.
func (x *index) rebuild(sh *shard) *view {
	old := sh.view.Load()
	homes := uint32(max(minTable, (sh.live+1)*5/4))
	a := old.arena
	if waste := a.bytes() - sh.liveBytes; waste > chunkSize && waste > sh.liveBytes/4 {
		a = newArena(x.slabs)
	}
	for {
		v := &view{table: make([]uint64, int(homes)+spill), homes: homes, arena: a}
		if fill(v, old) {
			sh.view.Store(v)
			sh.dead = 0
			if a != old.arena {
				x.retired = append(x.retired, retired{epoch: x.epochs.now.Load(), arena: old.arena})
			}
			return v
		}
		homes += homes/4 + 1
	}
}

// fill enters all of old into v; it reports false when the table is too narrow.
func fill(v, old *view) bool {
	for _, w := range old.table {
		if w == 0 || uint32(w) == refDead {
			continue
		}
		pos := home(uint32(w>>32), v.homes)
		for v.table[pos] != 0 && pos < len(v.table)-1 {
			pos++
		}
		if pos == len(v.table)-1 {
			return false // the last slot stays empty, for the one to come
		}
		if v.arena != old.arena {
			rec := old.arena.at(uint32(w))
			_, _, _, n := split(rec)
			ref, b := v.arena.alloc(n)
			copy(b, rec[:n])
			w = w&^uint64(refDead) | uint64(ref)
		}
		v.table[pos] = w
	}
	return true
}

// account keeps the number of bytes in use.
func (x *index) account(sh *shard) {
	v := sh.view.Load()
	size := len(v.table)*8 + v.arena.bytes()
	if size != sh.size {
		x.bytes.Add(int64(size - sh.size))
		sh.size = size
	}
	if used := len(v.table)*8 + sh.liveBytes; used != sh.used {
		x.used.Add(int64(used - sh.used))
		sh.used = used
	}
}

// scan calls fn for the records of a shard whose tag is at least from, in whole runs of the table,
// until it has seen some. It returns the tag to go on from; more is false at the end of the shard.
// All records with tags between the two were seen. What fn is given is valid until it returns.
func (x *index) scan(n int, from uint32, some int, fn func(tag, app uint32, peer, packed []byte)) (next uint32, more bool) {
	slot := x.epochs.enter(n % readers)
	defer x.epochs.leave(slot)
	v := x.shards[n].view.Load()
	var room [256]byte
	packed := room[:0]
	for pos := home(from, v.homes); pos < len(v.table); pos++ {
		w := atomic.LoadUint64(&v.table[pos])
		if w == 0 {
			if some <= 0 && pos+1 < int(v.homes) {
				// Nothing beyond an empty slot has its home before it.
				return firstTag(pos+1, v.homes), true
			}
			continue
		}
		tag := uint32(w >> 32)
		if tag < from || uint32(w) == refDead {
			continue
		}
		app, peer, st, _ := split(v.arena.at(uint32(w)))
		packed = st.expand(packed[:0])
		fn(tag, app, peer, packed)
		some--
	}
	return 0, false
}

// firstTag is the least tag whose home is pos.
func firstTag(pos int, homes uint32) uint32 {
	return uint32((uint64(pos)<<32 + uint64(homes) - 1) / uint64(homes))
}

const (
	batchSize = 128
	lookahead = 3 // slots behind the home that a probe most likely gets to; less than spill
)

// withTag calls fn for the records of a shard that have this tag: one, but for collisions.
func (x *index) withTag(n int, tag uint32, fn func(app uint32, peer, packed []byte)) {
	slot := x.epochs.enter(n % readers)
	defer x.epochs.leave(slot)
	v := x.shards[n].view.Load()
	for pos := home(tag, v.homes); pos < len(v.table); pos++ {
		w := atomic.LoadUint64(&v.table[pos])
		if w == 0 {
			return
		}
		if uint32(w>>32) == tag && uint32(w) != refDead {
			app, peer, st, _ := split(v.arena.at(uint32(w)))
			fn(app, peer, st.expand(nil))
		}
	}
}
