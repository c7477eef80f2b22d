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

// maxCalls is how many calls may be under way, each to another receiver.
const maxCalls = 256

// A Sender posts changes to its receivers. It is made by [Open].
type Sender struct {
	deps   Deps
	box    *outbox.Box[string, Event] // nil until there is a receiver
	ctx    context.Context
	cancel context.CancelFunc
	unkept lograte.Line

	mu        sync.Mutex // before those of receivers
	receivers map[string]*receiver
}

// Open starts a sender to receivers, whose ids differ. Without any it touches nothing.
func Open(receivers []Receiver, deps Deps) (*Sender, error) {
	s := &Sender{deps: deps, receivers: map[string]*receiver{}}
	s.unkept.Every = logEvery.Milliseconds()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.Prepare(receivers); err != nil {
		return nil, err
	}
	s.Replace(receivers)
	return s, nil
}

// Prepare does what [Sender.Replace] needs and may fail: it opens the journal for the first
// receivers.
func (s *Sender) Prepare(receivers []Receiver) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box != nil || len(receivers) == 0 || s.ctx.Err() != nil {
		return nil
	}
	for _, r := range receivers {
		s.receivers[r.ID] = s.newReceiver(r)
	}
	journal, found, err := s.openJournal()
	if err != nil {
		clear(s.receivers)
		return err
	}
	s.box = outbox.Open(outbox.Config{Parallel: maxCalls, Batch: maxBatch}, door{s}, journal, found)
	s.box.Start()
	return nil
}

// Replace has the sender send to receivers and to no others, which must be prepared. One that it
// sends to goes on where it is, with the settings that it has now.
func (s *Sender) Replace(receivers []Receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return // closed
	}
	named := map[string]Receiver{}
	for _, r := range receivers {
		named[r.ID] = r
	}
	for id, r := range s.receivers {
		if now, ok := named[id]; !ok || now.App != r.App {
			r.stop()
			s.end(r)
			delete(s.receivers, id)
		}
	}
	for _, now := range receivers {
		r := s.receivers[now.ID]
		if r == nil {
			r = s.newReceiver(now)
			s.receivers[now.ID] = r
		}
		r.settings.Store(&now)
		s.deps.Feed.Keep(now.App) // so that this node can take over without a walk
		r.start(s)
	}
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
			k.Event.r = r
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box == nil {
		return nil
	}
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receivers {
		r.stop()
	}
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
