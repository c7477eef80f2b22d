package reconcile

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/edge/webhook"
	"rollcall/internal/lograte"
	"rollcall/presence"
)

// A worker asks the product of one source.
type worker struct {
	deps   *Deps
	timing timing
	src    *webhook.Source
	kind   webhook.Auditor
	limits webhook.Limits
	batch  int // ids of one call
	pace   pacer
	counts *counts
	after  after
	quiet  quiet

	ctx  context.Context // of its life
	stop context.CancelFunc

	holds   atomic.Int64 // since when this node has the claim; 0: it has not
	full    atomic.Int64 // when the last full round ended, since then; 0: none has
	stopped atomic.Int64 // why nothing is changed

	failures atomic.Int64    // calls that failed one after the other
	trouble  lograte.Episode // calls fail
	partial  lograte.Episode // rounds are not full
	runs     runs
}

func newWorker(deps *Deps, src webhook.Source, t timing) *worker {
	w := &worker{deps: deps, timing: t, src: &src, kind: src.Reconcile.Auditor, counts: &counts{}}
	w.limits = w.kind.Limits()
	w.batch = w.limits.Peers
	if w.batch <= 0 {
		w.batch = 100
	}
	w.pace.gap = time.Duration(float64(time.Second) / src.Reconcile.Rate)
	w.quiet.init(w)
	w.after.init(w)
	return w
}

// claim names what of several nodes one does.
func (w *worker) claim() string { return "reconcile:" + string(w.src.App) + ":" + string(w.src.ID) }

// claimed reports whether this node has the source. While the store is unreachable none has.
func (w *worker) claimed(ctx context.Context) bool {
	return w.ready() == nil && w.deps.Service.Claim(ctx, w.claim(), w.timing.claim) && w.ready() == nil
}

// run asks for as long as ctx lasts, whenever this node has the claim.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if w.claimed(ctx) {
			w.hold(ctx)
		}
		w.holds.Store(0)
		if !sleep(ctx, jitter(w.timing.renew)) {
			return
		}
	}
}

// hold asks until the claim is lost.
func (w *worker) hold(ctx context.Context) {
	ctx, lose := context.WithCancel(ctx)
	w.holds.Store(int64(w.deps.Now()))
	w.full.Store(0)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer lose()
	wg.Go(func() { w.rounds(ctx) })
	wg.Go(func() { w.after.run(ctx) })
	for sleep(ctx, w.timing.renew) {
		if !w.claimed(ctx) {
			return
		}
	}
}

// rounds begins a round every period. One that failed is begun again sooner, with a pause that
// doubles.
func (w *worker) rounds(ctx context.Context) {
	wait, retry := jitter(w.timing.first), w.timing.retry
	for sleep(ctx, wait) {
		began := time.Now()
		err := w.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil || errors.Is(err, errBraked):
			retry = w.timing.retry
			wait = jitter(max(w.src.Reconcile.Every-time.Since(began), w.timing.retry))
		default:
			wait = jitter(retry)
			retry = min(2*retry, w.src.Reconcile.Every)
		}
	}
}

// round asks about all peers once.
func (w *worker) round(ctx context.Context) error {
	w.failures.Store(0)
	r := newRound(w, options{last: w.stopped.Load() == stoppedBraked})
	err := r.all(ctx)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		w.whole()
	case errors.Is(err, errBraked):
		w.brake(&r.Result)
	case errors.Is(err, errPartial):
		if begins, _ := w.partial.Note(err); begins {
			w.deps.Log.Warn("reconciliation answers incomplete", "app", w.src.App, "source", w.src.ID, "asked", r.Asked, "unanswered", r.Unanswered)
		}
	}
	return err
}

// whole notes that a full round has ended.
func (w *worker) whole() {
	w.full.Store(int64(w.deps.Now()))
	_, over := w.partial.Note(nil)
	if w.stopped.Swap(stoppedNot) != stoppedNot || over {
		w.deps.Log.Info("reconciliation resumed", "app", w.src.App, "source", w.src.ID)
	}
}

// brake raises the alarm that an answer would turn too many.
func (w *worker) brake(r *Result) {
	w.counts.braked.Add(1)
	w.stopped.Store(stoppedBraked)
	w.deps.Log.Error("reconciliation stopped by its brake", "app", w.src.App, "source", w.src.ID,
		"asked", r.Asked, "ghosts", r.Ghost, "missed", r.Missed, "applied", r.Applied)
}

// jitter returns d, less up to a tenth of it.
func jitter(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - rand.N(d/10)
}

// key returns the key of a peer of the source.
func (w *worker) key(p presence.PeerID) presence.Key {
	return presence.Key{App: w.src.App, Peer: p}
}
