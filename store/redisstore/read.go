package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// A reader reads states, and keeps them in the near cache.
type reader struct {
	*shared
	owner *ownership
	ident *identity
}

// read brings the packed states of the chosen ids and keeps them in the cache. A peer that only the
// recipe knows comes as the state it stands for, of revision 0; with answers, one that a newer
// rollcall keeps comes as what its summary holds. now is 0 when leases are not judged.
func (r *reader) read(ctx context.Context, app presence.AppID, space uint8, ids [][]byte, chosen []int, now presence.Millis, answers bool, see func(i int, state []byte)) error {
	ctx, cancel := r.conn.Deadline(ctx)
	defer cancel()
	// else the record comes along with the states
	if r.conn.Clustered() || r.owner.other.Load() != nil {
		if err := r.owner.owned(ctx); err != nil {
			return err
		}
	}
	for len(chosen) > 0 {
		n := min(len(chosen), readChunk)
		if err := r.readChunk(ctx, app, space, ids, chosen[:n], now, answers, see); err != nil {
			return fmt.Errorf("read %d peers: %w", n, conn.Unavailable(err))
		}
		chosen = chosen[n:]
	}
	return nil
}

const readChunk = 512

// getAll returns the values of keys, nil for those that are not there: one MGET, or one GET a key
// in a pipeline for each primary of a Cluster.
func (r *reader) getAll(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if !r.conn.Clustered() {
		list, err := r.conn.Do(ctx, r.conn.B().Mget().Key(keys...).Build()).ToArray()
		if err != nil {
			r.conn.Failed(r.conn.LinkOf(""), err)
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
		cmds[i] = r.conn.B().Get().Key(k).Build()
	}
	begun := time.Now()
	results, err := r.conn.DoMulti(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for i := range results {
		v, err := results[i].AsBytes()
		if err != nil && !rueidis.IsRedisNil(err) {
			if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "WRONGTYPE") {
				continue // not ours
			}
			r.conn.FailedSince(begun, keys[i], err)
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// readRecipe looks for summaries where there is no state: peers that the recipe, or another foreign
// writer, has reported; and for answers also where the state is one of a newer rollcall. It returns
// which these are.
func (r *reader) readRecipe(ctx context.Context, summaries []string, values [][]byte, now presence.Millis, answers bool) (plain []int, err error) {
	var ask []string
	var index []int
	for k, v := range values {
		if answers && len(v) > 8 && v[8]>>4 > byte(presence.PackFormat()) && r.newer(v) {
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
	words, err := r.getOwned(ctx, ask)
	if err != nil {
		return nil, err
	}
	var offline []int
	for n, w := range words {
		k := index[n]
		switch state := values[k]; string(w) {
		case "1":
			if values[k] = r.recipeState(true, 0, now); state != nil {
				values[k] = r.plainState(state, "1", 0, now)
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
	return plain, r.readOffline(ctx, ask, index, offline, values, now)
}

// readOffline sets the values of peers whose summary is offline by how long that is remembered yet.
// offline are places in ask, and index maps these to places in values.
func (r *reader) readOffline(ctx context.Context, ask []string, index, offline []int, values [][]byte, now presence.Millis) error {
	cmds := make([]rueidis.Completed, len(offline))
	for n, k := range offline {
		cmds[n] = r.conn.B().Pttl().Key(ask[k]).Build()
	}
	results, err := r.conn.DoMulti(ctx, cmds)
	if err != nil {
		return err
	}
	for n, k := range offline {
		left, err := results[n].AsInt64()
		if err != nil {
			return err
		}
		state := values[index[k]]
		values[index[k]] = nil
		if left == -2 {
			continue // it was forgotten meanwhile
		}
		if left < 0 {
			left = r.rules.OfflineMemory.Milliseconds()
		}
		if d := time.Duration(left) * time.Millisecond; state != nil {
			values[index[k]] = r.plainState(state, "0", d, now)
		} else {
			values[index[k]] = r.recipeState(false, d, now)
		}
	}
	return nil
}

// recipeState packs what a summary alone stands for: the assumption that a session is open, or its
// end. left is how much longer an offline is remembered. The revision is 0, since no state was
// written yet.
func (r *reader) recipeState(online bool, left time.Duration, now presence.Millis) []byte {
	if now == 0 {
		now = r.conn.Now()
	}
	st := presence.State{}
	if online {
		st = presence.Assume(now, &r.rules)
	} else {
		st.Status, st.Since = presence.Offline, now.Add(left-r.rules.OfflineMemory)
		st.LastSeen = st.Since
	}
	return st.Pack(nil)
}

// judge returns the status in a packed state at now, to a query that knows which nodes are dead.
func (r *reader) judge(state []byte, now presence.Millis, dead map[presence.NodeID]presence.Millis) presence.Status {
	if len(state) == 0 {
		return presence.Unknown
	}
	status, noded := presence.PeekStatus(state, now, &r.rules)
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

// peek judges a packed state at now as queries see it. ok is false when it does not answer: a lease
// that has run out may have been renewed without a signal.
func peek(state []byte, now presence.Millis, rules *presence.Rules) (status presence.Status, noded, ok bool) {
	if len(state) == 0 {
		return presence.Unknown, false, true
	}
	status, noded = presence.PeekStatus(state, now, rules)
	return status, noded, status == presence.Online || len(state) < 9 || presence.Status(state[8]&3) != presence.Online
}

// getOwned is getAll for what answers are made of. Where there is one primary the record of the
// owner and the epoch come along in the same call, so that no answer is that of a Redis which was
// emptied, or has taken the place of ours, before its link reported it.
func (r *reader) getOwned(ctx context.Context, keys []string) ([][]byte, error) {
	if r.conn.Clustered() {
		return r.getAll(ctx, keys)
	}
	n := len(keys)
	values, err := r.getAll(ctx, append(slices.Clip(keys), r.keys.epoch(), r.keys.owner()))
	if err != nil {
		return nil, err
	}
	if err := r.ident.same(ctx, values[n]); err != nil {
		return nil, err
	}
	if r.keys.recipe == "" {
		return values[:n], nil
	}
	if app, known := recorded(string(values[n+1])); !known || app != r.keys.recipe {
		r.owner.doubtOwner()
		if err := r.owner.owned(ctx); err != nil {
			return nil, err
		}
	}
	return values[:n], nil
}
