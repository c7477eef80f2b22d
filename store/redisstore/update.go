package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/nearcache"
)

//go:embed scripts/cas.lua
var casText string

//go:embed scripts/settle.lua
var settleText string

var (
	casScript    = newScript(casText)
	settleScript = newScript(settleText)
)

// A job is the update of one peer: all that a batch says of it, in order.
type job struct {
	key     presence.Key
	index   []int // in the batch
	member  string
	bucket  int
	summary string
	stateAt string

	was     []byte // the packed state that was merged into; nil for none
	stands  bool   // was came from the compare and set, so that its first bytes are those to compare with
	damaged bool   // was is no state
	err     error  // why this one is not written
	floor   uint64 // the revision that a damaged one begins with
	next    []byte // what is to be written; empty removes it
	effect  presence.Effect
	st      presence.State
	retried bool
	sent    bool // to be written, and what became of it is not known
	landed  bool // written
	resumed bool // by an earlier call of this process, which did not learn of it

	before  []entry // what the old state needs
	needed  []entry // what the new state needs
	gone    []entry // what the old one needed and the new one does not
	idle    bool    // the new state is that of a peer that has been offline for long
	claimed []claim // index entries that this process has read and is to settle
	written map[string]bool
}

// Update implements [presence.Store]. A peer that cannot be written, because its primary is lost or a newer rollcall
// keeps it, does not keep the others from it.
//
// The order is what keeps an index from missing a peer: what the new state needs is written first, then the state, by
// compare and set; what it does not need any more is removed last, and only if nobody has written it since it was read.
func (s *Store) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if s.closed() {
		return errClosed
	}
	if s.single != nil && (s.single.away.Load() != 0 || s.single.suspected.Load()) && s.outage.box.Keeps() {
		return errAway // the spool is not to wait for the deadline
	}
	if s.outage.box.Spooling() {
		waits := s.outage.box.Waits(keys)
		if len(waits) == len(keys) {
			return errAway
		}
		if len(waits) > 0 {
			return s.updateRest(ctx, keys, waits, now, merge)
		}
	}
	return partly(s.updateEach(ctx, keys, now, merge))
}

// updateRest updates all peers but those that have to wait.
func (s *Store) updateRest(ctx context.Context, keys []presence.Key, waits []int, now presence.Millis, merge presence.Merge) error {
	errs := make([]error, len(keys))
	for _, i := range waits {
		errs[i] = errAway
	}
	var rest []presence.Key
	var index []int
	for i, err := range errs {
		if err == nil {
			rest = append(rest, keys[i])
			index = append(index, i)
		}
	}
	for k, err := range s.updateEach(ctx, rest, now, func(k int, st *presence.State) presence.Effect { return merge(index[k], st) }) {
		errs[index[k]] = err
	}
	return partly(errs)
}

// partly makes one error of those of an update: nil when there is none, and a [presence.PartError] when not all failed.
func partly(errs []error) error {
	var failed []int
	for i, err := range errs {
		if err != nil {
			failed = append(failed, i)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	err := errs[failed[0]]
	if len(failed) == len(errs) {
		return err
	}
	return &presence.PartError{Failed: failed, Err: err}
}

// update is updateEach for who needs all of it.
func (s *Store) update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return partly(s.updateEach(ctx, keys, now, merge))
}

// updateEach updates every peer that it can and returns an error for each key that it could not, nil when there is none.
func (s *Store) updateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) (errs []error) {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return s.updateWith(ctx, keys, now, merge, nil)
}

// updateWith is updateEach until ctx ends. doubts, which may be nil, are what earlier calls did not learn the end of.
func (s *Store) updateWith(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge, doubts *doubts) (errs []error) {
	if err := s.owned(ctx); err != nil {
		return slices.Repeat([]error{err}, len(keys))
	}
	jobs := s.jobs(keys)
	members := make([]string, len(jobs))
	for i := range jobs {
		members[i] = jobs[i].member
	}
	fail := func(jobs []*job, doing string, err error) {
		for _, j := range jobs {
			if j.landed {
				continue // an entry too many in an index is all that is wrong
			}
			j.err = fmt.Errorf("%s %d peers: %w", doing, len(jobs), away(err))
		}
	}
	pending := make([]*job, len(jobs))
	for i := range jobs {
		pending[i] = &jobs[i]
	}
	unlock, err := s.lock(ctx, members)
	if err != nil {
		fail(pending, "lock", err)
		return errsOf(jobs, len(keys))
	}
	defer unlock()
	defer s.forget(jobs)
	pending = s.reachable(pending)
	if err := s.readJobs(ctx, pending, now); err != nil {
		fail(pending, "read", err)
		return errsOf(jobs, len(keys))
	}
	doubts.resume(pending)
	defer doubts.keep(jobs)
	for round := 0; len(pending) > 0; round++ {
		if round > 0 {
			s.stats.conflicts.Add(int64(len(pending)))
		}
		was := pending
		if pending, err = s.attempt(ctx, pending, now, merge); err != nil {
			fail(was, "write", err)
			break
		}
	}
	return errsOf(jobs, len(keys))
}

// reachable returns the jobs whose state can be reached, and fails the others at once.
func (s *Store) reachable(jobs []*job) []*job {
	if s.single != nil {
		return jobs
	}
	var list []*job
	for _, j := range jobs {
		if s.reaches(j.summary) {
			list = append(list, j)
			continue
		}
		j.err = errAway
	}
	return list
}

// reaches reports whether the primary of a key of a Cluster is known and not away. The only primary there is may be tried.
func (s *Store) reaches(key string) bool {
	if s.single != nil {
		return true
	}
	k := s.linkOf(slotOf(key))
	return k != nil && k.away.Load() == 0 && !k.suspected.Load()
}

// errsOf returns the errors of the jobs by key, nil when there is none.
func errsOf(jobs []job, keys int) (errs []error) {
	for i := range jobs {
		if jobs[i].err == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, keys)
		}
		for _, k := range jobs[i].index {
			errs[k] = jobs[i].err
		}
	}
	return errs
}

// jobs groups keys that repeat, in the order in which they first come.
func (s *Store) jobs(keys []presence.Key) []job {
	jobs := make([]job, 0, len(keys))
	at := make(map[presence.Key]int, len(keys))
	for i, k := range keys {
		n, ok := at[k]
		if !ok {
			n = len(jobs)
			at[k] = n
			summary := string(s.keys.summaryKey(nil, k.App, []byte(k.Peer)))
			member := s.keys.member(k)
			jobs = append(jobs, job{key: k, member: member, bucket: bucketOf(member), summary: summary, stateAt: s.keys.stateKey(summary)})
		}
		jobs[n].index = append(jobs[n].index, i)
	}
	return jobs
}

// forget drops what the cache holds of the peers of jobs that were written, or may have been: what was acknowledged here is
// seen here, whenever the link tells of it.
func (s *Store) forget(jobs []job) {
	for i := range jobs {
		if jobs[i].effect != presence.Same {
			s.cache.Drop(s.cache.Space(jobs[i].key.App), []byte(jobs[i].key.Peer))
		}
	}
}

// readJobs finds the present state of every peer, in the cache if it can: compare and set finds out when that is old.
func (s *Store) readJobs(ctx context.Context, jobs []*job, now presence.Millis) error {
	ids := make([][]byte, len(jobs))
	byApp := map[presence.AppID][]int{}
	for i, j := range jobs {
		ids[i] = []byte(j.key.Peer)
		if b, how := s.cache.Get(s.cache.Space(j.key.App), ids[i], nil); how == nearcache.Fresh {
			j.was = b
			continue
		}
		byApp[j.key.App] = append(byApp[j.key.App], i)
	}
	for app, chosen := range byApp {
		err := s.read(ctx, app, 0, ids, chosen, now, false, func(i int, state []byte) {
			jobs[i].was = append([]byte(nil), state...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt merges and writes every pending job once and returns those whose state had changed meanwhile.
func (s *Store) attempt(ctx context.Context, pending []*job, now presence.Millis, merge presence.Merge) ([]*job, error) {
	var writes []*job
	for _, j := range pending {
		if j.err = s.merge(j, now, merge); j.err == nil && j.effect != presence.Same {
			writes = append(writes, j)
		}
	}
	if err := s.indexFirst(ctx, writes, now); err != nil {
		return nil, err
	}
	s.pause("before the state")
	again, err := s.compareAndSet(ctx, writes, now)
	if err != nil {
		return nil, err
	}
	waits := map[*job]bool{}
	for _, j := range again {
		waits[j] = true
	}
	var done []*job
	for _, j := range pending {
		if !waits[j] && j.err == nil {
			done = append(done, j)
		}
	}
	s.pause("before the settling")
	return again, s.settle(ctx, done)
}

// merge makes the new state of j and finds what its indexes need.
func (s *Store) merge(j *job, now presence.Millis, merge presence.Merge) error {
	if err := s.unpack(j, now); err != nil {
		return err
	}
	j.before = j.before[:0]
	rev := j.st.Rev
	idle := rev != 0 && !j.damaged && s.idle(&j.st, now, idleAfter/2)
	if rev != 0 && !j.damaged { // else only the recipe knows the peer, and nothing is indexed
		j.before = s.entries(j)
	}
	if err := j.mergeAll(merge); err != nil {
		return err
	}
	if idle && !s.idle(&j.st, now, idleAfter/2) {
		j.before = without(j.before, s.keys.leaseIndex(j.bucket)) // an audit may have removed it
	}
	j.claimed = append(j.claimed, s.claims.take(j.member)...)
	if j.idle = s.idle(&j.st, now, idleAfter); j.effect == presence.Same {
		j.reset()
		j.idle = s.idle(&j.st, now, idleAfter)
		if !j.damaged && (j.st.Rev == 0 || !s.fenceNeeded(j)) {
			j.needed = s.entries(j)
			return nil
		}
		j.effect = presence.Quiet
	}
	if j.damaged {
		j.effect = presence.Shown
	}
	if rev == 0 {
		rev = s.floor.Load()
	}
	j.st.Rev = presence.NextRev(rev, now)
	j.next = j.next[:0]
	if !j.st.Forgotten() {
		j.next = j.st.Pack(j.next)
	}
	j.needed = s.entries(j)
	j.gone = j.gone[:0]
	for _, b := range j.before {
		// The lease index is left to the sweep, which finds out at the deadline; a forgotten peer leaves no trace at once.
		if !has(j.needed, b.index) && (b.deadline == 0 || len(j.next) == 0) {
			j.gone = append(j.gone, b)
		}
	}
	return nil
}

// unpack makes the state of j from what was read. One bad value must not hold up the reports of all others, so bytes that
// are no state count for none: the peer begins anew, under a later revision, and is unknown until it is heard of. A state
// of a newer rollcall is left alone.
func (s *Store) unpack(j *job, now presence.Millis) error {
	var err error
	if len(j.was) > 0 {
		err = j.st.Unpack(j.was)
	}
	if j.damaged = err != nil && !s.newer(j.was); err == nil {
		j.reset()
		return nil
	}
	if !j.damaged {
		s.sayNewer(j.key.Peer, j.was)
		return errNewer
	}
	s.stats.damaged.Add(1)
	s.log.Error("state in redis cannot be read; the peer begins anew", "peer", fmt.Sprintf("%.80q", j.key.Peer), "bytes", len(j.was))
	j.floor = s.floor.Load()
	if r := presence.Rev(j.was); r < uint64(now.Add(24*time.Hour)) { // else it is no revision either
		j.floor = max(j.floor, r)
	}
	j.reset()
	return nil
}

// reset makes the state of j what it was before anything was merged into it.
func (j *job) reset() {
	j.st = presence.State{}
	switch {
	case j.damaged:
		j.st.Rev = j.floor
	case len(j.was) > 0:
		_ = j.st.Unpack(j.was) // it could be unpacked before
	}
}

// mergeAll merges all that the batch says of the peer, in order. What a merge that says Same did to the state does not count.
func (j *job) mergeAll(merge presence.Merge) error {
	j.effect = presence.Same
	kept := j.was
	if j.damaged {
		kept = j.st.Pack(nil)
	}
	for _, i := range j.index {
		e := merge(i, &j.st)
		j.effect = max(j.effect, e)
		if len(j.index) == 1 {
			return nil
		}
		if e != presence.Same {
			kept = j.st.Pack(nil)
			continue
		}
		j.st = presence.State{}
		if len(kept) > 0 {
			if err := j.st.Unpack(kept); err != nil {
				return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
			}
		}
	}
	return nil
}

// fenceNeeded reports whether an index entry is to be removed although nothing else changes: then the state is written
// once more, under a new revision, so that a writer who has just put that entry there, and not yet written its state, has
// to begin anew.
func (s *Store) fenceNeeded(j *job) bool {
	needed := s.entries(j)
	for _, c := range j.claimed {
		if !has(needed, c.index) || c.idle && j.idle {
			return true
		}
	}
	return false
}

// compareAndSet writes the states of the jobs that have not failed and returns those that another writer came before.
func (s *Store) compareAndSet(ctx context.Context, writes []*job, now presence.Millis) ([]*job, error) {
	var able []*job
	var calls []scriptCall
	for _, j := range writes {
		if j.resumed && j.err == nil {
			s.wrote(j)
			j.resumed = false
		} else if j.err == nil {
			able = append(able, j)
			j.sent = true
			calls = append(calls, s.casCall(j, now))
		}
	}
	if len(calls) == 0 {
		return nil, nil
	}
	s.stats.cas.Add(int64(len(calls)))
	begun := time.Now()
	results, err := s.exec(ctx, casScript, calls)
	if err != nil {
		return nil, err
	}
	var again []*job
	for i, j := range able {
		stands, err := s.written(j, results[i])
		_, answered := rueidis.IsRedisErr(err)
		j.sent = err != nil && !answered
		switch {
		case err != nil:
			s.failedSince(begun, j.summary, err)
			if !answered && !j.retried && ctx.Err() == nil {
				// The connection broke. Whether the script ran shows when it runs again: then our own state stands there.
				j.retried = true
				again = append(again, j)
				continue
			}
			j.err = fmt.Errorf("write a state: %w", away(err))
		case stands != nil:
			j.was, j.stands = stands, true
			again = append(again, j)
		}
	}
	return again, nil
}

// written reads what the script says of j: nil when it is written, else the state that stands, which may be empty.
func (s *Store) written(j *job, result rueidis.RedisResult) (stands []byte, err error) {
	v, err := result.ToMessage()
	if err != nil {
		return nil, err
	}
	if v.IsInt64() {
		if n, _ := v.AsInt64(); n > 1 {
			s.stats.overwritten.Add(1)
			s.log.Error("a key of another type stood where the state of a peer belongs, and was written over", "peer", fmt.Sprintf("%.80q", j.key.Peer),
				"state", n&2 != 0, "summary", n&4 != 0)
		}
		s.wrote(j)
		return nil, nil
	}
	b, err := v.AsBytes()
	if err != nil {
		return nil, err
	}
	if j.retried && string(b) == string(j.next) {
		s.wrote(j)
		return nil, nil
	}
	return append([]byte{}, b...), nil
}

// wrote keeps the books of a state that was written.
func (s *Store) wrote(j *job) {
	j.landed = true
	if presence.Rev(j.was) == 0 && len(j.was) > 0 && !j.damaged {
		s.stats.adopted.Add(1)
	}
	if len(j.next) > 0 {
		return
	}
	// Revisions are to rise over a removal, too, and nothing is left to tell the last one.
	for {
		f := s.floor.Load()
		if f >= j.st.Rev || s.floor.CompareAndSwap(f, j.st.Rev) {
			return
		}
	}
}

func (s *Store) casCall(j *job, now presence.Millis) scriptCall {
	rev := ""
	if presence.Rev(j.was) != 0 || j.stands || j.damaged {
		rev = string(j.was[:min(8, len(j.was))])
	}
	stateFor, summary, summaryFor := "0", "", "0"
	switch j.st.Status {
	case presence.Online:
		summary = "1"
	case presence.Offline:
		left := j.st.Since.Add(s.rules.OfflineMemory).Sub(now)
		summary, summaryFor, stateFor = "0", seconds(left), seconds(max(left, s.rules.Tombstones))
	default:
		summary, stateFor = "-", seconds(s.rules.Tombstones)
	}
	if j.effect != presence.Shown {
		summary = ""
	}
	return scriptCall{
		keys: []string{j.stateAt, j.summary},
		args: []string{rev, string(j.next), stateFor, summary, summaryFor},
	}
}

// seconds rounds up, and is at least one: what has run out is settled by the sweep, not by Redis.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// settle removes, or moves to the new deadline, the index entries that the jobs have claimed, unless somebody has written
// them meanwhile.
func (s *Store) settle(ctx context.Context, done []*job) error {
	var calls []scriptCall
	var of []*job
	for _, j := range done {
		for _, c := range j.claimed {
			if j.written[c.index] || !s.reaches(c.index) {
				continue
			}
			to := ""
			if e, needed := entryIn(j.needed, c.index); needed && !(c.idle && j.idle) {
				if e.deadline == 0 {
					continue
				}
				to = formatScore(score(e.deadline))
			}
			calls = append(calls, scriptCall{keys: []string{c.index}, args: []string{j.member, formatScore(c.score), to}})
			of = append(of, j)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	begun := time.Now()
	results, err := s.exec(ctx, settleScript, calls)
	if err != nil {
		return err
	}
	for i, j := range of {
		index := calls[i].keys[0]
		switch err := results[i].Error(); {
		case isStranger(err):
			s.stranger(index)
		case err != nil && j.landed:
			s.failedSince(begun, index, err) // the entry stays, for nothing
		case err != nil:
			s.failedSince(begun, index, err)
			j.err = fmt.Errorf("settle the index %s: %w", index, away(err))
		}
	}
	return nil
}
