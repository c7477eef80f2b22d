package redisstore

import (
	"fmt"
	"time"

	"rollcall/presence"
)

// A job is the update of one peer: all updates of a batch on it, in order.
type job struct {
	key     presence.Key
	index   []int // in the batch
	member  string
	bucket  int
	summary string
	stateAt string

	was []byte // the packed state that was merged into; nil for none
	// was came from the compare and set, so that its first bytes are those to compare with
	stands  bool
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

// unpack makes the state of j from what was read. One bad value must not hold up the reports of all
// others, so bytes that are no state count for none: the peer begins anew, under a later revision,
// and is unknown until its next report. A state of a newer rollcall is left alone.
func (w *writer) unpack(j *job, now presence.Millis) error {
	var err error
	if len(j.was) > 0 {
		err = j.st.Unpack(j.was)
	}
	if j.damaged = err != nil && !w.newer(j.was); err == nil {
		j.reset()
		return nil
	}
	if !j.damaged {
		w.sayNewer(j.key.Peer, j.was)
		return errNewer
	}
	w.stats.damaged.Add(1)
	w.log.Error("peer state damaged; peer reset", "peer", fmt.Sprintf("%.80q", j.key.Peer), "bytes", len(j.was))
	j.floor = w.floor.Load()
	// else it is no revision either
	if r := presence.Rev(j.was); r < uint64(now.Add(24*time.Hour)) {
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

// mergeAll makes all updates of the batch on the peer, in order. What a merge that returns Same did
// to the state does not count.
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

// fenceNeeded reports whether an index entry is to be removed although nothing else changes: then
// the state is written once more, under a new revision, so that a writer who has just put that
// entry there, and not yet written its state, has to begin anew.
func (w *writer) fenceNeeded(j *job) bool {
	needed := w.entries(j)
	for _, c := range j.claimed {
		if !has(needed, c.index) || c.idle && j.idle {
			return true
		}
	}
	return false
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
func (w *writer) jobs(keys []presence.Key) []job {
	jobs := make([]job, 0, len(keys))
	at := make(map[presence.Key]int, len(keys))
	for i, k := range keys {
		n, ok := at[k]
		if !ok {
			n = len(jobs)
			at[k] = n
			summary := string(w.keys.summaryKey(nil, k.App, []byte(k.Peer)))
			member := w.keys.member(k)
			jobs = append(jobs, job{key: k, member: member, bucket: bucketOf(member), summary: summary, stateAt: w.keys.stateKey(summary)})
		}
		jobs[n].index = append(jobs[n].index, i)
	}
	return jobs
}

// merge makes the new state of j and finds what its indexes need.
func (w *writer) merge(j *job, now presence.Millis, merge presence.Merge) error {
	if err := w.unpack(j, now); err != nil {
		return err
	}
	j.before = j.before[:0]
	rev := j.st.Rev
	idle := rev != 0 && !j.damaged && w.idle(&j.st, now, idleAfter/2)
	if rev != 0 && !j.damaged { // else only the recipe knows the peer, and nothing is indexed
		j.before = w.entries(j)
	}
	if err := j.mergeAll(merge); err != nil {
		return err
	}
	if idle && !w.idle(&j.st, now, idleAfter/2) {
		j.before = without(j.before, w.keys.leaseIndex(j.bucket)) // an audit may have removed it
	}
	j.claimed = append(j.claimed, w.claims.take(j.member)...)
	if j.idle = w.idle(&j.st, now, idleAfter); j.effect == presence.Same {
		j.reset()
		j.idle = w.idle(&j.st, now, idleAfter)
		if !j.damaged && (j.st.Rev == 0 || !w.fenceNeeded(j)) {
			j.needed = w.entries(j)
			return nil
		}
		j.effect = presence.Quiet
	}
	if j.damaged {
		j.effect = presence.Shown
	}
	if rev == 0 {
		rev = w.floor.Load()
	}
	j.st.Rev = presence.NextRev(rev, now)
	j.next = j.next[:0]
	if !j.st.Forgotten() {
		j.next = j.st.Pack(j.next)
	}
	j.needed = w.entries(j)
	j.gone = j.gone[:0]
	for _, b := range j.before {
		// The lease index is left to the sweep, which finds out at the deadline; a forgotten peer
		// leaves no trace at once.
		if !has(j.needed, b.index) && (b.deadline == 0 || len(j.next) == 0) {
			j.gone = append(j.gone, b)
		}
	}
	return nil
}
