package embedded

import (
	"hash/maphash"
	"sync/atomic"

	"rollcall/presence"
)

// batch is what one call of statuses needs besides its arguments.
type batch struct {
	hint int
	hash [batchSize]uint64
	view [batchSize]*view
	word [batchSize]uint64
	rec  [batchSize][]byte
	sum  uint64 // of what was read ahead: the compiler would leave out reads without a use
}

// statuses answers in passes over the whole batch, so that the cache misses of one pass overlap.
func (x *index) statuses(bt *batch, app uint32, peers [][]byte, now presence.Millis, rules *presence.Rules, out []presence.Status) {
	j := newJudge(now, rules)
	for len(peers) > 0 {
		n := min(len(peers), batchSize)
		bt.hint = x.epochs.enter(bt.hint)
		x.some(bt, app, peers[:n], &j, out)
		x.epochs.leave(bt.hint)
		peers, out = peers[n:], out[n:]
	}
}

// some is the hot loop of all queries. Memory is touched in passes that do nothing else: a branch
// that waits for one miss, and is guessed wrong, would keep the processor from beginning the next.
func (x *index) some(bt *batch, app uint32, peers [][]byte, j *judge, out []presence.Status) {
	m := mix(app)
	for i, p := range peers {
		bt.hash[i] = maphash.Bytes(x.seed, p) ^ m
	}
	sum := uint64(0)
	for i := range peers {
		h := bt.hash[i]
		v := x.shards[h%shards].view.Load()
		at := home(tagOf(h), v.homes)
		bt.view[i] = v
		bt.word[i] = atomic.LoadUint64(&v.table[at])
		sum += atomic.LoadUint64(&v.table[at+lookahead])
	}
	for i := range peers {
		bt.rec[i] = bt.probe(i)
	}
	for i, p := range peers {
		// No further than the record goes: what is behind it may be another's that is just being
		// written.
		if rec := bt.rec[i]; rec != nil && rec[0] == byte(len(p)) {
			sum += uint64(rec[min(len(rec)-1, judged+len(p))])
		}
	}
	bt.sum = sum
	for i, p := range peers {
		st, ok := j.usual(bt.rec[i], app, p)
		if !ok {
			st = bt.unusual(i, app, p, j)
		}
		out[i] = st
	}
}

// unusual answers for what is not the record of p in the usual shape.
func (bt *batch) unusual(i int, app uint32, p []byte, j *judge) presence.Status {
	rec := bt.rec[i]
	if rec == nil {
		return presence.Unknown
	}
	a, peer, s, _ := split(rec)
	if a != app || string(peer) != string(p) {
		_, rec, ok := find(bt.view[i], tagOf(bt.hash[i]), app, p)
		if !ok {
			return presence.Unknown
		}
		_, _, s, _ = split(rec)
	}
	st, _ := s.peek(j.now, j.rules)
	return st
}

// probe returns the first record with the right tag, or nil.
func (bt *batch) probe(i int) []byte {
	v, tag := bt.view[i], tagOf(bt.hash[i])
	w := bt.word[i]
	for pos := home(tag, v.homes); w != 0; {
		if uint32(w>>32) == tag && uint32(w) != refDead {
			return v.arena.at(uint32(w))
		}
		pos++
		if pos == len(v.table) {
			return nil
		}
		w = atomic.LoadUint64(&v.table[pos])
	}
	return nil
}
