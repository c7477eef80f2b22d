package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

const (
	// parallel is how many calls to one product are under way at most.
	parallel = 4
	// failuresAbort is how many calls may fail one after the other until a round is given up.
	failuresAbort = 5
	// tooOld is how old an answer may be by its own clock: beyond it is none.
	tooOld = time.Hour
	// maxSessions is how many sessions of one peer an answer may have.
	maxSessions = 256
)

var (
	errPaused  = errors.New("the store is unreachable, or leases stand still")
	errFailing = errors.New("the product does not answer")
	errPartial = errors.New("the product left many peers without a clear answer")
	errBraked  = errors.New("more would turn than the brake allows; nothing of that was applied")
)

// said is what a product said of a peer, and when it was asked.
type said struct {
	asked presence.Millis // by our clock
	quiet time.Duration   // how old the answer was taken to be, then
	clock presence.Millis // the time of the answer by the clock of the product; 0 when it has none
	found webhook.Found
}

// ready returns an error when nothing is to be asked or concluded now.
func (w *worker) ready() error {
	now := w.deps.Now()
	if w.deps.Service.Age() > 0 || w.deps.Service.Leases(now) != now || w.deps.Trouble() != "" {
		return errPaused
	}
	return nil
}

// question is one batch of peers under way.
type question struct {
	peers []presence.PeerID
	asked presence.Millis
	quiet time.Duration
	got   webhook.Answer
	err   error
}

// ask asks the product about peers, in batches. A peer without a clear answer is missing from the
// result. The error says why the round ends: the product refuses, or fails again and again, or
// nothing may be asked now.
func (w *worker) ask(ctx context.Context, peers []presence.PeerID) (map[presence.PeerID]said, error) {
	var batches []*question
	for some := range slices.Chunk(peers, w.batch) {
		batches = append(batches, &question{peers: some})
	}
	var next atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range min(parallel, len(batches)) {
		wg.Go(func() {
			for !stop.Load() {
				n := int(next.Add(1)) - 1
				if n >= len(batches) {
					return
				}
				if w.put(ctx, batches[n]); w.ends(batches[n].err) {
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	answers := make(map[presence.PeerID]said, len(peers))
	for _, q := range batches {
		if q.err != nil && (w.ends(q.err) || ctx.Err() != nil) {
			return nil, q.err
		}
		w.take(q, answers)
	}
	if w.failures.Load() >= failuresAbort {
		return nil, errFailing
	}
	return answers, nil
}

// ends reports whether err ends a round at once.
func (w *worker) ends(err error) bool {
	return err != nil && (errors.Is(err, webhook.ErrRefused) || errors.Is(err, errPaused) || w.failures.Load() >= failuresAbort)
}

// put asks the product about one batch when its turn has come.
func (w *worker) put(ctx context.Context, q *question) {
	if q.err = w.pace.wait(ctx); q.err != nil {
		return
	}
	if q.err = w.ready(); q.err != nil {
		return
	}
	var calls atomic.Int64
	asking, cancel := context.WithTimeout(context.WithValue(ctx, callsKey{}, &calls), askWithin)
	defer cancel()
	q.asked, q.quiet = w.deps.Now(), w.quiet.age()
	q.got, q.err = w.kind.Ask(asking, w.deps.Client, w.src, q.peers)
	w.pace.more(calls.Load() - 1)
	if ctx.Err() == nil { // else it was ended from here
		w.tally(q)
	}
}

// tally counts a batch, and logs when the product begins to fail and when it answers again.
func (w *worker) tally(q *question) {
	w.counts.calls.Add(1)
	if q.err == nil {
		w.failures.Store(0)
		if _, over := w.trouble.Note(nil); over {
			w.deps.Log.Info("reconciliation recovered", "app", w.src.App, "source", w.src.ID)
		}
		return
	}
	w.counts.failed.Add(1)
	w.failures.Add(1)
	if errors.Is(q.err, webhook.ErrRefused) {
		w.refused(q.err)
		return
	}
	if begins, _ := w.trouble.Note(q.err); begins {
		w.deps.Log.Warn("reconciliation call failed; will retry", "app", w.src.App, "source", w.src.ID, "err", q.err)
	}
}

// refused raises the alarm that the product refuses the key.
func (w *worker) refused(err error) {
	if w.stopped.Swap(stoppedRefused) != stoppedRefused {
		w.deps.Log.Error("reconciliation refused by the product", "app", w.src.App, "source", w.src.ID, "err", err)
	}
}

// take adds what q answers to answers.
func (w *worker) take(q *question, answers map[presence.PeerID]said) {
	at := q.got.At
	if q.err != nil || at != 0 && at < q.asked.Add(-tooOld) {
		w.counts.unanswered.Add(int64(len(q.peers)))
		return
	}
	for _, p := range q.peers {
		found, ok := q.got.Peers[p]
		if !ok || usable(found) != nil {
			w.counts.unanswered.Add(1)
			continue
		}
		answers[p] = said{asked: q.asked, quiet: q.quiet, clock: at, found: found}
	}
}

// usable returns what is wrong with an answer: part of it would be lost in the reports.
func usable(f webhook.Found) error {
	if len(f.Sessions) > maxSessions {
		return fmt.Errorf("%d sessions of one peer", len(f.Sessions))
	}
	if len(f.Sessions) > 0 && !f.Online {
		return errors.New("sessions of a peer that is offline")
	}
	for _, s := range f.Sessions {
		if s.ID == "" || len(s.ID) > presence.MaxName || len(s.Platform) > presence.MaxName {
			return errors.New("a session without an id that can be kept")
		}
	}
	return nil
}
