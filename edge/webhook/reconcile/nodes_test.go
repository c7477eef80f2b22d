package reconcile_test

import (
	"log/slog"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/intake"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// node returns a node on Redis, whose product has everybody online.
func node(t *testing.T, addr string) *world {
	t.Helper()
	cfg := redisstore.DefaultConfig()
	cfg.Deadline = 10 * time.Second
	st, err := redisstore.Open(t.Context(), cfg, redisstore.Deps{URL: "redis://" + addr, Rules: presence.DefaultRules(), Apps: []presence.AppID{"one"}})
	if err != nil {
		t.Fatal(err)
	}
	settings := presence.DefaultConfig()
	settings.Grace = 0
	w := &world{t: t, product: &product{batch: 10, online: map[presence.PeerID][]webhook.FoundSession{}, asked: map[presence.PeerID]int{}}}
	w.service = presence.NewService(st, settings)
	w.in = intake.New(intake.DefaultConfig(), intake.Deps{Service: w.service, Now: now})
	w.reader = ask.New(ask.Deps{Rules: w.service, Store: st, Now: now})
	w.source = webhook.Source{
		App: "one", ID: "im", Kind: w.product, Lease: 24 * time.Hour,
		Reconcile: webhook.Reconcile{Every: time.Hour, Rate: 1000, Lag: time.Second, Confirm: time.Second, Brake: 0.02, Auditor: w.product},
	}
	w.runner = reconcile.New(reconcile.Deps{
		Service: w.service, Ask: w.reader, Trouble: func() string { return "" }, Now: now, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.runner.Hasten()
	t.Cleanup(func() {
		w.runner.Stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// Of two nodes on one Redis one asks; when it ends the other takes over; while Redis is away none
// asks, whatever an operator wants.
func TestTwoNodesNeverAskTwice(t *testing.T) {
	redis := redistest.Run(t)
	a, b := node(t, redis.Addr), node(t, redis.Addr)
	ids := a.people(50)
	b.product.set(func(p *product) { p.online = a.product.online })
	a.start()
	b.start()
	until(t, "one asks about all", func() bool { return a.product.called()+b.product.called() >= 5 })
	time.Sleep(time.Second) // the other has tried to take the claim
	if a.stats().Asks == b.stats().Asks {
		t.Fatalf("a asks: %v, b asks: %v", a.stats().Asks, b.stats().Asks)
	}
	if !a.stats().Asks {
		a, b = b, a
	}
	for _, id := range ids {
		if a.product.askedAbout(id) != 1 || b.product.askedAbout(id) != 0 {
			t.Fatalf("%s: asked about %d and %d times", id, a.product.askedAbout(id), b.product.askedAbout(id))
		}
	}
	a.runner.Stop()
	until(t, "the other takes over", func() bool { return b.product.askedAbout(ids[49]) == 1 && b.stats().Asks })
	if a.product.called() != 5 {
		t.Error("the node that ended went on")
	}

	until(t, "its round ends", func() bool { return b.stats().Full != 0 })
	redis.Kill()
	until(t, "Redis is away", func() bool { return b.service.Age() > 0 })
	calls := b.product.called()
	if run := b.run(reconcile.Options{}); run.Error == "" {
		t.Error("a run goes on without Redis")
	}
	until(t, "the claim is given up", func() bool { return !b.stats().Asks })
	if n := b.product.called(); n != calls {
		t.Errorf("%d calls while Redis is away", n-calls)
	}
}

// A run that has ended keeps no other node from beginning one.
func TestARunThatEndedLeavesItsClaim(t *testing.T) {
	redis := redistest.Run(t)
	a, b := node(t, redis.Addr), node(t, redis.Addr)
	ids := a.people(5)
	b.product.set(func(p *product) { p.online = a.product.online })
	a.runner.ClaimFor(time.Hour)
	a.start()
	b.start()
	if run := a.run(reconcile.Options{Peers: ids}); run.Error != "" {
		t.Fatal(run.Error)
	}
	until(t, "the other node runs", func() bool { return b.run(reconcile.Options{Peers: ids}).Error == "" })
}
