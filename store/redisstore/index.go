package redisstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// Due implements [presence.Store]. An entry that is due may belong to a peer whose leases were renewed since, for a
// renewal does not touch the index: such an entry is moved to its new deadline here. While a primary of a Cluster is lost
// what is due is what lies on the others, whole.
func (s *Store) Due(ctx context.Context, now presence.Millis, limit int) ([]presence.Key, error) {
	if s.closed() {
		return nil, errClosed
	}
	if s.outage.open.Load() {
		return nil, errAway
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.owned(ctx); err != nil {
		return nil, doing("ask what is due", err)
	}
	indexes := make([]string, buckets)
	first := rand.IntN(buckets) // several nodes sweep: they begin apart
	for b := range indexes {
		indexes[b] = s.keys.leaseIndex((first + b) % buckets)
	}
	r := s.reading(indexes, strconv.FormatInt(int64(now), 10))
	r.from = s.passed.take(s)
	defer s.passed.give(r)
	for {
		list, unread := s.next(ctx, r, limit)
		if len(list) == 0 {
			return nil, doing("ask what is due", unread)
		}
		keys, idle, err := s.sift(ctx, r, list, func(st *presence.State) bool {
			d := st.Deadline(&s.rules)
			return d != 0 && d <= now
		})
		if err == nil {
			err = s.tidy(ctx, idle)
		}
		if err != nil || len(keys) > 0 {
			return keys, doing("ask what is due", errors.Join(err, unread))
		}
	}
}

// doing says in front of an error what was done; nil stays nil.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, away(err))
}

// A reading goes through the entries of indexes up to a score. What lies on a lost primary, or belongs to a newer rollcall,
// is passed over, so that it does not stand in the way of the rest.
type reading struct {
	indexes []string
	highest string
	from    map[string]float64 // by index, the score that has been passed
	held    int                // how many entries were passed over
}

func (s *Store) reading(indexes []string, highest string) *reading {
	return &reading{indexes: indexes, highest: highest, from: map[string]float64{}}
}

func (r *reading) pass(f found) {
	if was, ok := r.from[f.claim.index]; !ok || f.claim.score > was {
		r.from[f.claim.index] = f.claim.score
	}
	r.held++
}

// A passage remembers for a while how far the sweep has passed over entries, lest it pass over all of them every second.
type passage struct {
	mu    sync.Mutex
	from  map[string]float64
	lost  string // which primaries were lost
	since time.Time
}

const passageEnds = 10 * time.Second

// take returns where to go on.
func (p *passage) take(s *Store) map[string]float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lost := s.lostNow(); len(p.from) == 0 || lost != p.lost || time.Since(p.since) > passageEnds {
		p.from, p.lost, p.since = map[string]float64{}, lost, time.Now()
	}
	return maps.Clone(p.from)
}

func (p *passage) give(r *reading) {
	if r.held == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for index, score := range r.from {
		p.from[index] = max(p.from[index], score)
	}
}

// lostNow names the primaries that cannot be reached or are not believed yet.
func (s *Store) lostNow() string {
	var names []string
	for _, k := range s.links() {
		if k.away.Load() != 0 || k.open.Load() {
			names = append(names, strconv.Itoa(int(k.number)))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// settles reports whether what hangs on a key may be ended now: its primary can be reached, and everybody has been told
// of its return if it was away.
func (s *Store) settles(key string) bool {
	k := s.single
	if k == nil {
		k = s.linkOf(slotOf(key))
	}
	return k != nil && k.away.Load() == 0 && !k.open.Load()
}

// settlesPeer reports the same of a peer that an index names: of its state, and of the index that its end may need.
func (s *Store) settlesPeer(member string) bool {
	if s.single != nil {
		return s.settles("")
	}
	key, ok := s.keys.memberPeer(member)
	if !ok {
		return true // it is taken away
	}
	return s.settles(string(s.keys.summaryKey(nil, key.App, []byte(key.Peer)))) && s.settles(s.keys.leaseIndex(bucketOf(member)))
}

// next returns up to limit entries that can be settled, and beside them an error when an index, or what an entry names, is
// out of reach.
func (s *Store) next(ctx context.Context, r *reading, limit int) (list []found, err error) {
	for indexes := r.indexes; len(indexes) > 0 && len(list) == 0; {
		asked := make([]string, 0, len(indexes))
		cmds := make([]rueidis.Completed, 0, len(indexes))
		for _, index := range indexes {
			if !s.settles(index) {
				err = errAway
				continue
			}
			lowest := "-inf"
			if score, ok := r.from[index]; ok {
				lowest = "(" + formatScore(score)
			}
			asked = append(asked, index)
			cmds = append(cmds, s.client.B().Zrangebyscore().Key(index).Min(lowest).Max(r.highest).Withscores().Limit(0, int64(limit)).Build())
		}
		if len(cmds) == 0 {
			return nil, err
		}
		begun := time.Now()
		results, failed := s.multi(ctx, cmds)
		if failed != nil {
			return nil, failed
		}
		indexes = nil
		for i, index := range asked {
			scores, failed := results[i].AsZScores()
			if failed != nil && !rueidis.IsRedisNil(failed) {
				if isStranger(failed) {
					err = s.foreign(index)
					continue
				}
				s.failedSince(begun, index, failed)
				err = away(failed)
				continue
			}
			good := len(list)
			for _, z := range scores {
				f := found{z.Member, claim{index: index, score: z.Score}}
				if s.settlesPeer(f.member) {
					list = append(list, f)
					continue
				}
				err = errAway
				if len(list) == good { // what comes behind one that is good is passed when that one is settled
					r.pass(f)
				}
			}
			if len(list) == good && len(scores) == limit {
				indexes = append(indexes, index)
			}
		}
	}
	if ctx.Err() != nil {
		return nil, errors.Join(err, away(ctx.Err())) // there is no time left to look at them
	}
	return list[:min(len(list), limit)], err
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
	if err := s.owned(ctx); err != nil {
		return nil, "", fmt.Errorf("list who is online: %w", err)
	}
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
			age, err := s.Statuses(ctx, app, ids, now, out)
			if err == nil && age > 0 {
				err = errAway // a page that goes on must not change its age
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
func (s *Store) membersOf(ctx context.Context, app presence.AppID, bucket int, after string) ([]string, error) {
	begun := time.Now()
	// A bucket may take long to read; whether anybody answers shows in a call that does not.
	short, cancel := s.deadline(ctx)
	nodes, err := s.do(short, s.client.B().Hkeys().Key(s.keys.nodes()).Build()).AsStrSlice()
	cancel()
	if isStranger(err) {
		return nil, s.foreign(s.keys.nodes())
	}
	if err != nil && !rueidis.IsRedisNil(err) {
		s.failedSince(begun, s.keys.nodes(), err)
		return nil, err
	}
	indexes := []string{s.keys.leaseIndex(bucket)}
	for _, n := range nodes {
		indexes = append(indexes, s.keys.nodeIndex(presence.NodeID(n), bucket))
	}
	cmds := make([]rueidis.Completed, len(indexes))
	for i, index := range indexes {
		if !s.reaches(index) {
			return nil, errAway
		}
		cmds[i] = s.client.B().Zrange().Key(index).Min("0").Max("-1").Build()
	}
	begun = time.Now()
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	prefix := s.keys.member(presence.Key{App: app})
	var all []string
	for i := range results {
		list, err := results[i].AsStrSlice()
		if isStranger(err) {
			return nil, s.foreign(indexes[i])
		}
		if err != nil && !rueidis.IsRedisNil(err) {
			s.failedSince(begun, indexes[i], err)
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
