package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"hash/maphash"
	"slices"

	"rollcall/presence"
	spooled "rollcall/store/outage"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

//go:embed scripts/cas.lua
var casText string

//go:embed scripts/settle.lua
var settleText string

var (
	casScript    = conn.NewScript(casText)
	settleScript = conn.NewScript(settleText)
)

// A writer merges and writes states and their index entries.
type writer struct {
	*shared
	owner  *ownership
	nodes  *nodeBook
	reader *reader

	locks  [1024]chan struct{} // one report at a time for a peer
	claims claims
	doubts doubts
}

func newWriter(b *shared, owner *ownership, nodes *nodeBook, reader *reader) *writer {
	w := &writer{shared: b, owner: owner, nodes: nodes, reader: reader}
	w.claims.of = map[string][]claim{}
	for i := range w.locks {
		w.locks[i] = make(chan struct{}, 1)
	}
	return w
}

// update is updateEach for callers that need all of it.
func (w *writer) update(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	return spooled.Partly(w.updateEach(ctx, keys, now, merge))
}

// updateEach updates every peer that it can and returns an error for each key that it could not,
// nil when there is none.
func (w *writer) updateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) (errs []error) {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := w.conn.Deadline(ctx)
	defer cancel()
	return w.updateWith(ctx, keys, now, merge, nil)
}

// updateWith is updateEach until ctx ends. doubts, which may be nil, are what earlier calls did not
// learn the end of.
//
// The order is what keeps an index from missing a peer: what the new state needs is written first,
// then the state, by compare and set; what it does not need any more is removed last, and only if
// it was not written since it was read.
func (w *writer) updateWith(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge, doubts *doubts) (errs []error) {
	if err := w.owner.owned(ctx); err != nil {
		return slices.Repeat([]error{err}, len(keys))
	}
	jobs := w.jobs(keys)
	members := make([]string, len(jobs))
	for i := range jobs {
		members[i] = jobs[i].member
	}
	fail := func(jobs []*job, doing string, err error) {
		for _, j := range jobs {
			if j.landed {
				continue // an entry too many in an index is all that is wrong
			}
			j.err = fmt.Errorf("%s %d peers: %w", doing, len(jobs), conn.Unavailable(err))
		}
	}
	pending := make([]*job, len(jobs))
	for i := range jobs {
		pending[i] = &jobs[i]
	}
	unlock, err := w.lock(ctx, members)
	if err != nil {
		fail(pending, "lock", err)
		return errsOf(jobs, len(keys))
	}
	defer unlock()
	defer w.forget(jobs)
	pending = w.reachable(pending)
	if err := w.readJobs(ctx, pending, now); err != nil {
		fail(pending, "read", err)
		return errsOf(jobs, len(keys))
	}
	doubts.resume(pending)
	defer doubts.keep(jobs)
	for round := 0; len(pending) > 0; round++ {
		if round > 0 {
			w.stats.conflicts.Add(int64(len(pending)))
		}
		was := pending
		if pending, err = w.attempt(ctx, pending, now, merge); err != nil {
			fail(was, "write", err)
			break
		}
	}
	return errsOf(jobs, len(keys))
}

// reachable returns the jobs whose state can be reached, and fails the others at once.
func (w *writer) reachable(jobs []*job) []*job {
	if !w.conn.Clustered() {
		return jobs
	}
	var list []*job
	for _, j := range jobs {
		if w.conn.Reaches(j.summary) {
			list = append(list, j)
			continue
		}
		j.err = conn.ErrDown
	}
	return list
}

// forget drops what the cache holds of the peers of jobs that were written, or may have been: what
// was acknowledged here is seen here, whenever the link reports it.
func (w *writer) forget(jobs []job) {
	for i := range jobs {
		if jobs[i].effect != presence.Same {
			w.cache.Drop(w.cache.Space(jobs[i].key.App), []byte(jobs[i].key.Peer))
		}
	}
}

// readJobs finds the present state of every peer, in the cache if it can: compare and set finds out
// when that is old.
func (w *writer) readJobs(ctx context.Context, jobs []*job, now presence.Millis) error {
	ids := make([][]byte, len(jobs))
	byApp := map[presence.AppID][]int{}
	for i, j := range jobs {
		ids[i] = []byte(j.key.Peer)
		if b, how := w.cache.Get(w.cache.Space(j.key.App), ids[i], nil); how == nearcache.Fresh {
			j.was = b
			continue
		}
		byApp[j.key.App] = append(byApp[j.key.App], i)
	}
	for app, chosen := range byApp {
		err := w.reader.read(ctx, app, 0, ids, chosen, now, false, func(i int, state []byte) {
			jobs[i].was = append([]byte(nil), state...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt merges and writes every pending job once and returns those whose state had changed
// meanwhile.
func (w *writer) attempt(ctx context.Context, pending []*job, now presence.Millis, merge presence.Merge) ([]*job, error) {
	var writes []*job
	for _, j := range pending {
		if j.err = w.merge(j, now, merge); j.err == nil && j.effect != presence.Same {
			writes = append(writes, j)
		}
	}
	if err := w.indexFirst(ctx, writes, now); err != nil {
		return nil, err
	}
	w.pause("before the state")
	again, err := w.compareAndSet(ctx, writes, now)
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
	w.pause("before the settling")
	return again, w.settle(ctx, done)
}

// lock takes the locks of the given members, in the order of their numbers, and returns how to give
// them back.
func (w *writer) lock(ctx context.Context, members []string) (unlock func(), err error) {
	var want [len(w.locks) / 64]uint64
	for _, m := range members {
		n := maphash.String(lockSeed, m) % uint64(len(w.locks))
		want[n/64] |= 1 << (n % 64)
	}
	held := make([]int, 0, min(len(members), len(w.locks)))
	unlock = func() {
		for _, n := range held {
			<-w.locks[n]
		}
	}
	for n := range w.locks {
		if want[n/64]&(1<<(n%64)) == 0 {
			continue
		}
		select {
		case w.locks[n] <- struct{}{}:
			held = append(held, n)
		case <-ctx.Done():
			unlock()
			return nil, conn.Unavailable(ctx.Err())
		}
	}
	return unlock, nil
}

var lockSeed = maphash.MakeSeed()
