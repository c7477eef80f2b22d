package redisstore

import (
	"context"
	"slices"
	"time"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

// statuses answers without the spool. While Redis is down the answer has an age if everything asked
// for is in the cache and not too old.
func (s *Store) statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	space := s.cache.Space(app)
	lu := nearcache.NewLookup()
	defer lu.Release()
	begun, asked := s.conn.Millis(), space
	if s.conn.Unproven() {
		asked = 0
	}
	s.cachedStatuses(asked, peers, nearcache.Fresh, now, lu, out)
	if len(lu.Miss) == 0 {
		return s.outage.doubtAge(), nil
	}
	dead := s.nodes.deadNodes()
	err := s.reader.read(ctx, app, asked, peers, lu.Miss, now, true, func(i int, state []byte) {
		out[i] = s.reader.judge(state, now, dead)
	})
	if err == nil {
		return s.outage.readAge(app, peers, lu.Miss, begun), nil
	}
	return s.staleStatuses(space, peers, lu, now, out, err)
}

// cachedStatuses answers what it can from the cache and leaves the rest in lu.Miss.
func (s *Store) cachedStatuses(space uint8, peers [][]byte, least nearcache.Freshness, now presence.Millis, lu *nearcache.Lookup, out []presence.Status) {
	dead := s.nodes.deadNodes()
	rules := &s.rules
	s.cache.Batch(space, peers, least, lu, func(i int, state []byte) bool {
		status, noded, ok := peek(state, now, rules)
		if noded && dead != nil {
			status = s.reader.judge(state, now, dead)
		}
		out[i] = status
		return ok
	})
}

// staleStatuses answers from what was true when the links were lost, or returns err.
func (s *Store) staleStatuses(space uint8, peers [][]byte, lu *nearcache.Lookup, now presence.Millis, out []presence.Status, err error) (time.Duration, error) {
	age, ok := s.conn.Staleness(s.cfg.Stale)
	if !ok || space == 0 {
		return 0, err
	}
	still := now.Add(-age) // leases stand still while they cannot be renewed
	ids := make([][]byte, len(lu.Miss))
	index := append([]int(nil), lu.Miss...)
	for k, i := range index {
		ids[k] = peers[i]
	}
	found := make([]presence.Status, len(ids))
	s.cachedStatuses(space, ids, nearcache.Stale, still, lu, found)
	if len(lu.Miss) > 0 {
		return 0, err
	}
	for k, i := range index {
		out[i] = found[k]
	}
	return age, nil
}

// summaries answers without the spool. The cache does not answer for a peer whose leases are
// renewed without a signal: its last sign of life may be newer.
func (s *Store) summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	byApp := map[presence.AppID][]int{}
	for i := range keys {
		byApp[keys[i].App] = append(byApp[keys[i].App], i)
	}
	for app, index := range byApp {
		old, err := s.summariesOf(ctx, app, keys, index, out)
		if err != nil {
			return 0, err
		}
		age = max(age, old)
	}
	return age, nil
}

func (s *Store) summariesOf(ctx context.Context, app presence.AppID, keys []presence.Key, index []int, out []presence.Summary) (time.Duration, error) {
	space := s.cache.Space(app)
	ids := make([][]byte, len(index))
	miss := make([]int, 0, len(index))
	var buf []byte
	begun, asked := s.conn.Millis(), space
	if s.conn.Unproven() {
		asked = 0
	}
	for k, i := range index {
		ids[k] = []byte(keys[i].Peer)
		var b nearcache.Freshness
		if buf, b = s.cache.Get(asked, ids[k], buf[:0]); b == nearcache.Fresh {
			if sum := presence.PeekSummary(buf); sum.Status != presence.Online || sum.Noded {
				out[i] = sum
				continue
			}
		}
		miss = append(miss, k)
	}
	if len(miss) == 0 {
		return s.outage.doubtAge(), nil
	}
	err := s.reader.read(ctx, app, asked, ids, miss, 0, true, func(k int, state []byte) {
		out[index[k]] = presence.PeekSummary(state)
	})
	if err == nil {
		return s.outage.readAge(app, ids, miss, begun), nil
	}
	age, ok := s.conn.Staleness(s.cfg.Stale)
	if !ok {
		return 0, err
	}
	for _, k := range miss {
		var b nearcache.Freshness
		if buf, b = s.cache.Get(space, ids[k], buf[:0]); b == nearcache.Missing {
			return 0, err
		}
		out[index[k]] = presence.PeekSummary(buf)
	}
	return age, nil
}

// Load implements [presence.Store]. It never comes from the cache.
func (s *Store) Load(ctx context.Context, key presence.Key, st *presence.State) error {
	var out [1]presence.State
	err := s.Loads(ctx, []presence.Key{key}, out[:])
	*st = out[0]
	return err
}

// Loads implements [presence.Store]. Nothing comes from the cache, and the deadline is that of each
// step.
func (s *Store) Loads(ctx context.Context, keys []presence.Key, out []presence.State) error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	byApp := map[presence.AppID][]int{}
	for i := range keys {
		byApp[keys[i].App] = append(byApp[keys[i].App], i)
	}
	var part *presence.PartError
	for app, index := range byApp {
		for some := range slices.Chunk(index, readChunk) {
			ids, all := make([][]byte, len(some)), make([]int, len(some))
			for k, i := range some {
				ids[k], all[k] = []byte(keys[i].Peer), k
				out[i] = presence.State{}
			}
			err := s.reader.read(ctx, app, 0, ids, all, 0, false, func(k int, state []byte) {
				if len(state) == 0 {
					return
				}
				if bad := out[some[k]].Unpack(state); bad != nil {
					out[some[k]] = presence.State{}
					if part == nil {
						part = &presence.PartError{Err: conn.Unavailable(bad)}
					}
					part.Failed = append(part.Failed, some[k])
				}
			})
			if err != nil {
				return err
			}
		}
	}
	if part != nil {
		slices.Sort(part.Failed)
		return part
	}
	return nil
}

func (r *reader) readChunk(ctx context.Context, app presence.AppID, space uint8, ids [][]byte, chosen []int, now presence.Millis, answers bool, see func(i int, state []byte)) error {
	var scratch [64]nearcache.Mark
	marks := scratch[:0]
	unmark := func() {
		for k := range marks {
			r.cache.Unmark(ids[chosen[k]], marks[k])
		}
	}
	summaries, states := r.keys.peerKeys(app, ids, chosen)
	for k, i := range chosen {
		l := r.conn.LinkOf(summaries[k])
		var m nearcache.Mark
		if l != nil {
			if l.Down() {
				unmark()
				return conn.ErrDown
			}
			m = r.cache.Mark(space, ids[i], l.Number())
		}
		marks = append(marks, m)
	}
	r.stats.reads.Add(int64(len(chosen)))
	values, err := r.getOwned(ctx, states)
	if err != nil {
		unmark()
		return err
	}
	plain, err := r.readRecipe(ctx, summaries, values, now, answers)
	if err != nil {
		unmark()
		return err
	}
	for _, k := range plain { // not to be merged into, so not to be kept either
		r.cache.Unmark(ids[chosen[k]], marks[k])
		marks[k] = nearcache.Mark{}
	}
	for k, i := range chosen {
		see(i, values[k])
		r.cache.Put(ids[i], values[k], marks[k])
	}
	return nil
}
