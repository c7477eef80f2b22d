package reconcile

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"

	"rollcall/ask"
	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Deps are what a [Runner] is given.
type Deps struct {
	Service *presence.Service
	Ask     *ask.Reader
	// Trouble says why the store cannot keep reports now; it returns "" while it can.
	Trouble func() string
	Now     func() presence.Millis
	Log     *slog.Logger
	// Client asks the products. Nil makes one that follows no redirects and bounds what it reads.
	Client *http.Client
}

// A Runner asks the products of all sources. Its methods may be called by many goroutines at once.
type Runner struct {
	deps   Deps
	timing timing

	mu      sync.Mutex
	workers []*worker
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// New returns a runner without sources.
func New(deps Deps) *Runner {
	if deps.Client == nil {
		deps.Client = newClient()
	}
	r := &Runner{deps: deps, timing: usual}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Replace puts list in the place of the sources before. A source whose settings are the same goes
// on; of one whose settings changed, the counts do.
func (r *Runner) Replace(list []webhook.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	before := r.workers
	r.workers = nil
	for i := range list {
		if !list[i].Reconcile.On() {
			continue
		}
		w := newWorker(&r.deps, list[i], r.timing)
		for k, old := range before {
			if old == nil || old.src.App != w.src.App || old.src.ID != w.src.ID {
				continue
			}
			if same(*old.src, *w.src) {
				w, before[k] = old, nil
			} else {
				w.counts = old.counts
			}
			break
		}
		r.workers = append(r.workers, w)
	}
	for _, old := range before {
		if old != nil {
			old.stop()
		}
	}
	for _, w := range r.workers {
		if w.stop == nil {
			ctx, stop := context.WithCancel(r.ctx)
			w.ctx, w.stop = ctx, stop
			r.running.Go(func() { w.run(ctx) })
		}
	}
}

// same reports whether a and b have the same settings. Tokens that were made with them are none.
func same(a, b webhook.Source) bool {
	a.Reconcile.Passes, b.Reconcile.Passes = nil, nil
	return reflect.DeepEqual(a, b)
}

// Stop ends all asking and returns when it has ended.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stop()
	r.mu.Unlock()
	r.running.Wait()
	r.deps.Client.CloseIdleConnections()
}

// find returns the worker of a source, nil when its product is not asked.
func (r *Runner) find(app presence.AppID, id presence.Source) *worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if w.src.App == app && w.src.ID == id {
			return w
		}
	}
	return nil
}

// Stats returns what is known of each source whose product is asked, in the order of the settings.
func (r *Runner) Stats() []Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Stats{}
	for _, w := range r.workers {
		all = append(all, w.stats())
	}
	return all
}

// A timing is how often a worker does what no setting says.
type timing struct {
	claim time.Duration // how long a node has a source without renewing its claim
	renew time.Duration // how often it does
	first time.Duration // how long after that the first round begins, at most
	retry time.Duration // the first pause after a round that failed
}

var usual = timing{claim: 30 * time.Second, renew: 10 * time.Second, first: 30 * time.Second, retry: 10 * time.Second}

// sleep waits for d and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
