package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/intake"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A product is one that can be asked. It is a kind of its own, whose answers the tests give.
type product struct {
	counted bool
	batch   int

	mu      sync.Mutex
	online  map[presence.PeerID][]webhook.FoundSession // nil: online, without a list
	answer  func(peers []presence.PeerID) (webhook.Answer, error)
	asked   map[presence.PeerID]int
	calls   int
	at      []time.Time
	waiting chan struct{} // calls wait until it is closed
}

func (p *product) Name() string                             { return "product" }
func (p *product) Defaults() webhook.Defaults               { return webhook.Defaults{Lease: 24 * time.Hour} }
func (p *product) Check(*webhook.Source) error              { return nil }
func (p *product) CheckAsk(*webhook.Source) error           { return nil }
func (p *product) Verify(*webhook.Call) error               { return nil }
func (p *product) Read(*webhook.Call, *webhook.Batch) error { return nil }

func (p *product) Reply(*webhook.Call, webhook.Outcome) webhook.Reply { return webhook.Reply{} }

func (p *product) Limits() webhook.Limits {
	return webhook.Limits{Peers: p.batch, Rate: 100, Counted: p.counted}
}

func (p *product) Sign(*webhook.Request, *webhook.Source, presence.Millis) error { return nil }

// Ask answers what is so, or what answer says.
func (p *product) Ask(ctx context.Context, _ *http.Client, _ *webhook.Source, peers []presence.PeerID) (webhook.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	p.at = append(p.at, time.Now())
	for _, id := range peers {
		p.asked[id]++
	}
	if p.waiting != nil {
		p.mu.Unlock()
		select {
		case <-p.waiting:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	if ctx.Err() != nil {
		return webhook.Answer{}, ctx.Err()
	}
	if p.answer != nil {
		return p.answer(peers)
	}
	return p.truth(peers), nil
}

func (p *product) truth(peers []presence.PeerID) webhook.Answer {
	a := webhook.Answer{At: presence.MillisOf(time.Now()), Peers: map[presence.PeerID]webhook.Found{}}
	for _, id := range peers {
		list, on := p.online[id]
		a.Peers[id] = webhook.Found{Online: on, Listed: on && list != nil, Sessions: list}
	}
	return a
}

// set changes what is so.
func (p *product) set(fn func(*product)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(p)
}

func (p *product) askedAbout(id presence.PeerID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[id]
}

func (p *product) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// A world is a node over a store in memory, and one product.
type world struct {
	t       testing.TB
	product *product
	service *presence.Service
	in      *intake.Intake
	reader  *ask.Reader
	runner  *reconcile.Runner
	source  webhook.Source
	trouble atomic.Value
	log     syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// damaged is a store that cannot read the peer of that name.
type damaged struct{ presence.Store }

func (d damaged) Loads(ctx context.Context, keys []presence.Key, out []presence.State) error {
	if err := d.Store.Loads(ctx, keys, out); err != nil {
		return err
	}
	for i, k := range keys {
		if k.Peer == "damaged" {
			out[i] = presence.State{}
			return &presence.PartError{Failed: []int{i}, Err: presence.ErrUnavailable}
		}
	}
	return nil
}

func now() presence.Millis { return presence.MillisOf(time.Now()) }

// open returns a world within a bubble of synctest. Nothing runs before start.
func open(t testing.TB, counted bool) *world {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, product: &product{counted: counted, batch: 100, online: map[presence.PeerID][]webhook.FoundSession{}, asked: map[presence.PeerID]int{}}}
	w.trouble.Store("")
	w.service = presence.NewService(damaged{st}, presence.DefaultConfig())
	w.in = intake.New(intake.DefaultConfig(), intake.Deps{Service: w.service, Now: now})
	w.reader = ask.New(ask.Deps{Rules: w.service, Store: st, Now: now})
	w.source = webhook.Source{
		App: "one", ID: "im", Kind: w.product, Lease: 24 * time.Hour,
		Reconcile: webhook.Reconcile{Every: time.Hour, Rate: 100, Lag: 10 * time.Second, Confirm: 15 * time.Second, Brake: 0.02, Auditor: w.product},
	}
	w.runner = reconcile.New(reconcile.Deps{
		Service: w.service, Ask: w.reader, Trouble: func() string { return w.trouble.Load().(string) }, Now: now,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	t.Cleanup(func() {
		w.runner.Stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) start() { w.runner.Replace([]webhook.Source{w.source}) }

// event has the source report of a peer, by a session unless the product names none.
func (w *world) event(id presence.PeerID, kind presence.Kind, cause presence.Cause) {
	w.t.Helper()
	from := w.source.Sender()
	e := intake.Event{Peer: id, Kind: kind, Cause: cause}
	if !w.product.counted {
		e.Session, e.At = "s", now()
	}
	if _, err := w.in.Take(w.t.Context(), &from, &e); err != nil {
		w.t.Fatal(err)
	}
}

// people has n peers come online, here and at the product.
func (w *world) people(n int) []presence.PeerID {
	w.t.Helper()
	var ids []presence.PeerID
	for i := range n {
		id := presence.PeerID(fmt.Sprintf("p%05d", i))
		ids = append(ids, id)
		w.event(id, presence.KindOnline, 0)
		w.product.set(func(p *product) { p.online[id] = w.sessions() })
	}
	return ids
}

func (w *world) sessions() []webhook.FoundSession {
	if w.product.counted {
		return nil
	}
	return []webhook.FoundSession{{ID: "s"}}
}

// gone has peers leave the product without an event.
func (w *world) gone(ids ...presence.PeerID) {
	w.product.set(func(p *product) {
		for _, id := range ids {
			delete(p.online, id)
		}
	})
}

func (w *world) status(id presence.PeerID) presence.Status {
	w.t.Helper()
	return w.state(id).Status
}

func (w *world) state(id presence.PeerID) *presence.State {
	w.t.Helper()
	var st presence.State
	if err := w.service.Load(w.t.Context(), presence.Key{App: "one", Peer: id}, &st); err != nil {
		w.t.Fatal(err)
	}
	return &st
}

// offline returns how many of ids are shown offline.
func (w *world) offline(ids []presence.PeerID) (n int) {
	w.t.Helper()
	for _, id := range ids {
		if w.status(id) == presence.Offline {
			n++
		}
	}
	return n
}

func (w *world) stats() reconcile.Stats {
	w.t.Helper()
	all := w.runner.Stats()
	if len(all) != 1 {
		w.t.Fatalf("%d sources", len(all))
	}
	return all[0]
}

// run does one run to its end.
func (w *world) run(o reconcile.Options) *reconcile.Run {
	w.t.Helper()
	run, err := w.runner.Begin("one", "im", o)
	if err != nil {
		w.t.Fatal(err)
	}
	for range 120_000 {
		if st := w.stats(); st.Run.ID == run.ID && st.Run.Ended != 0 {
			return st.Run
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatal("the run does not end")
	return nil
}

func (w *world) logged(line string) int { return strings.Count(w.log.String(), line) }

var errDown = errors.New("no route to the product")
