package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// A Run is a round that an operator began, or a list of peers that an operator named.
type Run struct {
	ID     int64           `json:"id"` // rises with the runs of the source
	Began  presence.Millis `json:"began"`
	Ended  presence.Millis `json:"ended,omitempty"`
	Listed bool            `json:"listed,omitempty"` // an operator named the peers
	Dry    bool            `json:"dry,omitempty"`
	Force  bool            `json:"force,omitempty"`
	Result Result          `json:"result"`
	// Turns are those that turn, the first of them.
	Turns []Turned `json:"turns,omitempty"`
	Error string   `json:"error,omitempty"` // why it ended early
}

// Turned is a peer that an answer turns.
type Turned struct {
	Peer   presence.PeerID `json:"peer"`
	Online bool            `json:"online"` // at the source; else a session of it has ended
}

// mostTurns is how many peers a run names.
const mostTurns = 1000

// Options are those of a run.
type Options struct {
	// Peers are asked about; none: all.
	Peers []presence.PeerID
	Dry   bool // nothing is changed
	Force bool // the brake is off
}

// runs are those of one source on this node.
type runs struct {
	mu  sync.Mutex
	run *Run // the last; nil: none was begun
}

// last returns a copy of the last run.
func (r *runs) last() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return nil
	}
	c := *r.run
	c.Turns = slices.Clone(c.Turns)
	return &c
}

// The reasons why a run does not begin.
var (
	ErrNoSource  = errors.New("no such source, or it has no reconcile section")
	ErrRunning   = errors.New("a run of this source has not ended yet")
	errElsewhere = errors.New("a run of this source has not ended yet on another node")
)

// Begin begins a run and returns it. The errors are [ErrNoSource] and [ErrRunning].
func (r *Runner) Begin(app presence.AppID, id presence.Source, o Options) (*Run, error) {
	w := r.find(app, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w == nil || w.ctx.Err() != nil || r.ctx.Err() != nil {
		return nil, ErrNoSource
	}
	w.runs.mu.Lock()
	defer w.runs.mu.Unlock()
	run := &Run{ID: 1, Began: w.deps.Now(), Listed: len(o.Peers) > 0, Dry: o.Dry, Force: o.Force}
	if before := w.runs.run; before != nil {
		if before.Ended == 0 {
			return nil, ErrRunning
		}
		run.ID = before.ID + 1
	}
	w.runs.run = run
	r.running.Go(func() { w.operated(w.ctx, o, run) })
	c := *run
	return &c, nil
}

// operated does a run that an operator began.
func (w *worker) operated(ctx context.Context, o Options, run *Run) {
	w.failures.Store(0) // those of runs before say nothing of this one
	r := newRound(w, options{listed: run.Listed, dry: o.Dry, force: o.Force})
	r.seen = func(t turn) {
		w.runs.mu.Lock()
		defer w.runs.mu.Unlock()
		if len(run.Turns) < mostTurns {
			run.Turns = append(run.Turns, Turned{Peer: t.peer, Online: !t.ghost})
		}
	}
	r.step = func() {
		w.runs.mu.Lock()
		defer w.runs.mu.Unlock()
		run.Result = r.Result
	}
	err := w.alone(ctx, func(ctx context.Context) error {
		if !run.Listed {
			return r.all(ctx)
		}
		r.expected = int64(len(o.Peers))
		for some := range slices.Chunk(o.Peers, window) {
			if err := r.look(ctx, some); err != nil {
				return err
			}
		}
		return r.finish(ctx)
	})
	r.step()
	w.runs.mu.Lock()
	defer w.runs.mu.Unlock()
	run.Ended = w.deps.Now()
	if errors.Is(err, errBraked) && !run.Dry {
		w.brake(&r.Result)
	}
	switch {
	case errors.Is(err, webhook.ErrRefused):
		run.Error = fmt.Sprintf("the product refuses the key or the app: %v", err)
	case err != nil:
		run.Error = err.Error()
	case !run.Dry && !run.Listed:
		w.whole()
	}
}

// alone calls fn while no other node does a run of the source.
func (w *worker) alone(ctx context.Context, fn func(context.Context) error) error {
	claim := w.claim() + ":run"
	if err := w.ready(); err != nil {
		return err
	}
	if !w.deps.Service.Claim(ctx, claim, w.timing.claim) {
		return errElsewhere
	}
	ctx, cancel := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	defer func() {
		cancel()
		renewing.Wait()
		w.leave(claim)
	}()
	renewing.Go(func() {
		for sleep(ctx, w.timing.renew) {
			w.deps.Service.Claim(ctx, claim, w.timing.claim)
		}
	})
	return fn(ctx)
}

// leave lets another node have claim in a second.
func (w *worker) leave(claim string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	w.deps.Service.Claim(ctx, claim, time.Second)
}
