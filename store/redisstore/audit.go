package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// An auditor walks over all peers, to count them and to mend their indexes.
type auditor struct {
	*shared
	owner  *ownership
	reader *reader
	writer *writer

	census census
}

// runAudit looks, once an hour, for what no order of writes can rule out: states that live without
// an index entry (after a failover that kept one and lost the other), and peers that only the
// recipe knows, which get a lease.
func (a *auditor) runAudit() {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.conn.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := a.Audit(a.conn.Context(), a.conn.Now()); err != nil && a.conn.Context().Err() == nil {
			a.log.Warn("audit failed", "err", err)
		}
	}
}

// An AuditReport is what an audit found and mended.
type AuditReport struct {
	Peers     int
	Unindexed int // states that no index named: they would never have ended
	Adopted   int // online by the recipe's key alone: they have a lease now
	Foreign   int // summaries that differed from the state
	// index entries of peers that have been offline for long: Redis forgets these by itself
	Idle int
}

// Audit walks over every peer and mends what it finds. It runs by itself every hour.
func (a *auditor) Audit(ctx context.Context, now presence.Millis) (AuditReport, error) {
	var r AuditReport
	var batch []audited
	var failed error
	flush := func() {
		if len(batch) > 0 && failed == nil {
			failed = a.mend(ctx, batch, now, &r)
		}
		batch = batch[:0]
	}
	var st presence.State
	err := a.walk(ctx, map[string]struct{}{}, func(key presence.Key, state []byte, summary string) {
		r.Peers++
		if a.newer(state) {
			return // a newer rollcall sees to it
		}
		p := audited{key: key}
		bad := st.Unpack(state) != nil
		switch {
		case presence.Rev(state) == 0:
			if summary != "1" {
				return
			}
			r.Adopted++
		case (!bad && st.Status == presence.Online) != (summary == "1"):
			p.wrong = true
			r.Foreign++
			a.stats.foreign.Add(1)
		default:
			p.idle = !bad && a.writer.idle(&st, now, idleAfter)
		}
		batch = append(batch, p)
		if len(batch) == 256 {
			flush()
		}
	})
	flush()
	if err = errors.Join(err, failed); err != nil {
		return r, fmt.Errorf("audit: %w", conn.Unavailable(err))
	}
	a.stats.unindexed.Add(int64(r.Unindexed))
	if r.Unindexed+r.Foreign > 0 {
		a.log.Warn("audit repaired indexes", "unindexed", r.Unindexed, "foreign", r.Foreign, "adopted", r.Adopted, "peers", r.Peers)
	}
	return r, nil
}

// audited is a peer that an audit looks at.
type audited struct {
	key   presence.Key
	wrong bool // the summary differs from the state
	idle  bool // it has been offline for so long that it needs no index entry
}

// mend writes the index entries that are missing for the peers and removes those that are not
// needed any more, adopts peers without a state, and restores summaries that differ from the state.
// What has to wait is left to a later audit.
func (a *auditor) mend(ctx context.Context, batch []audited, now presence.Millis, r *AuditReport) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.claimIdle(ctx, batch, r); err != nil {
		return err
	}
	a.pause("after due")
	var entries []entry
	var members []string
	keys := make([]presence.Key, len(batch))
	for i, p := range batch {
		keys[i] = p.key
	}
	errs := a.writer.updateEach(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		adopt := st.Rev == 0 && st.Status == presence.Online
		member := a.keys.member(keys[i])
		j := job{st: *st, bucket: bucketOf(member)}
		for _, e := range a.writer.entries(&j) {
			// An adopted one is indexed by being written.
			if !adopt && a.conn.Reaches(e.index) && !(e.deadline != 0 && a.writer.idle(st, now, idleAfter)) {
				entries = append(entries, e)
				members = append(members, member)
			}
		}
		if adopt || batch[i].wrong && !st.Forgotten() {
			return presence.Shown
		}
		return presence.Same
	})
	for _, err := range errs {
		if err != nil && !mayWait(err) {
			return err
		}
	}
	cmds := make([]rueidis.Completed, len(entries))
	for i, e := range entries {
		at := e.deadline
		if at == 0 { // in an index of a node
			at = now
		}
		cmds[i] = a.conn.B().Zadd().Key(e.index).Nx().ScoreMember().ScoreMember(score(at), members[i]).Build()
	}
	results, err := a.conn.DoMulti(ctx, cmds)
	if err != nil {
		return err
	}
	for i := range results {
		n, err := results[i].AsInt64()
		if conn.IsWrongType(err) {
			return a.wrongType(entries[i].index)
		} else if err != nil {
			return err
		}
		r.Unindexed += int(n)
	}
	return nil
}

// claimIdle claims what the lease index still holds of peers that have been offline for long, for
// the update that follows to remove.
func (a *auditor) claimIdle(ctx context.Context, batch []audited, r *AuditReport) error {
	var cmds []rueidis.Completed
	var members, indexes []string
	for _, p := range batch {
		if !p.idle {
			continue
		}
		member := a.keys.member(p.key)
		index := a.keys.leaseIndex(bucketOf(member))
		if a.conn.Reaches(index) {
			cmds = append(cmds, a.conn.B().Zscore().Key(index).Member(member).Build())
			members, indexes = append(members, member), append(indexes, index)
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	results, err := a.conn.DoMulti(ctx, cmds)
	if err != nil {
		return err
	}
	for i := range results {
		score, err := results[i].AsFloat64()
		switch {
		case rueidis.IsRedisNil(err):
		case conn.IsWrongType(err):
			return a.wrongType(indexes[i])
		case err != nil:
			return err
		default:
			a.writer.claims.add(members[i], claim{index: indexes[i], score: score, idle: true})
			r.Idle++
		}
	}
	return nil
}

// idleAfter is how long a peer is offline until the next audit takes it out of the index: its keys
// run out by themselves. Until half of that has passed, a report that brings it online again relies
// on the entry.
const idleAfter = time.Hour

// idle reports whether a peer has been offline for that long.
func (w *writer) idle(st *presence.State, now presence.Millis, long time.Duration) bool {
	return st.Status == presence.Offline && now >= st.Since.Add(long)
}
