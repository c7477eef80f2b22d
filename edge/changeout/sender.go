package changeout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"rollcall/internal/lograte"
	"rollcall/internal/outbox"
	"rollcall/internal/spool"
)

// maxBatch is how many changes one call holds at most.
const maxBatch = 500

// A Sender posts changes to its receivers. It is made by [Open].
type Sender struct {
	deps      Deps
	receivers map[string]*receiver
	box       *outbox.Box[string, Event]
	ctx       context.Context
	cancel    context.CancelFunc
	loops     sync.WaitGroup
	unkept    lograte.Line
}

// Open starts a sender to receivers, whose ids differ.
func Open(receivers []Receiver, deps Deps) (*Sender, error) {
	s := &Sender{deps: deps, receivers: map[string]*receiver{}}
	s.unkept.Every = logEvery.Milliseconds()
	for _, r := range receivers {
		s.receivers[r.ID] = newReceiver(r, deps.Transport)
		deps.Feed.Keep(r.App) // so that this node can take over without a walk
	}
	journal, found, err := s.openJournal()
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.box = outbox.Open(outbox.Config{Parallel: len(receivers), Batch: maxBatch}, door{s}, journal, found)
	s.box.Start()
	for _, r := range s.receivers {
		s.loops.Go(func() { s.run(r) })
	}
	return s, nil
}

// openJournal opens the journal and returns what waits in it. What is for receivers that are no
// more is struck out.
func (s *Sender) openJournal() (*spool.Spool, []outbox.Kept[Event], error) {
	if s.deps.Journal == "" {
		return nil, nil, nil
	}
	q, err := spool.Open(s.deps.Journal, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read the changes journal: %w", err)
	}
	if n := q.Lost(); n > 0 {
		s.deps.Log.Warn("changes journal had a torn end", "bytes", n, "journal", s.deps.Journal)
	}
	all, later, err := outbox.Waiting(q, func(data []byte) (*Event, bool) {
		e := &Event{}
		return e, json.Unmarshal(data, e) == nil && e.known()
	})
	var found []outbox.Kept[Event]
	var void []spool.ID
	for _, k := range all {
		if r := s.receivers[k.Event.Receiver]; r != nil {
			r.journaled(k.Event)
			found = append(found, k)
		} else {
			void = append(void, k.ID)
		}
	}
	if err == nil {
		err = q.Ack(void...)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the changes journal: %w", errors.Join(err, q.Close()))
	}
	if later > 0 {
		s.deps.Log.Warn("changes wait for a later release", "changes", later, "journal", s.deps.Journal)
	}
	return q, found, nil
}

// Close lets what waits be taken until ctx ends, unless a receiver fails, and keeps the rest in the
// journal.
func (s *Sender) Close(ctx context.Context) error {
	s.stop()
	err := s.box.Close(ctx, s.healthy)
	for _, r := range s.receivers {
		s.leave(r)
		r.client.CloseIdleConnections()
	}
	return err
}

// stop ends the reading.
func (s *Sender) stop() {
	s.cancel()
	s.loops.Wait()
}

// healthy reports whether no receiver fails.
func (s *Sender) healthy() bool {
	for _, r := range s.receivers {
		r.mu.Lock()
		failing := r.failing
		r.mu.Unlock()
		if _, waiting := s.box.First(r.ID); failing != 0 || waiting > 0 && !r.sends.Load() {
			return false
		}
	}
	return true
}

// leave keeps how far r is, and lets another node take it over at once.
func (s *Sender) leave(r *receiver) {
	if !r.sends.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.keepCursor(ctx, r); err == nil {
		s.deps.Service.Claim(ctx, claimOf(r), time.Second)
	}
}

// newTerm returns the name of a term.
func newTerm() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// claimOf returns the name of the work of sending to r.
func claimOf(r *receiver) string { return "changes:" + string(r.App) + ":" + r.ID }
