package hookout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/lograte"
	"rollcall/internal/outbox"
	"rollcall/presence"
)

// Keys are what a call shows of an app.
type Keys struct{ ID, Key, HookKey string }

// A Sender delivers events. It is made by [Open].
type Sender struct {
	cfg    Config
	base   string
	keys   func(presence.AppID) (Keys, bool)
	log    *slog.Logger
	client *http.Client
	box    *box
	ctx    context.Context // of the box

	mu      sync.Mutex // before that of the box
	pending pending    // with a ledger

	ledger  *Ledger // nil: nothing is on record
	records sync.WaitGroup
	count   counters
	lines   struct{ failed, refused, dropped, unrecorded lograte.Line }
}

type box = outbox.Box[presence.Key, Event]

const logEvery = time.Minute // between two lines of one kind

type counters struct{ delivered, failed, refused, dropped, expired, takenOver atomic.Int64 }

// Stats are the counts of a sender.
type Stats struct {
	Waiting   int64 `json:"waiting"`
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`     // calls that failed; each is made again
	Refused   int64 `json:"refused"`    // answered 4xx and not made again
	Dropped   int64 `json:"dropped"`    // because the queue was full
	Expired   int64 `json:"expired"`    // given up
	Owed      int64 `json:"owed"`       // sessions whose offline hook is to be sent
	TakenOver int64 `json:"taken_over"` // of these, from nodes that were lost, since the start
}

// Open starts a sender, with what the journal holds of an earlier run.
func Open(cfg Config, deps Deps) (*Sender, error) {
	if err := configload.Validate(&cfg); err != nil {
		return nil, fmt.Errorf("hook settings: %w", err)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || cfg.URL == "" {
		return nil, errors.New("hook settings: no url")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/1.1/functions"
	}
	s := &Sender{
		cfg: cfg, ledger: deps.Ledger, base: strings.TrimSuffix(u.String(), "/"), keys: deps.Keys, log: deps.Log,
		client: outbox.NewClient(cfg.Timeout, cfg.Parallel, deps.Transport),
	}
	for _, l := range []*lograte.Line{&s.lines.failed, &s.lines.refused, &s.lines.dropped, &s.lines.unrecorded} {
		l.Every = logEvery.Milliseconds()
	}
	journal, waiting, err := openJournal(deps.Journal, deps.Log)
	if err != nil {
		return nil, err
	}
	s.pending.init()
	for _, k := range waiting {
		e := k.Event
		if e.found = deps.Ledger != nil && e.Node != ""; e.found {
			s.pending.found = append(s.pending.found, e)
			e.behind = !e.Online // its beginning may have been void
		}
	}
	s.box = outbox.Open(outbox.Config{Parallel: cfg.Parallel}, door{s}, journal, waiting)
	s.ctx = s.box.Context()
	s.box.Start()
	if deps.Ledger != nil {
		s.records.Go(s.keepRecords)
	}
	return s, nil
}

// Add takes an event for delivery. It never waits. With a ledger the end of a session is taken if
// its beginning was.
func (s *Sender) Add(e Event) {
	s.mu.Lock()
	owed := false
	if s.ledger != nil && !e.Online {
		var t pendingHook
		if t, owed = s.pending.hooks[e.ref()]; !owed {
			s.mu.Unlock()
			return // nothing was sent of it
		}
		t.ending = true
		s.pending.hooks[e.ref()] = t
	}
	if s.box.Waiting() >= s.cfg.MaxQueue && !owed {
		s.mu.Unlock()
		s.count.dropped.Add(1)
		if more, due := s.lines.dropped.Due(time.Now().UnixMilli()); due {
			s.log.Warn("hook dropped: queue is full", "waiting", s.cfg.MaxQueue, "more", more)
		}
		return
	}
	e.Version = eventVersion
	if s.ledger != nil {
		e.Node = s.ledger.Node
		if e.Online {
			s.pending.begin(&e)
		}
	}
	s.box.Add(&e)
	s.mu.Unlock()
}

// A door makes hooks of the events in the box.
type door struct{ s *Sender }

// Key has the events of a peer follow one another.
func (door) Key(e *Event) presence.Key { return presence.Key{App: e.App, Peer: e.Peer} }

// Encode writes e as JSON.
func (door) Encode(e *Event) ([]byte, error) { return json.Marshal(e) }

// Ready has the beginnings of sessions wait until the ledger has them.
func (d door) Ready(e *Event) bool {
	s := d.s
	if s.ledger == nil || !e.Online && !e.found {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.recorded {
		s.pending.held = append(s.pending.held, e)
	}
	return e.recorded
}

// Unkept logs that a restart will not find what waits.
func (d door) Unkept(err error) {
	d.s.log.Error("hook journal write failed; a restart may lose or repeat hooks", "err", err)
}

// Send calls the hook of an event until it is over. Each call waits for what comes before it, and
// finds out whether it is still to be made: with a ledger another node may have taken this one for
// dead.
func (d door) Send(t *outbox.Turn, batch []*Event) bool {
	s, e := d.s, batch[0]
	return t.Retry(func() outbox.Progress {
		if s.ledger != nil && e.Session != "" && !e.void {
			due := s.due
			if e.Online || e.taken || e.behind {
				due = s.dueBehind
			}
			if !due(t, e) {
				return outbox.Closed
			}
		}
		if e.void {
			return outbox.Over
		}
		return s.attempt(e)
	})
}

// Done takes note of what an event leaves to be done.
func (d door) Done(batch []*Event, remove func()) {
	s, e := d.s, batch[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	remove()
	if s.ledger == nil || e.Session == "" {
		return
	}
	s.pending.end(e)
	if !e.void || !e.Online {
		return
	}
	for _, o := range s.box.Queue(d.Key(e)) {
		o.behind = o.behind || !o.Online && o.ref() == e.ref()
	}
}

// Stats returns the counts since the start.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	waiting, owed := s.box.Waiting(), len(s.pending.hooks)
	s.mu.Unlock()
	c := &s.count
	return Stats{
		Waiting: int64(waiting), Delivered: c.delivered.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(),
		Dropped: c.dropped.Load(), Expired: c.expired.Load(), Owed: int64(owed), TakenOver: c.takenOver.Load(),
	}
}

// Close lets what waits be delivered until ctx ends, and keeps the rest in the journal.
func (s *Sender) Close(ctx context.Context) error {
	err := s.box.Close(ctx, func() bool { return s.count.failed.Load() == 0 })
	s.records.Wait()
	if s.ledger != nil {
		s.settleLast()
	}
	s.client.CloseIdleConnections()
	return err
}
