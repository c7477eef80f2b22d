package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"rollcall/internal/wake"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// An auditor walks over all peers, to count them and to mend their indexes.
type auditor struct {
	*shared
	owner  *ownership
	reader *reader
	writer *writer
	index  *indexes
	ident  *identity

	// lost is set when Redis may have lost index entries, and all else that it lost is replayed.
	lost   wake.Signal
	census census
}

const (
	// auditAfterLoss is how long after a loss an audit begins: no write is under way any more that
	// wrote its index entry before the loss, and its state after.
	auditAfterLoss = horizonLag
	// auditAgain is how long one that failed after a loss waits for the next.
	auditAgain = time.Minute
	// auditRest is how many times as long as the last audit took the next one after a loss waits.
	auditRest = 20
)

// runAudit looks for what no order of writes can rule out: states that live without an index entry,
// and peers that only the recipe knows, which get a lease. It does so once an hour, and soon after
// Redis may have lost something: of a Cluster a failover may lose the index entry, and keep the
// state, which lies on another primary; then a replay of the report finds nothing to write.
func (a *auditor) runAudit() {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	var soon <-chan time.Time // nil while no loss is left to audit
	var rested time.Time
	audit := func() (done bool) {
		begun := time.Now()
		_, err := a.Audit(a.conn.Context(), a.conn.Now())
		rested = time.Now().Add(auditRest * time.Since(begun))
		if err != nil && a.conn.Context().Err() == nil {
			a.log.Warn("audit failed", "err", err)
		}
		return err == nil
	}
	for {
		select {
		case <-a.conn.Context().Done():
			return
		case <-tick.C:
			audit()
		case <-a.lost:
			soon = time.After(max(auditAfterLoss, time.Until(rested)))
		case <-soon:
			switch {
			case a.conn.AnyDown() || a.conn.Uncovered() != nil:
				soon = time.After(auditAfterLoss)
			case !a.claimLoss() || audit():
				soon = nil
			default:
				soon = time.After(max(auditAgain, time.Until(rested)))
			}
		}
	}
}

// claimLoss reports whether this process is to audit what was lost: of all that noticed it one is
// enough. If that one ends before it is done, the hourly audits are left.
func (a *auditor) claimLoss() bool {
	ctx, cancel := a.conn.Deadline(a.conn.Context())
	defer cancel()
	key := a.keys.claim("audit " + strconv.FormatUint(a.ident.sum(), 16))
	return a.index.claimKey(ctx, key, auditEvery)
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

// Audit walks over every peer and mends what it finds. It runs by itself every hour, and after a
// loss.
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
	n, err := a.index.restore(ctx, entries, members, now)
	r.Unindexed += n
	return err
}

// restore writes those of the entries that are missing and returns how many that were. A node that
// is missing, too, is known again: it is found lost unless it sends heartbeats.
func (x *indexes) restore(ctx context.Context, entries []entry, members []string, now presence.Millis) (missing int, err error) {
	for _, e := range entries {
		if e.node != "" {
			if err := x.nodes.knowNode(ctx, e.node, now); err != nil && !mayWait(err) {
				return 0, err
			}
		}
	}
	cmds := make([]rueidis.Completed, len(entries))
	for i, e := range entries {
		at := e.deadline
		if at == 0 { // in an index of a node
			at = now
		}
		cmds[i] = x.conn.B().Zadd().Key(e.index).Nx().ScoreMember().ScoreMember(score(at), members[i]).Build()
	}
	results, err := x.conn.DoMulti(ctx, cmds)
	if err != nil {
		return 0, err
	}
	for i := range results {
		n, err := results[i].AsInt64()
		if conn.IsWrongType(err) {
			return missing, x.wrongType(entries[i].index)
		} else if err != nil {
			return missing, err
		}
		missing += int(n)
	}
	return missing, nil
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
