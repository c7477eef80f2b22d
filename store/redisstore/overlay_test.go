package redisstore_test

import (
	"context"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/watch"
)

// TestASecondSessionOutlivesALogoutInAnOutage: peers have two hook sessions, the second of which
// was reported to another node. One logs out while Redis is away: no answer without an age, and no
// update, says offline, then or later.
func TestASecondSessionOutlivesALogoutInAnOutage(t *testing.T) {
	server := redistest.Run(t)
	cfg := config("redis://" + server.Addr)
	cfg.Spool, cfg.Deadline = t.TempDir(), 250*time.Millisecond
	here, there := startNode(t, cfg, "here"), startNode(t, cfg2(cfg, t), "there")
	peers := numbered("two", 20)
	for _, n := range []*node{here, there} {
		for _, p := range peers {
			if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
				t.Fatal(err)
			}
		}
		here.see(patience, presence.Online, peers...) // and so it is in the near cache
	}
	hub := watch.New(watch.DefaultConfig(), watch.Deps{Service: here.svc, Source: here.st, Now: here.st.Now})
	defer hub.Close(watch.ReasonShutdown)
	ids := make([]presence.PeerID, len(peers))
	for i, p := range peers {
		ids[i] = presence.PeerID(p)
	}
	w, err := hub.Watch(t.Context(), ask.View{App: "app", Viewer: ask.Public}, ids, presence.DetailFull, "")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := w.Next(t.Context()); err != nil || len(b.Updates) != len(peers) {
		t.Fatalf("the snapshot has %d peers, %v", len(b.Updates), err)
	}
	server.Freeze()
	defer server.Thaw()
	for end := time.Now().Add(patience); here.st.Age() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the outage is not noticed")
		}
	}
	for _, p := range peers {
		if err := here.report(here.hook(presence.KindOffline, p)); err != nil {
			t.Fatal(err)
		}
	}
	got, age, err := here.ask(peers...)
	if err != nil || age == 0 {
		t.Fatalf("in the outage: age %v, %v", age, err)
	}
	for i, st := range got {
		if st != presence.Online {
			t.Errorf("%s is %v in the outage: what this node had of it was not whole", peers[i], st)
		}
	}
	server.Thaw()
	for waited := time.Now(); ; {
		got, age, err := here.ask(peers...)
		for i, st := range got {
			if err == nil && age == 0 && st != presence.Online {
				t.Fatalf("%s is %v, without an age", peers[i], st)
			}
		}
		if here.st.Ready() == nil && err == nil && age == 0 {
			break
		}
		if time.Since(waited) > patience {
			t.Fatal("it does not come back")
		}
	}
	for _, n := range []*node{here, there} {
		n.see(patience, presence.Online, peers...)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), time.Until(end))
		b, err := w.Next(ctx)
		cancel()
		if err != nil {
			break
		}
		for _, u := range b.Updates {
			if u.Status != presence.Online {
				t.Errorf("a watcher is notified that %s is %v", u.Peer, u.Status)
			}
		}
	}
	for _, p := range peers { // both sessions were counted, and one logout
		if err := there.report(there.hook(presence.KindOffline, p)); err != nil {
			t.Fatal(err)
		}
	}
	there.see(patience, presence.Offline, peers...)
	here.see(patience, presence.Offline, peers...)
}
