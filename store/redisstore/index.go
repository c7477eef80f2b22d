package redisstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// Due implements [presence.Store]. An entry that is due may belong to a peer whose leases were renewed since, for a
// renewal does not touch the index: such an entry is moved to its new deadline here.
func (s *Store) Due(ctx context.Context, now presence.Millis, limit int) ([]presence.Key, error) {
	if s.closed() {
		return nil, errClosed
	}
	if s.outage.open.Load() {
		return nil, errAway
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	indexes := make([]string, buckets)
	first := rand.IntN(buckets) // several nodes sweep: they begin apart
	for b := range indexes {
		indexes[b] = s.keys.leaseIndex((first + b) % buckets)
	}
	for {
		list, err := s.ranges(ctx, indexes, strconv.FormatInt(int64(now), 10), limit)
		if err != nil {
			return nil, fmt.Errorf("ask what is due: %w", err)
		}
		if len(list) == 0 {
			return nil, nil
		}
		keys, idle, err := s.sift(ctx, list, func(st *presence.State) bool {
			d := st.Deadline(&s.rules)
			return d != 0 && d <= now
		})
		if err == nil {
			err = s.tidy(ctx, idle)
		}
		if err != nil {
			return nil, fmt.Errorf("ask what is due: %w", err)
		}
		if len(keys) > 0 {
			return keys, nil
		}
	}
}

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

// List implements [presence.Store]. A peer is always in the same bucket, and a bucket is listed in the order of its
// members, whatever else changes.
func (s *Store) List(ctx context.Context, app presence.AppID, cursor string, limit int, now presence.Millis) ([]presence.PeerID, string, error) {
	if s.closed() {
		return nil, "", errClosed
	}
	bucket, after, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*s.cfg.Deadline) // a page may take many calls
	defer cancel()
	var page []presence.PeerID
	for ; bucket < buckets; bucket, after = bucket+1, "" {
		members, err := s.membersOf(ctx, app, bucket, after)
		if err != nil {
			return nil, "", fmt.Errorf("list who is online: %w", away(err))
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
			if err := s.Statuses(ctx, app, ids, now, out); err != nil {
				return nil, "", fmt.Errorf("list who is online: %w", err)
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
func (s *Store) membersOf(ctx context.Context, app presence.AppID, bucket int, after string) ([]string, error) {
	nodes, err := s.do(ctx, s.client.B().Hkeys().Key(s.keys.nodes()).Build()).AsStrSlice()
	if err != nil && !rueidis.IsRedisNil(err) {
		s.failed(nil, err)
		return nil, err
	}
	indexes := []string{s.keys.leaseIndex(bucket)}
	for _, n := range nodes {
		indexes = append(indexes, s.keys.nodeIndex(presence.NodeID(n), bucket))
	}
	cmds := make([]rueidis.Completed, len(indexes))
	for i, index := range indexes {
		cmds[i] = s.client.B().Zrange().Key(index).Min("0").Max("-1").Build()
	}
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	prefix := s.keys.member(presence.Key{App: app})
	var all []string
	for i := range results {
		list, err := results[i].AsStrSlice()
		if err != nil && !rueidis.IsRedisNil(err) {
			s.failed(nil, err)
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
