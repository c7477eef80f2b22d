package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/nearcache"
)

// Statuses implements [presence.Store]. While Redis is away the answer has an age if everything asked for is in the
// cache and not too old.
func (s *Store) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	if s.closed() {
		return 0, errClosed
	}
	space := s.cache.Space(app)
	lu := nearcache.NewLookup()
	defer lu.Release()
	begun, asked := s.millis(), space
	if s.unproven() {
		asked = 0
	}
	s.cachedStatuses(asked, peers, nearcache.Fresh, now, lu, out)
	var ov overlay
	if s.outage.box.Overlaid() {
		lu.Miss = s.overlaid(&ov, app, peers, lu.Miss, out)
	}
	if len(lu.Miss) == 0 {
		return s.aged(max(ov.age, s.doubtAge())), nil
	}
	dead := s.deadNodes()
	err := s.read(ctx, app, asked, peers, lu.Miss, now, true, func(i int, state []byte) {
		out[i] = s.judge(ov.apply(s, i, state), now, dead)
	})
	if err == nil {
		return s.aged(max(ov.age, s.readAge(app, peers, lu.Miss, begun))), nil
	}
	left, ok := ov.unread(s, lu.Miss, func(i int) presence.Key { return presence.Key{App: app, Peer: presence.PeerID(peers[i])} },
		func(i int, sum presence.Summary) { out[i] = sum.Status })
	if lu.Miss = left; !ok {
		return 0, err
	}
	if len(left) == 0 {
		return s.aged(ov.age), nil
	}
	age, err := s.staleStatuses(space, peers, lu, now, out, err)
	return max(age, ov.age), err
}

// aged counts an answer of that age, which it returns.
func (s *Store) aged(age time.Duration) time.Duration {
	if age > 0 {
		s.stats.staleAnswers.Add(1)
	}
	return age
}

// cachedStatuses answers what it can from the cache and leaves the rest in lu.Miss.
func (s *Store) cachedStatuses(space uint8, peers [][]byte, least nearcache.Freshness, now presence.Millis, lu *nearcache.Lookup, out []presence.Status) {
	dead := s.deadNodes()
	rules := &s.rules
	s.cache.Batch(space, peers, least, lu, func(i int, state []byte) bool {
		status, noded, ok := peek(state, now, rules)
		if noded && dead != nil {
			status = s.judge(state, now, dead)
		}
		out[i] = status
		return ok
	})
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

// judge returns what a packed state says at now to a query that knows which nodes are dead.
func (s *Store) judge(state []byte, now presence.Millis, dead map[presence.NodeID]presence.Millis) presence.Status {
	if len(state) == 0 {
		return presence.Unknown
	}
	status, noded := presence.PeekStatus(state, now, &s.rules)
	if !noded || len(dead) == 0 {
		return status
	}
	var st presence.State
	if st.Unpack(state) != nil {
		return status
	}
	for i := range st.Sessions {
		ss := &st.Sessions[i]
		if at, gone := dead[ss.Node]; ss.Live(now) && (ss.Node == "" || !gone || ss.Outlives(at, now)) {
			return presence.Online
		}
	}
	for i := range st.Slots {
		if st.Slots[i].Live(now) {
			return presence.Online
		}
	}
	return presence.Offline
}

// staleStatuses answers from what was true when the links were lost, or returns err.
func (s *Store) staleStatuses(space uint8, peers [][]byte, lu *nearcache.Lookup, now presence.Millis, out []presence.Status, err error) (time.Duration, error) {
	age, ok := s.staleness()
	if !ok || space == 0 {
		return 0, err
	}
	still := now.Add(-age) // leases stand still while nobody can renew them
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
	return s.aged(age), nil
}

// Summaries implements [presence.Store]. The cache does not answer for a peer whose leases are renewed without a
// signal: its last sign of life may be newer.
func (s *Store) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	if s.closed() {
		return 0, errClosed
	}
	byApp := map[presence.AppID][]int{}
	for i := range keys {
		byApp[keys[i].App] = append(byApp[keys[i].App], i)
	}
	for app, index := range byApp {
		old, err := s.summaries(ctx, app, keys, index, out)
		if err != nil {
			return 0, err
		}
		age = max(age, old)
	}
	return age, nil
}

func (s *Store) summaries(ctx context.Context, app presence.AppID, keys []presence.Key, index []int, out []presence.Summary) (time.Duration, error) {
	space := s.cache.Space(app)
	ids := make([][]byte, len(index))
	miss := make([]int, 0, len(index))
	var buf []byte
	begun, asked := s.millis(), space
	if s.unproven() {
		asked = 0
	}
	var ov overlay
	overlaid := s.outage.box.Overlaid()
	for k, i := range index {
		ids[k] = []byte(keys[i].Peer)
		if overlaid {
			if sum, read, ok := ov.layer(s, k, keys[i]); read {
				miss = append(miss, k)
				continue
			} else if ok {
				out[i] = sum
				continue
			}
		}
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
		return s.aged(max(ov.age, s.doubtAge())), nil
	}
	err := s.read(ctx, app, asked, ids, miss, 0, true, func(k int, state []byte) {
		out[index[k]] = presence.PeekSummary(ov.apply(s, k, state))
	})
	if err == nil {
		return s.aged(max(ov.age, s.readAge(app, ids, miss, begun))), nil
	}
	miss, ok := ov.unread(s, miss, func(k int) presence.Key { return keys[index[k]] }, func(k int, sum presence.Summary) { out[index[k]] = sum })
	if !ok {
		return 0, err
	}
	if len(miss) == 0 {
		return s.aged(ov.age), nil
	}
	age, ok := s.staleness()
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
	return s.aged(max(age, ov.age)), nil
}

// Load implements [presence.Store]. It never comes from the cache.
func (s *Store) Load(ctx context.Context, key presence.Key, st *presence.State) error {
	var out [1]presence.State
	err := s.Loads(ctx, []presence.Key{key}, out[:])
	*st = out[0]
	return err
}

// Loads implements [presence.Store]. Nothing comes from the cache, and the deadline is that of each step.
func (s *Store) Loads(ctx context.Context, keys []presence.Key, out []presence.State) error {
	if s.closed() {
		return errClosed
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
			err := s.read(ctx, app, 0, ids, all, 0, false, func(k int, state []byte) {
				if len(state) == 0 {
					return
				}
				if bad := out[some[k]].Unpack(state); bad != nil {
					out[some[k]] = presence.State{}
					if part == nil {
						part = &presence.PartError{Err: away(bad)}
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

const readChunk = 512

// read brings the packed states of the chosen ids and keeps them in the cache. A peer that only the recipe knows comes
// as the state it stands for, of revision 0; with answers, one that a newer rollcall keeps comes as what its summary says.
// now is 0 when leases are not judged.
func (s *Store) read(ctx context.Context, app presence.AppID, space uint8, ids [][]byte, chosen []int, now presence.Millis, answers bool, see func(i int, state []byte)) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if s.single == nil || s.owner.other.Load() != nil { // else the record comes along with the states
		if err := s.owned(ctx); err != nil {
			return err
		}
	}
	for len(chosen) > 0 {
		n := min(len(chosen), readChunk)
		if err := s.readChunk(ctx, app, space, ids, chosen[:n], now, answers, see); err != nil {
			return fmt.Errorf("read %d peers: %w", n, away(err))
		}
		chosen = chosen[n:]
	}
	return nil
}

func (s *Store) readChunk(ctx context.Context, app presence.AppID, space uint8, ids [][]byte, chosen []int, now presence.Millis, answers bool, see func(i int, state []byte)) error {
	var scratch [64]nearcache.Mark
	marks := scratch[:0]
	unmark := func() {
		for k := range marks {
			s.cache.Unmark(ids[chosen[k]], marks[k])
		}
	}
	summaries, states := s.keys.peerKeys(app, ids, chosen)
	for k, i := range chosen {
		l := s.single
		if l == nil {
			l = s.linkOf(slotOf(summaries[k]))
		}
		var m nearcache.Mark
		if l != nil {
			if l.away.Load() != 0 {
				unmark()
				return errAway
			}
			m = s.cache.Mark(space, ids[i], l.number)
		}
		marks = append(marks, m)
	}
	s.stats.reads.Add(int64(len(chosen)))
	values, err := s.getOwned(ctx, states)
	if err != nil {
		unmark()
		return err
	}
	plain, err := s.readRecipe(ctx, summaries, values, now, answers)
	if err != nil {
		unmark()
		return err
	}
	for _, k := range plain { // not to be merged into, so not to be kept either
		s.cache.Unmark(ids[chosen[k]], marks[k])
		marks[k] = nearcache.Mark{}
	}
	for k, i := range chosen {
		see(i, values[k])
		s.cache.Put(ids[i], values[k], marks[k])
	}
	return nil
}

var errAway = fmt.Errorf("%w: redis is away", presence.ErrUnavailable)

// getAll returns the values of keys, nil for those that are not there: one MGET, or one GET a key in a pipeline for
// each primary of a Cluster.
func (s *Store) getAll(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if s.single != nil {
		list, err := s.do(ctx, s.client.B().Mget().Key(keys...).Build()).ToArray()
		if err != nil {
			s.failed(s.single, err)
			return nil, err
		}
		for i := range list {
			if !list[i].IsNil() {
				values[i], _ = list[i].AsBytes()
			}
		}
		return values, nil
	}
	cmds := make([]rueidis.Completed, len(keys))
	for i, k := range keys {
		cmds[i] = s.client.B().Get().Key(k).Build()
	}
	begun := time.Now()
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for i := range results {
		v, err := results[i].AsBytes()
		if err != nil && !rueidis.IsRedisNil(err) {
			if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "WRONGTYPE") {
				continue // not ours
			}
			s.failedSince(begun, keys[i], err)
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// readRecipe looks for summaries where there is no state: peers that the recipe, or another foreign writer, has reported; and
// for answers also where the state is one of a newer rollcall. It returns which these are.
func (s *Store) readRecipe(ctx context.Context, summaries []string, values [][]byte, now presence.Millis, answers bool) (plain []int, err error) {
	var ask []string
	var index []int
	for k, v := range values {
		if answers && len(v) > 8 && v[8]>>4 > byte(presence.PackFormat()) && s.newer(v) {
			plain = append(plain, k)
		} else if v != nil {
			continue
		}
		ask = append(ask, summaries[k])
		index = append(index, k)
	}
	if len(ask) == 0 {
		return nil, nil
	}
	words, err := s.getOwned(ctx, ask)
	if err != nil {
		return nil, err
	}
	var offline []int
	for n, w := range words {
		k := index[n]
		switch state := values[k]; string(w) {
		case "1":
			if values[k] = s.recipeState(true, 0, now); state != nil {
				values[k] = s.plainState(state, "1", 0, now)
			}
		case "0":
			offline = append(offline, n)
		default:
			values[k] = nil
		}
	}
	if len(offline) == 0 {
		return plain, nil
	}
	cmds := make([]rueidis.Completed, len(offline))
	for n, k := range offline {
		cmds[n] = s.client.B().Pttl().Key(ask[k]).Build()
	}
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for n, k := range offline {
		left, err := results[n].AsInt64()
		if err != nil {
			return nil, err
		}
		state := values[index[k]]
		values[index[k]] = nil
		if left == -2 {
			continue // it was forgotten meanwhile
		}
		if left < 0 {
			left = s.rules.OfflineMemory.Milliseconds()
		}
		if d := time.Duration(left) * time.Millisecond; state != nil {
			values[index[k]] = s.plainState(state, "0", d, now)
		} else {
			values[index[k]] = s.recipeState(false, d, now)
		}
	}
	return plain, nil
}

// recipeState packs what a summary alone stands for: the assumption that a session is open, or its end. left is how much longer
// an offline is remembered. The revision is 0, since no state was written yet.
func (s *Store) recipeState(online bool, left time.Duration, now presence.Millis) []byte {
	if now == 0 {
		now = s.Now()
	}
	st := presence.State{}
	if online {
		st = presence.Assume(now, &s.rules)
	} else {
		st.Status, st.Since = presence.Offline, now.Add(left-s.rules.OfflineMemory)
		st.LastSeen = st.Since
	}
	return st.Pack(nil)
}
