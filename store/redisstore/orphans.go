package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

//go:embed scripts/claim.lua
var claimText string

// Claim implements [presence.Claimer].
func (s *Store) Claim(ctx context.Context, name string, ttl time.Duration) bool {
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	return s.index.claimKey(ctx, s.keys.claim(name), ttl)
}

// claimKey takes or keeps the claim at key. A claim that cannot be asked for counts as given: it
// keeps others from the same work and does no more.
func (x *indexes) claimKey(ctx context.Context, key string, ttl time.Duration) bool {
	if !x.conn.Reaches(key) {
		return true
	}
	begun := time.Now()
	results, err := x.conn.Exec(ctx, claimScript, []conn.Call{{Keys: []string{key}, Args: []string{x.conn.Name(), seconds(ttl)}}})
	if err != nil {
		return true
	}
	n, err := results[0].AsInt64()
	if conn.IsWrongType(err) {
		_ = x.wrongType(key)
	} else if err != nil {
		x.conn.FailedSince(begun, key, err)
	}
	return n == 1 || err != nil
}

// OnNode implements [presence.Store]. Peers that lie on a lost primary, or are kept by a newer
// rollcall, are not returned; when only such are left, that is an error, lest the node be
// forgotten. A node may have a hundred thousand: the deadline is that of each step.
func (s *Store) OnNode(ctx context.Context, node presence.NodeID, limit int) ([]presence.Key, error) {
	if err := s.owner.owned(ctx); err != nil {
		return nil, fmt.Errorf("ask for the peers on node %q: %w", node, err)
	}
	indexes := make([]string, buckets)
	for b := range indexes {
		indexes[b] = s.keys.nodeIndex(node, b)
	}
	what := fmt.Sprintf("ask for the peers on node %q", node)
	var keys []presence.Key
	var unread error
	held := 0
	for some := range slices.Chunk(indexes, indexStep) {
		k, h, err := s.index.onNode(ctx, node, some, limit-len(keys))
		keys, held, unread = append(keys, k...), held+h, errors.Join(unread, err)
		// of a Cluster the other primaries may answer
		if len(keys) >= limit || err != nil && !s.conn.Clustered() {
			break
		}
	}
	if len(keys) == 0 && unread == nil && held > 0 {
		unread = errNewer
		s.nodes.spare(node)
	}
	return keys, doing(what, unread)
}

// Orphans implements [presence.Sharer]. The survivors share the indexes of the node by claims: each
// ends what is in one, then claims another, beginning at a place of its own.
func (s *Store) Orphans(ctx context.Context, node presence.NodeID, limit int) (keys []presence.Key, others bool, err error) {
	what := fmt.Sprintf("ask for the peers on node %q", node)
	if err := s.owner.owned(ctx); err != nil {
		return nil, false, doing(what, err)
	}
	left, unread := s.index.leftOn(ctx, node)
	held := 0
	for _, bucket := range left {
		if !s.index.claimKey(ctx, s.keys.reap(node, bucket), claimFor) {
			others = true
			continue
		}
		k, h, err := s.index.onNode(ctx, node, []string{s.keys.nodeIndex(node, bucket)}, limit-len(keys))
		keys, held, unread = append(keys, k...), held+h, errors.Join(unread, err)
		if len(keys) >= limit || err != nil && !s.conn.Clustered() {
			break
		}
	}
	if len(keys) == 0 && !others && unread == nil && held > 0 {
		unread = errNewer
		s.nodes.spare(node)
	}
	return keys, others, doing(what, unread)
}

// leftOn returns the indexes of a node that are not empty, in the order in which this process takes
// them.
func (x *indexes) leftOn(ctx context.Context, node presence.NodeID) (left []int, err error) {
	ctx, cancel := x.conn.Deadline(ctx)
	defer cancel()
	first := bucketOf(x.conn.Name())
	var asked []int
	var cmds []rueidis.Completed
	for i := range buckets {
		bucket := (first + i) % buckets
		index := x.keys.nodeIndex(node, bucket)
		if !x.conn.Settles(index) {
			err = conn.ErrDown
			continue
		}
		asked = append(asked, bucket)
		cmds = append(cmds, x.conn.B().Zrangebyscore().Key(index).Min("-inf").Max("+inf").Limit(0, 1).Build())
	}
	if len(cmds) == 0 {
		return nil, err
	}
	begun := time.Now()
	results, failed := x.conn.DoMulti(ctx, cmds)
	if failed != nil {
		return nil, failed
	}
	for i, bucket := range asked {
		some, failed := results[i].AsStrSlice()
		index := x.keys.nodeIndex(node, bucket)
		switch {
		case conn.IsWrongType(failed):
			err = x.wrongType(index)
		case failed != nil:
			x.conn.FailedSince(begun, index, failed)
			err = conn.Unavailable(failed)
		case len(some) > 0:
			left = append(left, bucket)
		}
	}
	return left, err
}

// indexStep is how many of the indexes of a node are read in one step.
const indexStep = 4

// onNode is OnNode by some of the indexes; held is how many entries it passed over.
func (x *indexes) onNode(ctx context.Context, node presence.NodeID, indexes []string, limit int) (keys []presence.Key, held int, err error) {
	r := newReading(indexes, "+inf")
	for {
		step, cancel := x.conn.Deadline(ctx)
		list, unread := x.next(step, r, limit)
		cancel()
		if len(list) == 0 {
			return nil, r.held, unread
		}
		keys, idle, err := x.siftInSteps(ctx, r, list, func(st *presence.State) bool { return st.On(node) })
		if err != nil || len(keys) > 0 {
			return keys, r.held, errors.Join(err, unread)
		}
		for some := range slices.Chunk(idle, siftStep) {
			step, cancel := x.conn.Deadline(ctx)
			err := x.tidy(step, some)
			cancel()
			if err != nil {
				return nil, r.held, err
			}
		}
	}
}

// siftStep is how many states one step reads.
const siftStep = 512

// siftInSteps is sift for any number of entries.
func (x *indexes) siftInSteps(ctx context.Context, r *reading, list []found, wanted func(*presence.State) bool) (keys []presence.Key, idle []found, err error) {
	for some := range slices.Chunk(list, siftStep) {
		step, cancel := x.conn.Deadline(ctx)
		k, i, err := x.sift(step, r, some, wanted)
		cancel()
		keys, idle = append(keys, k...), append(idle, i...)
		if err != nil {
			return keys, idle, err
		}
	}
	return keys, idle, nil
}
