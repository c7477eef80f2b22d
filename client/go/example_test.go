package rollcall_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	rollcall "rollcall/client/go"
)

// A chat server reports that tom is connected; an app asks for tom's status and follows it.
func Example() {
	srv, err := start()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer srv.Stop(context.Background())
	defer cancel()

	url := "http://" + srv.Listen()
	chat, err := rollcall.New(rollcall.Config{URL: url, App: app, HookKey: hookKey})
	if err != nil {
		log.Fatal(err)
	}
	defer chat.Close()
	if _, err := chat.Report(ctx, rollcall.Event{Peer: "tom", State: "online", Session: "42"}); err != nil {
		log.Fatal(err)
	}

	c, err := rollcall.New(rollcall.Config{URL: url, App: app, Key: appKey})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	peers, err := c.Query(ctx, "tom", "ann")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range peers {
		fmt.Println(p.ID, p.Status)
	}
	err = c.Watch(ctx, []string{"tom"}, func(p rollcall.Peer) {
		fmt.Println("watch:", p.ID, p.Status)
		if p.Status == "offline" {
			cancel()
			return
		}
		if _, err := chat.Report(ctx, rollcall.Event{Peer: "tom", State: "offline", Session: "42", Why: "logout"}); err != nil {
			log.Print(err)
			cancel()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// tom online
	// ann unknown
	// watch: tom online
	// watch: tom offline
}

// A server asks when a user was last seen.
func ExampleClient_Ask() {
	c, err := rollcall.New(rollcall.Config{URL: "https://presence.example.com", App: "my-app", MasterKey: "…"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	a, err := c.Ask(context.Background(), rollcall.Question{Peers: []string{"tom"}, Fields: []string{"last_seen"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range a.Peers {
		fmt.Println(p.ID, p.Status, time.UnixMilli(p.LastSeen), "as of", p.Age, "ago")
	}
}

// An app keeps its user online for as long as it runs.
func ExampleClient_Present() {
	c, err := rollcall.New(rollcall.Config{URL: "https://presence.example.com", App: "my-app", Key: "…"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.Present(context.Background(), rollcall.Presence{Peer: "tom", Tag: "mobile"})
	var e *rollcall.Error
	if errors.As(err, &e) && e.Code == "replaced" {
		fmt.Println("another phone logged in")
	}
}

// A chat server reports a connection, and renews all of them with one heartbeat. See
// examples/chatserver-go.
func ExampleClient_Beat() {
	c, err := rollcall.New(rollcall.Config{URL: "https://presence.example.com", App: "my-app", HookKey: "…"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, node := context.Background(), fmt.Sprintf("chat-1@%d", time.Now().UnixMilli())
	if _, err := c.Beat(ctx, node, 15*time.Second); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Report(ctx, rollcall.Event{Peer: "tom", State: "online", Session: "42", Node: node}); err != nil {
		log.Fatal(err)
	}
}

// A server keeps a copy of who is online in the whole app.
func ExampleClient_Replicate() {
	c, err := rollcall.New(rollcall.Config{URL: "https://presence.example.com", App: "my-app", MasterKey: "…"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	online := map[string]bool{}
	err = c.Replicate(context.Background(), rollcall.Replica{
		Listed: func(ids []string) {
			clear(online)
			for _, id := range ids {
				online[id] = true
			}
		},
		Changed: func(p rollcall.Peer) {
			if delete(online, p.ID); p.Status == rollcall.Online {
				online[p.ID] = true
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}
