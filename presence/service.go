package presence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Config are the settings of a [Service].
type Config struct {
	Rules Rules `config:",inline"`
	// Grace is how long leases stand still after a start or an outage of the store, so that what
	// could not be renewed in between is not taken for gone.
	Grace time.Duration `range:"0s..1h"`
	// Trace is how many of the last reports this process remembers, for answering "why".
	Trace int `range:"0..16777216"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{Rules: DefaultRules(), Grace: 30 * time.Second, Trace: 1 << 16}
}

// A Service carries reports to the store and ends what has run out. All doors share one. Questions
// are answered by package ask.
type Service struct {
	store    Store
	cfg      Config
	trace    *Trace
	counters *Counters
	still    atomic.Pointer[standstill]

	inflight inflight
	joined   joined

	successor *Successor // nil: no work is taken over
	epoch     uint64
	remote    Remote // nil when the store is part of this process
}

// A standstill is a time in which no lease runs out: leases are judged as of asOf until it is over.
type standstill struct{ asOf, until Millis }

// NewService returns a service over store.
func NewService(store Store, cfg Config) *Service {
	s := &Service{store: store, cfg: cfg, trace: NewTrace(cfg.Trace), counters: NewCounters(), epoch: rand.Uint64()}
	s.joined.set, s.joined.unfinished = map[NodeID]struct{}{}, map[NodeID]struct{}{}
	if d, ok := store.(Remote); ok {
		s.remote = d
		s.cfg.Rules.Replay = ReplayWithin
		d.OnReturn(func(asOf, now Millis) <-chan struct{} {
			s.StandStill(asOf, now)
			return nil
		}) // for as long as the store lives
	}
	return s
}

// Rules returns the settings of the merge.
func (s *Service) Rules() *Rules { return &s.cfg.Rules }

// Trace returns the last reports that this process has received.
func (s *Service) Trace() *Trace { return s.trace }

// Counters returns the running counts of this process.
func (s *Service) Counters() *Counters { return s.counters }

// StandStill lets no lease run out until the grace after now is over: leases are judged as of asOf,
// the last time at which renewals were surely received. Call it after a start, and when the store
// is back after an outage.
func (s *Service) StandStill(asOf, now Millis) {
	asOf = min(asOf, now)
	for {
		old := s.still.Load()
		if old != nil && now < old.until {
			// What could not be renewed before the first outage has not been since.
			asOf = min(asOf, old.asOf)
		}
		if s.still.CompareAndSwap(old, &standstill{asOf: asOf, until: now.Add(s.cfg.Grace)}) {
			return
		}
	}
}

// Leases returns the time by which leases are judged at now.
func (s *Service) Leases(now Millis) Millis {
	if st := s.still.Load(); st != nil && now < st.until {
		return st.asOf
	}
	return now
}

// Report merges reports received at now and sets out[i] to what became of reports[i]. When it
// returns nil every one of them is kept. An invalid report refuses the whole batch before anything
// is counted, with an error matching [ErrInvalid]. After one that matches [ErrUnavailable] or
// [ErrFull] some may be counted, and sending all again is safe.
func (s *Service) Report(ctx context.Context, reports []Report, now Millis, out []Outcome) error {
	keys := make([]Key, 0, len(reports))
	index := make([]int, 0, len(reports))
	for i := range reports {
		r := &reports[i]
		if err := r.Validate(); err != nil {
			return err
		}
		if !s.cfg.Rules.Admit(r, now) {
			out[i] = Outcome{Verdict: Stale}
			continue
		}
		if s.remote != nil {
			r.name()
		}
		keys = append(keys, r.Key())
		index = append(index, i)
	}
	leases := s.Leases(now)
	if len(keys) > 0 {
		err := s.update(ctx, keys, now, func(k int, st *State) (e Effect) {
			i := index[k]
			out[i], e = st.Apply(&reports[i], leases, &s.cfg.Rules)
			return e
		})
		if s.remote != nil {
			err = s.keepAdmitted(ctx, reports, index, now, out, err)
		}
		if err != nil {
			return fmt.Errorf("apply %d reports: %w", len(keys), err)
		}
	}
	for i := range reports {
		s.counters.report(&reports[i], out[i], now)
		s.trace.add(&reports[i], out[i], now)
	}
	return nil
}

// Note has the trace remember an answer that made no report, and what it came to. r is about a
// peer; it changes nothing.
func (s *Service) Note(r *Report, v Verdict, received Millis) {
	s.trace.add(r, Outcome{Verdict: v}, received)
}

// Age returns how long a part of the store has been out of reach; 0 when all of it answers.
func (s *Service) Age() time.Duration {
	if s.remote == nil {
		return 0
	}
	return s.remote.Age()
}

// AgeOf returns how long the part of the store that keeps key has been out of reach; 0 when it
// answers.
func (s *Service) AgeOf(key Key) time.Duration {
	if s.remote == nil {
		return 0
	}
	return s.remote.AgeOf(key)
}

// sweepBatch bounds how long one sweep holds the store.
const sweepBatch = 512

// sweepBatches bounds how long one part of a sweep keeps it from another.
const sweepBatches = 8

// Sweep ends what has run out by now, at the cost of what is due, and returns how many peers
// turned. A part of the store that is out of reach keeps it from nothing else: what it could not do
// is the error, which matches [ErrUnavailable] or [ErrFull], and is done by a later one.
func (s *Service) Sweep(ctx context.Context, now Millis) (turned int, err error) {
	for more := true; more; {
		var n int
		n, more, err = s.SweepSome(ctx, now)
		turned += n
	}
	return turned, err
}

// SweepSome is Sweep for some thousands of peers of each lost node, and as many of those whose
// leases have run out; more reports that it left some. The time is to be asked anew before the
// rest: nodes may be lost meanwhile. The errors are those of Sweep.
func (s *Service) SweepSome(ctx context.Context, now Millis) (turned int, more bool, err error) {
	leases := s.Leases(now)
	var failed error
	if leases == now {
		turned, more, failed = s.sweepNodes(ctx, now)
	}
	var book nodeBook
	for range sweepBatches {
		due, asked := s.store.Due(ctx, leases, sweepBatch)
		if asked != nil {
			asked = fmt.Errorf("ask for what is due: %w", asked)
		}
		n, some, err := s.expire(ctx, due, leases, now, &book)
		turned += n
		if !some {
			return turned, more, errors.Join(failed, asked, err, s.shed(ctx, now, leases))
		}
	}
	return turned, true, failed
}

// conclude has expire settle keys and returns how many turned. It reports more when something was
// settled, so that a store that returns the same keys again cannot keep a sweep for ever.
func (s *Service) conclude(ctx context.Context, keys []Key, now Millis, expire func(*State) (Outcome, Effect)) (turned int, more bool, err error) {
	if len(keys) == 0 {
		return 0, false, nil
	}
	outs, effects := make([]Outcome, len(keys)), make([]Effect, len(keys))
	err = s.settle(ctx, keys, now, func(i int, st *State) Effect {
		outs[i], effects[i] = expire(st)
		return effects[i]
	})
	if part := (*PartError)(nil); errors.As(err, &part) {
		for _, i := range part.Failed {
			outs[i], effects[i] = Outcome{}, Same
		}
	} else if err != nil {
		return 0, false, err
	}
	for i := range outs {
		more = more || effects[i] != Same
		if outs[i].Turned {
			turned++
			s.counters.expired(keys[i].App, outs[i])
		}
	}
	return turned, more, err
}

// expire settles the peers that are due.
func (s *Service) expire(ctx context.Context, due []Key, leases, now Millis, book *nodeBook) (turned int, more bool, err error) {
	for {
		n, some, failed := s.conclude(ctx, due, now, func(st *State) (Outcome, Effect) { return book.expire(st, leases, &s.cfg.Rules) })
		turned, more = turned+n, more || some
		if failed != nil {
			failed = fmt.Errorf("expire %d peers: %w", len(due), failed)
		}
		asked, unasked := book.ask(ctx, s.store)
		if err = errors.Join(failed, unasked); !asked {
			return turned, more, err
		}
	}
}

// sweepNodes ends the sessions of nodes that stopped beating.
func (s *Service) sweepNodes(ctx context.Context, now Millis) (turned int, more bool, err error) {
	lost, err := s.store.LostNodes(ctx, now)
	if err != nil {
		err = fmt.Errorf("ask for lost nodes: %w", err)
	}
	for _, l := range lost {
		n, some, failed := s.endNode(ctx, l, now)
		turned, more = turned+n, more || some
		err = errors.Join(err, failed)
	}
	return turned, more, err
}

// orphans returns peers of a lost node for this process to end; others reports that other processes
// are at some.
func (s *Service) orphans(ctx context.Context, node NodeID) (keys []Key, others bool, err error) {
	if shared, ok := s.store.(Sharer); ok {
		keys, others, err = shared.Orphans(ctx, node, sweepBatch)
	} else {
		keys, err = s.store.OnNode(ctx, node, sweepBatch)
	}
	if err != nil {
		err = fmt.Errorf("ask for the peers of node %q: %w", node, err)
	}
	return keys, others, err
}

// endNode ends some of the sessions of one lost node, and forgets it when none are left. It reports
// more when it stopped before that for the sake of others.
func (s *Service) endNode(ctx context.Context, l LostNode, now Millis) (turned int, more bool, err error) {
	for range sweepBatches {
		keys, others, asked := s.orphans(ctx, l.Node)
		switch {
		case len(keys) > 0 || asked != nil:
		case others:
			return turned, false, nil
		default:
			return turned, false, s.forgetNode(ctx, l)
		}
		rest, moved, unmoved := s.move(ctx, l, keys, now)
		n, some, err := s.conclude(ctx, rest, now, func(st *State) (Outcome, Effect) {
			return st.EndNode(l, now, &s.cfg.Rules)
		})
		turned, some, err = turned+n, some || moved, errors.Join(unmoved, err)
		if err != nil {
			err = fmt.Errorf("end %d peers of node %q: %w", len(keys), l.Node, err)
		}
		if !some {
			// Something is out of reach; or it has spoken since, and either sends heartbeats again
			// or is found lost again.
			return turned, false, errors.Join(asked, err)
		}
	}
	return turned, true, nil
}

func (s *Service) forgetNode(ctx context.Context, l LostNode) error {
	if err := s.store.DropNode(ctx, l.Node, l.At); err != nil {
		return fmt.Errorf("forget node %q: %w", l.Node, err)
	}
	s.joined.drop(l.Node)
	return nil
}

// Erase forgets peers as if they had never been reported. After an error, which matches
// [ErrUnavailable] or [ErrFull], some may be forgotten.
func (s *Service) Erase(ctx context.Context, keys []Key, now Millis) error {
	err := s.update(ctx, keys, now, func(_ int, st *State) Effect {
		if st.Forgotten() {
			return Same
		}
		*st = State{Rev: st.Rev}
		return Shown
	})
	if err != nil {
		return fmt.Errorf("erase %d peers: %w", len(keys), err)
	}
	for _, k := range keys {
		s.trace.erase(k)
	}
	return nil
}
