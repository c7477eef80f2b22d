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
	err := s.walk(s.ctx, func(key presence.Key, state []byte, _ string) {
		var st presence.State
		peers++
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
// none) and the summary. A key may come twice when tables are resized; see is called for the first only.
func (s *Store) walk(ctx context.Context, see func(key presence.Key, state []byte, summary string)) error {
	seen := map[string]struct{}{}
	for _, n := range s.primaries() {
		patterns := []string{glob(s.keys.summary) + "*"}
		if s.keys.summary != "" {
			patterns = append(patterns, glob(s.keys.others())+"*")
		}
		for _, pattern := range patterns {
			if err := s.walkNode(ctx, n, pattern, seen, see); err != nil {
				return err
			}
		}
	}
	return nil
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

// primaries returns a client for each primary.
func (s *Store) primaries() []rueidis.Client {
	if s.single != nil {
		return []rueidis.Client{s.client}
	}
	var list []rueidis.Client
	nodes := s.client.Nodes()
	for addr := range s.route.Load().links {
		if n := nodes[addr]; n != nil {
			list = append(list, n)
		}
	}
	return list
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
}

// Audit walks over every peer and mends what it finds. It runs by itself every hour.
func (s *Store) Audit(ctx context.Context, now presence.Millis) (AuditReport, error) {
	var r AuditReport
	var batch []presence.Key
	var wrong []bool // the summary says otherwise than the state
	var failed error
	flush := func() {
		if len(batch) > 0 && failed == nil {
			failed = s.mend(ctx, batch, wrong, now, &r)
		}
		batch, wrong = batch[:0], wrong[:0]
	}
	err := s.walk(ctx, func(key presence.Key, state []byte, summary string) {
		r.Peers++
		word := presence.Status(0)
		if len(state) > 8 {
			word = presence.Status(state[8] & 3)
		}
		switch {
		case presence.Rev(state) == 0:
			if summary != "1" {
				return
			}
			r.Adopted++
		case (word == presence.Online) != (summary == "1"):
			r.Foreign++
			s.stats.foreign.Add(1)
		}
		batch = append(batch, key)
		wrong = append(wrong, presence.Rev(state) != 0 && (word == presence.Online) != (summary == "1"))
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

// mend writes the index entries that are missing for the peers, adopts those that have no state, and restores
// summaries that say otherwise than the state.
func (s *Store) mend(ctx context.Context, keys []presence.Key, wrong []bool, now presence.Millis, r *AuditReport) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var entries []entry
	var members []string
	err := s.update(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		adopt := st.Rev == 0 && st.Status == presence.Online
		j := job{st: *st, bucket: bucketOf(s.keys.member(keys[i]))}
		for _, e := range s.entries(&j) {
			if !adopt { // an adopted one is indexed by being written
				entries = append(entries, e)
				members = append(members, s.keys.member(keys[i]))
			}
		}
		if adopt || wrong[i] && !st.Forgotten() {
			return presence.Shown
		}
		return presence.Same
	})
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(entries))
	for i, e := range entries {
		at := e.deadline
		if e.node != "" {
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
		if err != nil {
			return err
		}
		r.Unindexed += int(n)
	}
	return nil
}
