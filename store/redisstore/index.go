package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// Due implements [presence.Store]. An entry that is due may belong to a peer whose leases were
// renewed since, for a renewal does not touch the index: such an entry is moved to its new deadline
// here. While a primary of a Cluster is lost what is due is what lies on the others, whole.
func (s *Store) Due(ctx context.Context, now presence.Millis, limit int) ([]presence.Key, error) {
	if s.conn.Closed() {
		return nil, conn.ErrClosed
	}
	if s.outage.open.Load() {
		return nil, conn.ErrDown
	}
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	if err := s.owner.owned(ctx); err != nil {
		return nil, doing("ask what is due", err)
	}
	indexes := make([]string, buckets)
	first := rand.IntN(buckets) // several nodes sweep: they begin apart
	for b := range indexes {
		indexes[b] = s.keys.leaseIndex((first + b) % buckets)
	}
	r := newReading(indexes, strconv.FormatInt(int64(now), 10))
	r.from = s.index.passed.take(s.conn.Unsettled())
	defer s.index.passed.give(r)
	for {
		list, unread := s.index.next(ctx, r, limit)
		if len(list) == 0 {
			return nil, doing("ask what is due", unread)
		}
		keys, idle, err := s.index.sift(ctx, r, list, func(st *presence.State) bool {
			d := st.Deadline(&s.rules)
			return d != 0 && d <= now
		})
		if err == nil {
			err = s.index.tidy(ctx, idle)
		}
		if err != nil || len(keys) > 0 {
			return keys, doing("ask what is due", errors.Join(err, unread))
		}
	}
}

// doing wraps an error with what was done; nil stays nil.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, conn.Unavailable(err))
}

// indexes reads index entries and has them settled.
type indexes struct {
	*shared
	owner  *ownership
	nodes  *nodeBook
	reader *reader
	writer *writer

	passed scanOffsets
}

// A reading goes through the entries of indexes up to a score. What lies on a lost primary, or
// belongs to a newer rollcall, is passed over, so that it does not stand in the way of the rest.
type reading struct {
	indexes []string
	highest string
	from    map[string]float64 // by index, the score that has been passed
	held    int                // how many entries were passed over
}

func newReading(indexes []string, highest string) *reading {
	return &reading{indexes: indexes, highest: highest, from: map[string]float64{}}
}

func (r *reading) pass(f found) {
	if was, ok := r.from[f.claim.index]; !ok || f.claim.score > was {
		r.from[f.claim.index] = f.claim.score
	}
	r.held++
}

// A passage remembers for a while how far the sweep has passed over entries, lest it pass over all
// of them every second.
type scanOffsets struct {
	mu    sync.Mutex
	from  map[string]float64
	lost  string // which primaries were lost
	since time.Time
}

const scanOffsetsEnd = 10 * time.Second

// take returns where to go on.
func (p *scanOffsets) take(lost string) map[string]float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.from) == 0 || lost != p.lost || time.Since(p.since) > scanOffsetsEnd {
		p.from, p.lost, p.since = map[string]float64{}, lost, time.Now()
	}
	return maps.Clone(p.from)
}

func (p *scanOffsets) give(r *reading) {
	if r.held == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for index, score := range r.from {
		p.from[index] = max(p.from[index], score)
	}
}

// settlesPeer reports the same of a peer that an index names: of its state, and of the index that
// its end may need.
func (x *indexes) settlesPeer(member string) bool {
	if !x.conn.Clustered() {
		return x.conn.Settles("")
	}
	key, ok := x.keys.memberPeer(member)
	if !ok {
		return true // it is removed
	}
	return x.conn.Settles(string(x.keys.summaryKey(nil, key.App, []byte(key.Peer)))) && x.conn.Settles(x.keys.leaseIndex(bucketOf(member)))
}

// next returns up to limit entries that can be settled, and beside them an error when an index, or
// what an entry names, is out of reach.
func (x *indexes) next(ctx context.Context, r *reading, limit int) (list []found, err error) {
	for indexes := r.indexes; len(indexes) > 0 && len(list) == 0; {
		asked := make([]string, 0, len(indexes))
		cmds := make([]rueidis.Completed, 0, len(indexes))
		for _, index := range indexes {
			if !x.conn.Settles(index) {
				err = conn.ErrDown
				continue
			}
			lowest := "-inf"
			if score, ok := r.from[index]; ok {
				lowest = "(" + formatScore(score)
			}
			asked = append(asked, index)
			cmds = append(cmds, x.conn.B().Zrangebyscore().Key(index).Min(lowest).Max(r.highest).Withscores().Limit(0, int64(limit)).Build())
		}
		if len(cmds) == 0 {
			return nil, err
		}
		begun := time.Now()
		results, failed := x.conn.DoMulti(ctx, cmds)
		if failed != nil {
			return nil, failed
		}
		indexes = nil
		for i, index := range asked {
			scores, failed := results[i].AsZScores()
			if failed != nil && !rueidis.IsRedisNil(failed) {
				if conn.IsWrongType(failed) {
					err = x.wrongType(index)
					continue
				}
				x.conn.FailedSince(begun, index, failed)
				err = conn.Unavailable(failed)
				continue
			}
			good := len(list)
			for _, z := range scores {
				f := found{z.Member, claim{index: index, score: z.Score}}
				if x.settlesPeer(f.member) {
					list = append(list, f)
					continue
				}
				err = conn.ErrDown
				// what comes behind one that is good is passed when that one is settled
				if len(list) == good {
					r.pass(f)
				}
			}
			if len(list) == good && len(scores) == limit {
				indexes = append(indexes, index)
			}
		}
	}
	if ctx.Err() != nil {
		// there is no time left to look at them
		return nil, errors.Join(err, conn.Unavailable(ctx.Err()))
	}
	return list[:min(len(list), limit)], err
}
