package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
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
	floor   uint64 // the revision that a damaged one begins with
	next    []byte // what is to be written; empty removes it
	effect  presence.Effect
	st      presence.State
	retried bool

	before  []entry // what the old state needs
	needed  []entry // what the new state needs
	gone    []entry // what the old one needed and the new one does not
	claimed []claim // index entries that this process has read and is to settle
	written map[string]bool
}

// An entry is one index entry that a state needs.
type entry struct {
	index    string
	deadline presence.Millis // 0 in an index of a node
	node     presence.NodeID
}

// Update implements [presence.Store].
//
// The order is what keeps an index from missing a peer: what the new state needs is written first, then the state, by
// compare and set; what it does not need any more is removed last, and only if nobody has written it since it was read.
func (s *Store) Update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if s.closed() {
		return errClosed
	}
	if s.outage.spooling() && (s.single != nil || s.outage.waits(keys)) {
		return errAway
	}
	return s.update(ctx, keys, now, merge)
}

func (s *Store) update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	jobs := s.jobs(keys)
	members := make([]string, len(jobs))
	for i := range jobs {
		members[i] = jobs[i].member
	}
	unlock, err := s.lock(ctx, members)
	if err != nil {
		return err
	}
	defer unlock()
	defer s.forget(jobs)
	if err := s.readJobs(ctx, jobs, now); err != nil {
		return fmt.Errorf("read %d peers: %w", len(jobs), away(err))
	}
	pending := make([]*job, len(jobs))
	for i := range jobs {
		pending[i] = &jobs[i]
	}
	for round := 0; len(pending) > 0; round++ {
		if round > 0 {
			s.stats.conflicts.Add(int64(len(pending)))
		}
		if pending, err = s.attempt(ctx, pending, now, merge); err != nil {
			return fmt.Errorf("write %d peers: %w", len(jobs), away(err))
		}
	}
	return nil
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
			s.cache.drop(s.space(jobs[i].key.App), []byte(jobs[i].key.Peer))
		}
	}
}

// readJobs finds the present state of every peer, in the cache if it can: compare and set finds out when that is old.
func (s *Store) readJobs(ctx context.Context, jobs []job, now presence.Millis) error {
	ids := make([][]byte, len(jobs))
	byApp := map[presence.AppID][]int{}
	for i := range jobs {
		j := &jobs[i]
		ids[i] = []byte(j.key.Peer)
		if b, how := s.cache.get(s.space(j.key.App), ids[i], nil); how == fresh {
			j.was = b
			continue
		}
		byApp[j.key.App] = append(byApp[j.key.App], i)
	}
	for app, chosen := range byApp {
		err := s.read(ctx, app, 0, ids, chosen, now, func(i int, state []byte) {
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
		if err := s.merge(j, now, merge); err != nil {
			return nil, err
		}
		if j.effect != presence.Same {
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
		if !waits[j] {
			done = append(done, j)
		}
	}
	s.pause("before the settling")
	return again, s.settle(ctx, done)
}

// merge makes the new state of j and finds what its indexes need.
func (s *Store) merge(j *job, now presence.Millis, merge presence.Merge) error {
	s.unpack(j, now)
	j.before = j.before[:0]
	rev := j.st.Rev
	if rev != 0 && !j.damaged { // else only the recipe knows the peer, and nothing is indexed
		j.before = s.entries(j)
	}
	if err := j.mergeAll(merge); err != nil {
		return err
	}
	j.claimed = append(j.claimed, s.claims.take(j.member)...)
	if j.effect == presence.Same {
		j.reset()
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
// are no state count for none: the peer begins anew, under a later revision, and is unknown until it is heard of.
func (s *Store) unpack(j *job, now presence.Millis) {
	j.damaged = len(j.was) > 0 && j.st.Unpack(j.was) != nil
	if !j.damaged {
		j.reset()
		return
	}
	s.stats.damaged.Add(1)
	s.log.Error("state in redis cannot be read; the peer begins anew", "peer", fmt.Sprintf("%.80q", j.key.Peer), "bytes", len(j.was))
	j.floor = s.floor.Load()
	if r := presence.Rev(j.was); r < uint64(now.Add(24*time.Hour)) { // else it is no revision either
		j.floor = max(j.floor, r)
	}
	j.reset()
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
		if !has(needed, c.index) {
			return true
		}
	}
	return false
}

func has(list []entry, index string) bool {
	for _, e := range list {
		if e.index == index {
			return true
		}
	}
	return false
}

// entries returns the index entries that the state of j needs.
func (s *Store) entries(j *job) []entry {
	var list []entry
	if j.st.Forgotten() {
		return nil
	}
	if d := j.st.Deadline(&s.rules); d != 0 {
		list = append(list, entry{index: s.keys.leaseIndex(j.bucket), deadline: d})
	}
	for i := range j.st.Sessions {
		ss := &j.st.Sessions[i]
		if ss.Node != "" && !ss.Ended {
			if index := s.keys.nodeIndex(ss.Node, j.bucket); !has(list, index) {
				list = append(list, entry{index: index, node: ss.Node})
			}
		}
	}
	return list
}

// score makes the score of an index entry: its deadline, less a random part of a millisecond that tells who wrote it. Redis
// keeps scores as doubles, which hold both until the year 2500.
func score(deadline presence.Millis) float64 {
	return float64(deadline) - float64(1+rand.IntN(1023))/1024
}

func formatScore(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// indexFirst writes the entries that the new states need and the old ones did not have, and reads the scores of those
// that are to go.
func (s *Store) indexFirst(ctx context.Context, writes []*job, now presence.Millis) error {
	var cmds []rueidis.Completed
	type asked struct {
		j     *job
		index string
	}
	var reads []asked
	for _, j := range writes {
		for _, e := range j.needed {
			d, had := deadlineIn(j.before, e.index)
			if had && (e.deadline == 0 || d <= e.deadline) {
				continue // what stands is early enough; if it was claimed, the settling moves it
			}
			at := e.deadline
			if e.node != "" {
				at = now
				if err := s.knowNode(ctx, e.node, now); err != nil {
					return err
				}
			}
			cmds = append(cmds, s.client.B().Zadd().Key(e.index).ScoreMember().ScoreMember(score(at), j.member).Build())
			reads = append(reads, asked{})
			j.wrote(e.index)
		}
		for _, e := range j.gone {
			cmds = append(cmds, s.client.B().Zscore().Key(e.index).Member(j.member).Build())
			reads = append(reads, asked{j, e.index})
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
		if reads[i].j == nil {
			if err := results[i].Error(); err != nil {
				s.failed(nil, err)
				return err
			}
			continue
		}
		v, err := results[i].AsFloat64()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			s.failed(nil, err)
			return err
		}
		reads[i].j.claimed = append(reads[i].j.claimed, claim{reads[i].index, v})
	}
	return nil
}

func deadlineIn(list []entry, index string) (presence.Millis, bool) {
	for _, e := range list {
		if e.index == index {
			return e.deadline, true
		}
	}
	return 0, false
}

func (j *job) wrote(index string) {
	if j.written == nil {
		j.written = map[string]bool{}
	}
	j.written[index] = true
}

// compareAndSet writes the states and returns the jobs that another writer came before.
func (s *Store) compareAndSet(ctx context.Context, writes []*job, now presence.Millis) ([]*job, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	calls := make([]scriptCall, len(writes))
	for i, j := range writes {
		calls[i] = s.casCall(j, now)
	}
	s.stats.cas.Add(int64(len(writes)))
	results, err := s.exec(ctx, casScript, calls)
	if err != nil {
		return nil, err
	}
	var again []*job
	for i, j := range writes {
		v, err := results[i].ToMessage()
		if err != nil {
			s.failed(s.linkOf(slotOf(j.summary)), err)
			if _, told := rueidis.IsRedisErr(err); !told && !j.retried && ctx.Err() == nil {
				// The connection broke. Whether the script ran shows when it runs again: then our own state stands there.
				j.retried = true
				again = append(again, j)
				continue
			}
			return nil, err
		}
		if v.IsInt64() {
			s.wrote(j)
			continue
		}
		stands, err := v.AsBytes()
		if err != nil {
			return nil, err
		}
		if j.retried && string(stands) == string(j.next) {
			s.wrote(j)
			continue
		}
		j.was, j.stands = append([]byte(nil), stands...), true
		again = append(again, j)
	}
	return again, nil
}

// wrote keeps the books of a state that was written.
func (s *Store) wrote(j *job) {
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
	for _, j := range done {
		for _, c := range j.claimed {
			if j.written[c.index] {
				continue
			}
			to := ""
			if d, needed := deadlineIn(j.needed, c.index); needed {
				if d == 0 {
					continue
				}
				to = formatScore(score(d))
			}
			calls = append(calls, scriptCall{keys: []string{c.index}, args: []string{j.member, formatScore(c.score), to}})
		}
	}
	if len(calls) == 0 {
		return nil
	}
	results, err := s.exec(ctx, settleScript, calls)
	if err != nil {
		return err
	}
	for i := range results {
		if err := results[i].Error(); err != nil {
			s.failed(nil, err)
			return err
		}
	}
	return nil
}

// Claims are index entries that this process has read to have them settled: what was due, and who was on a lost node.
type claims struct {
	mu sync.Mutex
	of map[string][]claim // by member
}

type claim struct {
	index string
	score float64
}

func (c *claims) add(member string, cl claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.of[member]
	for i := range list {
		if list[i].index == cl.index {
			list[i] = cl
			return
		}
	}
	c.of[member] = append(list, cl)
}

func (c *claims) take(member string) []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.of[member]
	delete(c.of, member)
	return list
}
