package changeout

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/feed"
	"rollcall/internal/lograte"
	"rollcall/internal/outbox"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// A receiver is what the sender knows of one server that changes are posted to.
type receiver struct {
	App      presence.AppID
	ID       string
	settings atomic.Pointer[Receiver]
	client   *http.Client
	sends    atomic.Bool // this node sends to it
	taken    wake.Signal // something was

	ctx    context.Context // of what reads for it
	cancel context.CancelFunc
	loop   sync.WaitGroup
	runs   bool // guarded by the sender

	mu      sync.Mutex // before that of the box
	term    string
	found   *Event // the last that the journal of an earlier run has
	waits   *Event // the first of the queue, until this node sends
	read    feed.Cursor
	sent    feed.Cursor // up to where everything is taken
	walking bool        // what a walk found is not all in the queue; sent stays
	kept    feed.Cursor // sent, as the store has it
	keptAt  time.Time
	moved   bool            // something was taken since
	bytes   int             // in the queue
	failing presence.Millis // since when calls fail; 0 when the last did not

	count counters
	lines struct{ failed, refused, again, reading lograte.Line }
}

type counters struct{ delivered, calls, failed, refused, lost, again atomic.Int64 }

const (
	logEvery = time.Minute // between two lines of one kind
	keepIdle = time.Minute // how often the cursor is kept while nothing changes
)

func (s *Sender) newReceiver(cfg Receiver) *receiver {
	r := &receiver{App: cfg.App, ID: cfg.ID, taken: wake.NewSignal(), client: outbox.NewClient(0, 1, s.deps.Transport)}
	r.settings.Store(&cfg)
	r.ctx, r.cancel = context.WithCancel(s.ctx)
	for _, l := range []*lograte.Line{&r.lines.failed, &r.lines.refused, &r.lines.again, &r.lines.reading} {
		l.Every = logEvery.Milliseconds()
	}
	return r
}

// start begins to send to r. The caller holds the sender's mu, as that of stop does.
func (r *receiver) start(s *Sender) {
	if !r.runs {
		r.runs = true
		r.loop.Go(func() { s.run(r) })
	}
}

// stop ends what reads for r, and waits for it.
func (r *receiver) stop() {
	r.cancel()
	r.loop.Wait()
}

// journaled takes note of an event of an earlier run.
func (r *receiver) journaled(e *Event) {
	r.found = e
	r.bytes += e.size()
}

// begin makes this node the sender to r, which goes on after c. It returns from where changes are
// to be read.
func (s *Sender) begin(r *receiver, c cursor) (from feed.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.found
	r.found = nil
	if found != nil && found.Term != c.term { // another node has sent since
		s.drop(r)
		found = nil
	}
	r.term, r.read, r.sent, r.kept, r.walking, r.moved = c.term, c.at, c.at, c.at, false, false
	if found != nil {
		if at, err := feed.ParseCursor(found.Cursor); err == nil {
			r.read = at
		}
	}
	r.sends.Store(true)
	if e := r.waits; e != nil {
		r.waits = nil
		s.box.Release(e)
	}
	return r.read
}

// end has this node send no more to r. What waits is for its successor to find.
func (s *Sender) end(r *receiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends.Store(false)
	s.drop(r)
	if r.failing = 0; r.waits != nil {
		s.box.Release(r.waits) // to find that it was dropped
		r.waits = nil
	}
}

// drop forgets what waits for r and returns how many changes that are. r.mu is held.
func (s *Sender) drop(r *receiver) (lost int) {
	for _, e := range s.box.Drop(r.ID) {
		e.dropped = true
		if e.Change != nil {
			lost++
		}
		lost += e.Lost
	}
	r.bytes = 0
	return lost
}

// add queues changes, which are all up to next. It reports false when r must list again, because
// more waits than may.
func (s *Sender) add(r *receiver, changes []feed.Change, next feed.Cursor) (fits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.deps.Now()
	var events []*Event
	settings := r.settings.Load()
	for i := range changes {
		if c := &changes[i]; settings.wants(c) {
			events = append(events, eventOf(r, c, now))
		}
	}
	before := r.read.String()
	r.read = next
	for i, e := range events {
		if e.Cursor = before; i == len(events)-1 {
			e.Cursor = next.String()
		}
		r.bytes += e.size()
	}
	s.box.Add(events...)
	if r.bytes > r.settings.Load().MaxBytes {
		s.listAgain(r, tooMuch)
		return false
	}
	return true
}

// listAgain puts the word that r must list again in the place of all that waits for it. r.mu is
// held.
func (s *Sender) listAgain(r *receiver, why reason) {
	lost := s.drop(r)
	e := &Event{r: r, Version: eventVersion, Receiver: r.ID, Term: r.term, Cursor: r.read.String(), At: s.deps.Now(), Why: why, Lost: lost}
	r.bytes = e.size()
	s.box.Add(e)
	r.count.lost.Add(int64(lost))
	if why == first {
		return
	}
	if more, due := r.lines.again.Due(time.Now().UnixMilli()); due {
		s.deps.Log.Warn("receiver of changes must list again", "receiver", r.ID, "why", string(why), "lost", lost, "more", more)
	}
}

// keepCursor keeps in the store how far r is: at once when something was taken, and now and then
// while nothing changes, so that a walk does not have to go far back.
func (s *Sender) keepCursor(ctx context.Context, r *receiver) error {
	r.mu.Lock()
	if _, n := s.box.First(r.ID); n == 0 && !r.walking {
		r.sent = r.read
	}
	c := cursor{r.term, r.sent}
	due := r.sent != r.kept && (r.moved || time.Since(r.keptAt) >= keepIdle)
	if due {
		r.moved = false
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	err := s.save(ctx, r, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.moved = true
		return err
	}
	r.kept, r.keptAt = c.at, time.Now()
	return nil
}

// Counts returns the counts of s by their names in the status and in metrics: APP/RECEIVER/NAME.
func (s *Sender) Counts() map[string]int64 {
	all := map[string]int64{}
	now := s.deps.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receivers {
		r.mu.Lock()
		head, waiting := s.box.First(r.ID)
		oldest, failing := now, cmp.Or(r.failing, now)
		if head != nil {
			oldest = head.At
		}
		bytes := r.bytes
		r.mu.Unlock()
		sends := int64(0)
		if r.sends.Load() {
			sends = 1
		}
		c := &r.count
		for name, n := range map[string]int64{
			"waiting": int64(waiting), "waiting_bytes": int64(bytes), "waiting_seconds": int64(now.Sub(oldest) / time.Second),
			"failing_seconds": int64(now.Sub(failing) / time.Second), "sends": sends,
			"delivered": c.delivered.Load(), "calls": c.calls.Load(), "failed": c.failed.Load(), "refused": c.refused.Load(),
			"lost": c.lost.Load(), "list_again": c.again.Load(),
		} {
			all[string(r.App)+"/"+r.ID+"/"+name] = n
		}
	}
	return all
}
