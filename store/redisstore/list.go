package redisstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// A cursor is the bucket and the last member of a page.
func packCursor(bucket int, member string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(bucket)}, member...))
}

func parseCursor(cursor string) (bucket int, after string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 1 || int(b[0]) >= buckets || len(b) > 1 && bucketOf(string(b[1:])) != int(b[0]) {
		return 0, "", fmt.Errorf("%w: the cursor is not one of ours", presence.ErrInvalid)
	}
	return int(b[0]), string(b[1:]), nil
}

// List implements [presence.Store]. A peer is always in the same bucket, and a bucket is listed in
// the order of its members, whatever else changes.
func (s *Store) List(ctx context.Context, app presence.AppID, cursor string, limit int, now presence.Millis) ([]presence.PeerID, string, error) {
	if s.conn.Closed() {
		return nil, "", conn.ErrClosed
	}
	bucket, after, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*s.cfg.Deadline) // a page may take many calls
	defer cancel()
	if err := s.owner.owned(ctx); err != nil {
		return nil, "", fmt.Errorf("list the peers that are online: %w", err)
	}
	var page []presence.PeerID
	for ; bucket < buckets; bucket, after = bucket+1, "" {
		members, err := s.index.membersOf(ctx, app, bucket, after)
		if err != nil {
			return nil, "", fmt.Errorf("list the peers that are online: %w", conn.Unavailable(err))
		}
		for len(members) > 0 {
			part := members[:min(len(members), max(64, limit-len(page)))]
			members = members[len(part):]
			ids := make([][]byte, len(part))
			for i, m := range part {
				key, _ := s.keys.memberPeer(m)
				ids[i] = []byte(key.Peer)
			}
			out := make([]presence.Status, len(part))
			age, err := s.Statuses(ctx, app, ids, now, out)
			if err == nil && age > 0 {
				err = conn.ErrDown // a page that goes on must not change its age
			}
			if err != nil {
				return nil, "", fmt.Errorf("list the peers that are online: %w", err)
			}
			for i, m := range part {
				if out[i] != presence.Online {
					continue
				}
				page = append(page, presence.PeerID(ids[i]))
				if len(page) == limit {
					return page, packCursor(bucket, m), nil
				}
			}
		}
	}
	return page, "", nil
}

// membersOf returns the members of app in one bucket of all indexes, in order, after a given one.
func (x *indexes) membersOf(ctx context.Context, app presence.AppID, bucket int, after string) ([]string, error) {
	begun := time.Now()
	// A bucket may take long to read; whether anybody answers shows in a call that does not.
	short, cancel := x.conn.Deadline(ctx)
	nodes, err := x.conn.Do(short, x.conn.B().Hkeys().Key(x.keys.nodes()).Build()).AsStrSlice()
	cancel()
	if conn.IsWrongType(err) {
		return nil, x.wrongType(x.keys.nodes())
	}
	if err != nil && !rueidis.IsRedisNil(err) {
		x.conn.FailedSince(begun, x.keys.nodes(), err)
		return nil, err
	}
	indexes := []string{x.keys.leaseIndex(bucket)}
	for _, n := range nodes {
		indexes = append(indexes, x.keys.nodeIndex(presence.NodeID(n), bucket))
	}
	cmds := make([]rueidis.Completed, len(indexes))
	for i, index := range indexes {
		if !x.conn.Reaches(index) {
			return nil, conn.ErrDown
		}
		cmds[i] = x.conn.B().Zrange().Key(index).Min("0").Max("-1").Build()
	}
	begun = time.Now()
	results, err := x.conn.DoMulti(ctx, cmds)
	if err != nil {
		return nil, err
	}
	prefix := x.keys.member(presence.Key{App: app})
	var all []string
	for i := range results {
		list, err := results[i].AsStrSlice()
		if conn.IsWrongType(err) {
			return nil, x.wrongType(indexes[i])
		}
		if err != nil && !rueidis.IsRedisNil(err) {
			x.conn.FailedSince(begun, indexes[i], err)
			return nil, err
		}
		for _, m := range list {
			if m > after && len(m) >= len(prefix) && m[:len(prefix)] == prefix {
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, cmp.Compare[string])
	return slices.Compact(all), nil
}
