package hookout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/lograte"
	"rollcall/internal/spool"
	"rollcall/internal/wake"
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

	mu        sync.Mutex
	queues    map[presence.Key][]*Event // of each peer, the first is being delivered
	waiting   int
	fresh     []*Event   // not in the journal yet
	delivered []spool.ID // not struck out yet
	unsafe    []*Event   // heads that may be sent once the journal has them
	ready     []*Event   // heads that the journal has
	pending   pending    // with a ledger

	ledger *Ledger // nil: nothing is on record

	unwritten wake.Signal // of write
	sendable  wake.Signal // of dispatch
	turns     chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	workers   sync.WaitGroup
	writer    sync.WaitGroup
	journal   *journal
	count     counters
	lines     struct{ failed, refused, dropped, unrecorded lograte.Line }
}

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
		cfg: cfg, ledger: deps.Ledger, base: strings.TrimSuffix(u.String(), "/"), keys: deps.Keys, log: deps.Log, queues: map[presence.Key][]*Event{},
		unwritten: wake.NewSignal(), sendable: wake.NewSignal(), turns: make(chan struct{}, cfg.Parallel),
		client: &http.Client{
			Timeout:       cfg.Timeout,
			Transport:     &http.Transport{MaxIdleConnsPerHost: cfg.Parallel, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, l := range []*lograte.Line{&s.lines.failed, &s.lines.refused, &s.lines.dropped, &s.lines.unrecorded} {
		l.Every = logEvery.Milliseconds()
	}
	if deps.Transport != nil {
		s.client.Transport = deps.Transport
	}
	var waiting []*Event
	if s.journal, waiting, err = openJournal(deps.Journal, deps.Log); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, e := range waiting {
		if e.found = deps.Ledger != nil && e.Node != ""; e.found {
			s.pending.found = append(s.pending.found, e)
			e.behind = !e.Online // its beginning may have been void
		}
		s.enqueue(e)
	}
	s.writer.Go(s.write)
	s.writer.Go(s.dispatch)
	s.pending.init()
	if deps.Ledger != nil {
		s.writer.Go(s.keepRecords)
	}
	s.unwritten.Wake()
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
	if s.waiting >= s.cfg.MaxQueue && !owed {
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
	s.fresh = append(s.fresh, &e)
	s.enqueue(&e)
	s.mu.Unlock()
	s.unwritten.Wake()
}

// enqueue puts e behind the other events of its peer. The first of a peer is sent once the journal
// has it.
func (s *Sender) enqueue(e *Event) {
	p := presence.Key{App: e.App, Peer: e.Peer}
	s.queues[p] = append(s.queues[p], e)
	s.waiting++
	if len(s.queues[p]) == 1 {
		s.unsafe = append(s.unsafe, e)
	}
}

// write keeps the journal and lets go what is in it, until the sender closes.
func (s *Sender) write() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.unwritten:
		}
		s.mu.Lock()
		heads := s.unsafe
		s.unsafe = nil
		s.mu.Unlock()
		s.keep()
		s.mu.Lock()
		for _, e := range heads {
			if s.ledger != nil && (e.Online || e.found) && !e.recorded {
				s.pending.held = append(s.pending.held, e)
				continue
			}
			s.ready = append(s.ready, e)
		}
		s.mu.Unlock()
		s.sendable.Wake()
	}
}

// dispatch starts the deliveries of what the journal has, as many at a time as may be under way.
func (s *Sender) dispatch() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.sendable:
		}
		s.mu.Lock()
		ready := s.ready
		s.ready = nil
		s.mu.Unlock()
		for _, e := range ready {
			select {
			case <-s.ctx.Done():
				return
			case s.turns <- struct{}{}:
			}
			s.workers.Go(func() { s.deliver(e) })
		}
	}
}

// keep writes the journal. Without it the hooks are delivered all the same; what could not be
// written is written with the next.
func (s *Sender) keep() {
	s.mu.Lock()
	fresh := slices.DeleteFunc(s.fresh, func(e *Event) bool { return e.over })
	delivered := s.delivered
	s.fresh, s.delivered = nil, nil
	s.mu.Unlock()
	ids, err := s.journal.write(fresh, delivered)
	s.mu.Lock()
	if err != nil {
		s.fresh, s.delivered = append(fresh, s.fresh...), append(delivered, s.delivered...)
	}
	for i, id := range ids {
		fresh[i].id = id
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Error("hook journal write failed; a restart may lose or repeat hooks", "err", err)
	}
}

// deliver sends e until it is over, and hands the turn to the next event of its peer.
func (s *Sender) deliver(e *Event) {
	if s.send(e) {
		<-s.turns
		s.next(e)
	}
}

// send calls the hook of e until it is over; it reports false, without the turn, when the sender
// closes before. Each call waits for what comes before it, and finds out whether it is still to be
// made: with a ledger another node may have taken this one for dead.
func (s *Sender) send(e *Event) bool {
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, time.Minute) {
		if s.ledger != nil && e.Session != "" && !e.void {
			due := s.due
			if e.Online || e.taken || e.behind {
				due = s.dueBehind
			}
			if !due(e) {
				return false
			}
		}
		if e.void || s.attempt(e) {
			return true
		}
		if !s.pause(wait) {
			return false
		}
	}
}

// pause gives up the turn for a while: a peer whose hook fails keeps its order, not its place among
// those that may be under way. It reports false, without the turn, when the sender closes before.
func (s *Sender) pause(d time.Duration) bool {
	<-s.turns
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-t.C:
	}
	select {
	case <-s.ctx.Done():
		return false
	case s.turns <- struct{}{}:
		return true
	}
}

// next strikes e out and has its successor sent.
func (s *Sender) next(e *Event) {
	p := presence.Key{App: e.App, Peer: e.Peer}
	s.mu.Lock()
	if e.over = true; e.id != 0 {
		s.delivered = append(s.delivered, e.id)
	}
	if s.ledger != nil && e.Session != "" {
		s.pending.end(e)
	}
	s.waiting--
	if q := s.queues[p][1:]; len(q) == 0 {
		delete(s.queues, p)
	} else {
		for _, o := range q {
			o.behind = o.behind || e.void && e.Online && !o.Online && o.ref() == e.ref()
		}
		s.queues[p] = q
		s.unsafe = append(s.unsafe, q[0])
	}
	s.mu.Unlock()
	s.unwritten.Wake()
}

// Stats returns the counts since the start.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	waiting, owed := s.waiting, len(s.pending.hooks)
	s.mu.Unlock()
	c := &s.count
	return Stats{
		Waiting: int64(waiting), Delivered: c.delivered.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(),
		Dropped: c.dropped.Load(), Expired: c.expired.Load(), Owed: int64(owed), TakenOver: c.takenOver.Load(),
	}
}

// Close lets what waits be delivered until ctx ends, and keeps the rest in the journal.
func (s *Sender) Close(ctx context.Context) error {
	for ctx.Err() == nil && s.Stats().Waiting > 0 && s.Stats().Failed == 0 {
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	s.cancel()
	s.writer.Wait()
	s.workers.Wait()
	s.keep()
	if s.ledger != nil {
		s.settleLast()
	}
	s.client.CloseIdleConnections()
	return s.journal.close()
}
