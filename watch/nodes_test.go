package watch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
	"rollcall/watch"
)

// Two nodes over one Redis: what one of them receives, the watchers of the other are notified of,
// and a token of one goes on at the other.
func TestTwoNodesOnRedis(t *testing.T) {
	r := redistest.Run(t)
	ctx := context.Background()
	var services [2]*presence.Service
	var hubs [2]*watch.Hub
	var clocks [2]func() presence.Millis
	for i := range hubs {
		cfg := redisstore.DefaultConfig()
		cfg.RecipeApp, cfg.Deadline = app, time.Minute // a busy machine is no outage
		st, err := redisstore.Open(ctx, cfg, redisstore.Deps{URL: "redis://" + r.Addr})
		if err != nil {
			t.Fatal(err)
		}
		services[i] = presence.NewService(st, presence.DefaultConfig())
		clocks[i] = st.Now
		hubs[i] = watch.New(watch.DefaultConfig(), watch.Deps{Service: services[i], Source: st, Now: st.Now, Tokens: testTokens()})
		t.Cleanup(func() {
			hubs[i].Close(watch.ReasonShutdown)
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	report := func(node int, kind presence.Kind, peer string) {
		t.Helper()
		now := clocks[node]()
		r := presence.Report{App: app, Peer: presence.PeerID(peer), Source: presence.SourceAPI, Session: "1", Kind: kind, At: now, Incarnation: now, Cause: presence.CauseLogout}
		if err := services[node].Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
	}
	received := func(w *watch.Watcher) (s string, token sealed) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, redistest.Patience)
		defer cancel()
		b, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s = b.Kind.String()
		for _, u := range b.Updates {
			s += fmt.Sprintf(" %s=%v", u.Peer, u.Status)
		}
		return s, b.Token
	}
	report(0, on, "tom")
	w, err := hubs[1].Watch(ctx, view, []presence.PeerID{"tom", "ann"}, presence.DetailFull, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(watch.ReasonGone)
	if got, _ := received(w); got != "snapshot tom=online ann=unknown" {
		t.Errorf("received %q", got)
	}
	report(0, on, "ann")
	got, token := received(w)
	// True, and sent again: the signal of tom's report came after the snapshot.
	if got == "change tom=online" {
		got, token = received(w)
	}
	if got != "change ann=online" {
		t.Errorf("received %q", got)
	}
	report(1, off, "tom")
	again, err := hubs[0].Watch(ctx, view, []presence.PeerID{"tom", "ann"}, presence.DetailFull, token.String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(watch.ReasonGone)
	got, _ = received(again)
	if got != "resume tom=offline ann=online" { // ann again: the horizon lags
		t.Errorf("at the other node: received %q", got)
	}
}
