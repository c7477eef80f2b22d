package watch_test

import (
	"context"
	"fmt"
	"log"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

// A door follows a peer for its client: first a snapshot, then each change.
func Example() {
	store, err := embedded.Open(embedded.DefaultConfig(), embedded.Deps{}, now())
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	service := presence.NewService(store, presence.DefaultConfig())
	hub := watch.New(watch.DefaultConfig(), watch.Deps{Service: service, Source: store})
	defer hub.Close(watch.ReasonShutdown)

	ctx := context.Background()
	w, err := hub.Watch(ctx, ask.View{App: "chat", Viewer: ask.Public}, []presence.PeerID{"tom"}, presence.DetailFull, "")
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close(watch.ReasonGone)
	next := func() {
		b, err := w.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, u := range b.Updates {
			fmt.Println(b.Kind, u.Peer, u.Status)
		}
	}
	next()
	report := presence.Report{
		App: "chat", Peer: "tom", Source: presence.SourceAPI, Session: "phone", Kind: presence.KindOnline, At: now(),
	}
	if err := service.Report(ctx, []presence.Report{report}, now(), make([]presence.Outcome, 1)); err != nil {
		log.Fatal(err)
	}
	next()
	// Output:
	// snapshot tom unknown
	// change tom online
}
