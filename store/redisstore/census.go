package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

const (
	auditEvery = time.Hour
	scanCount  = 1000
	// censusAtOnce is how many peers are few enough for Counts to take a census every time it is asked.
	censusAtOnce = 20_000
)

// A census counts peers by walking over all of them: nothing that a report writes pays for counting. While it takes long,
// counts are as old as twenty times what it takes.
type census struct {
	mu      sync.Mutex
	running chan struct{} // closed when the one under way is done
	taken   time.Time
	took    time.Duration
	counts  map[presence.AppID]presence.Counts
	peers   int
	err     error
}

// Counts implements [presence.Store].
func (s *Store) Counts(ctx context.Context, app presence.AppID, now presence.Millis) (presence.Counts, error) {
	if s.closed() {
		return presence.Counts{}, errClosed
	}
	c := &s.census
	c.mu.Lock()
	old := c.counts != nil && c.peers > censusAtOnce && time.Since(c.taken) < 20*c.took
	if old {
		n := c.counts[app]
		c.mu.Unlock()
		return n, nil
	}
	// One that is under way may have passed the caller's own writes by: only a store that is slow to walk joins it.
	done := c.running
	if done == nil {
		done = make(chan struct{})
		c.running = done
		s.wg.Add(1)
		go s.takeCensus(done, now)
	} else if c.peers <= censusAtOnce {
		c.mu.Unlock()
		select {
		case <-done:
			return s.Counts(ctx, app, now)
		case <-ctx.Done():
			return presence.Counts{}, fmt.Errorf("count the peers: %w", away(ctx.Err()))
		}
	}
	known := c.counts != nil && c.err == nil
	c.mu.Unlock()
	wait := ctx.Done()
	if known {
		soon, cancel := s.deadline(ctx)
		defer cancel()
		wait = soon.Done()
	}
	select {
	case <-done:
	case <-wait:
		if !known || ctx.Err() != nil {
			return presence.Counts{}, fmt.Errorf("count the peers: %w", away(context.DeadlineExceeded))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return presence.Counts{}, c.err
	}
	return c.counts[app], nil
}

func (s *Store) takeCensus(done chan struct{}, now presence.Millis) {
	defer s.wg.Done()
	begun := time.Now()
	counts := map[presence.AppID]presence.Counts{}
	today := s.day(now)
	peers := 0
	err := s.walk(s.ctx, func(key presence.Key, state []byte, summary string) {
		var st presence.State
		peers++
		if s.newer(state) {
			state = s.plainState(state, summary, s.rules.OfflineMemory, now)
		}
		if len(state) == 0 || st.Unpack(state) != nil {
			return
		}
		n := counts[key.App]
		if st.Status != presence.Unknown {
			n.Known++
		}
		if st.Status == presence.Online {
			n.Online++
		}
		if st.Day == today && st.Status != presence.Unknown {
			n.Today++
		}
		counts[key.App] = n
	})
	c := &s.census
	c.mu.Lock()
	if err == nil {
		c.counts, c.peers = counts, peers
	} else {
		err = fmt.Errorf("count the peers: %w", away(err))
	}
	c.err, c.taken, c.took, c.running = err, time.Now(), time.Since(begun), nil
	c.mu.Unlock()
	close(done)
}

// day returns the local day of m, in days since 1970, as the rules count it.
func (s *Store) day(m presence.Millis) int32 {
	return int32(m.Add(s.rules.DayOffset) / presence.Millis(24*time.Hour/time.Millisecond))
}

// walk calls see for every summary key in Redis, with the packed state (the recipe's word stands for one where there is
// none) and the summary. A key may come twice when tables are resized; see is called for the first only. What is out of
// reach is an error, after all the rest.
func (s *Store) walk(ctx context.Context, see func(key presence.Key, state []byte, summary string)) error {
	patterns := []string{glob(s.keys.summary) + "*"}
	if s.keys.summary != "" {
		patterns = append(patterns, glob(s.keys.others())+"*")
	}
	if err := s.owned(ctx); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	failed := s.uncovered()
	nodes := s.client.Nodes()
	for _, k := range s.links() {
		n := rueidis.Client(s.client)
		if s.single == nil {
			n = nodes[k.addr]
		}
		if n == nil || k.away.Load() != 0 {
			failed = errors.Join(failed, errAway)
			continue
		}
		for _, pattern := range patterns {
			if err := s.walkNode(ctx, n, pattern, seen, see); err != nil {
				failed = errors.Join(failed, err)
				break
			}
		}
	}
	return failed
}

func (s *Store) walkNode(ctx context.Context, n rueidis.Client, pattern string, seen map[string]struct{}, see func(presence.Key, []byte, string)) error {
	for cursor := uint64(0); ; {
		if s.closed() {
			return errClosed
		}
		step, cancel := context.WithTimeout(ctx, 5*time.Second)
		entry, err := n.Do(step, n.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Build()).AsScanEntry()
		if err == nil {
			err = s.walkKeys(step, entry.Elements, seen, see)
		}
		cancel()
		if err != nil {
			return err
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (s *Store) walkKeys(ctx context.Context, found []string, seen map[string]struct{}, see func(presence.Key, []byte, string)) error {
	var keys []presence.Key
	var both []string
	for _, name := range found {
		key, ok := s.keys.peerOf(name)
		if _, twice := seen[name]; !ok || twice {
			continue
		}
		seen[name] = struct{}{}
		keys = append(keys, key)
		both = append(both, s.keys.stateKey(name), name)
	}
	if len(both) == 0 {
		return nil
	}
	values, err := s.getAll(ctx, both)
	if err != nil {
		return err
	}
	for i, k := range keys {
		state, summary := values[2*i], string(values[2*i+1])
		if summary != "0" && summary != "1" {
			continue // gone meanwhile, or another's key under an empty prefix
		}
		if state == nil {
			state = s.recipeState(summary == "1", s.rules.OfflineMemory, s.Now())
		}
		see(k, state, summary)
	}
	return nil
}

var globQuote = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func glob(prefix string) string { return globQuote.Replace(prefix) }

// runAudit looks, once an hour, for what no order of writes can rule out: states that live without an index entry
// (after a failover that kept one and lost the other), and peers that only the recipe knows, which get a lease.
func (s *Store) runAudit() {
	defer s.wg.Done()
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		case <-s.auditNow:
		}
		if _, err := s.Audit(s.ctx, s.Now()); err != nil && s.ctx.Err() == nil {
			s.log.Warn("audit of redis ended early", "err", err)
		}
	}
}

// An AuditReport says what an audit found and mended.
type AuditReport struct {
	Peers     int
	Unindexed int // states that no index named: they would never have ended
	Adopted   int // online by the word of the recipe alone: they have a lease now
	Foreign   int // summaries that said otherwise than the state
	Idle      int // index entries of peers that have been offline for long: Redis forgets these by itself
}

// Audit walks over every peer and mends what it finds. It runs by itself every hour.
func (s *Store) Audit(ctx context.Context, now presence.Millis) (AuditReport, error) {
	var r AuditReport
	var batch []audited
	var failed error
	flush := func() {
		if len(batch) > 0 && failed == nil {
			failed = s.mend(ctx, batch, now, &r)
		}
		batch = batch[:0]
	}
	var st presence.State
	err := s.walk(ctx, func(key presence.Key, state []byte, summary string) {
		r.Peers++
		if s.newer(state) {
			return // a newer rollcall sees to it
		}
		a := audited{key: key}
		bad := st.Unpack(state) != nil
		switch {
		case presence.Rev(state) == 0:
			if summary != "1" {
				return
			}
			r.Adopted++
		case (!bad && st.Status == presence.Online) != (summary == "1"):
			a.wrong = true
			r.Foreign++
			s.stats.foreign.Add(1)
		default:
			a.idle = !bad && s.idle(&st, now, idleAfter)
		}
		batch = append(batch, a)
		if len(batch) == 256 {
			flush()
		}
	})
	flush()
	if err = errors.Join(err, failed); err != nil {
		return r, fmt.Errorf("audit: %w", away(err))
	}
	s.stats.unindexed.Add(int64(r.Unindexed))
	if r.Unindexed+r.Foreign > 0 {
		s.log.Warn("audit mended redis", "unindexed", r.Unindexed, "foreign", r.Foreign, "adopted", r.Adopted, "peers", r.Peers)
	}
	return r, nil
}

// audited is a peer that an audit looks at.
type audited struct {
	key   presence.Key
	wrong bool // the summary says otherwise than the state
	idle  bool // it has been offline for so long that it needs no index entry
}

// mend writes the index entries that are missing for the peers and removes those that are not needed any more, adopts who
// has no state, and restores summaries that say otherwise than the state. What has to wait is left to a later audit.
func (s *Store) mend(ctx context.Context, batch []audited, now presence.Millis, r *AuditReport) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.claimIdle(ctx, batch, r); err != nil {
		return err
	}
	s.pause("after due")
	var entries []entry
	var members []string
	keys := make([]presence.Key, len(batch))
	for i, a := range batch {
		keys[i] = a.key
	}
	errs := s.updateEach(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		adopt := st.Rev == 0 && st.Status == presence.Online
		member := s.keys.member(keys[i])
		j := job{st: *st, bucket: bucketOf(member)}
		for _, e := range s.entries(&j) {
			// An adopted one is indexed by being written.
			if !adopt && s.reaches(e.index) && !(e.deadline != 0 && s.idle(st, now, idleAfter)) {
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
		cmds[i] = s.client.B().Zadd().Key(e.index).Nx().ScoreMember().ScoreMember(score(at), members[i]).Build()
	}
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return err
	}
	for i := range results {
		n, err := results[i].AsInt64()
		if isStranger(err) {
			s.stranger(entries[i].index)
		} else if err != nil {
			return err
		}
		r.Unindexed += int(n)
	}
	return nil
}

// claimIdle claims what the lease index still holds of peers that have been offline for long, for the update that
// follows to remove.
func (s *Store) claimIdle(ctx context.Context, batch []audited, r *AuditReport) error {
	var cmds []rueidis.Completed
	var members, indexes []string
	for _, a := range batch {
		if !a.idle {
			continue
		}
		member := s.keys.member(a.key)
		index := s.keys.leaseIndex(bucketOf(member))
		if s.reaches(index) {
			cmds = append(cmds, s.client.B().Zscore().Key(index).Member(member).Build())
			members, indexes = append(members, member), append(indexes, index)
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return err
	}
	for i := range results {
		score, err := results[i].AsFloat64()
		switch {
		case rueidis.IsRedisNil(err):
		case isStranger(err):
			s.stranger(indexes[i])
		case err != nil:
			return err
		default:
			s.claims.add(members[i], claim{index: indexes[i], score: score, idle: true})
			r.Idle++
		}
	}
	return nil
}

// idleAfter is how long a peer is offline until the next audit takes it out of the index: its keys run out by themselves.
// Until half of that has passed, who brings it online again relies on the entry.
const idleAfter = time.Hour

// idle reports whether a peer has been offline for that long.
func (s *Store) idle(st *presence.State, now presence.Millis, long time.Duration) bool {
	return st.Status == presence.Offline && now >= st.Since.Add(long)
}
