package ask_test

import (
	"context"
	"fmt"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
)

func Example() {
	const start = presence.Millis(1_750_000_000_000)
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, start)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	rules := presence.NewService(store, presence.DefaultConfig())
	reader := ask.New(ask.Deps{Rules: rules, Store: store, Now: func() presence.Millis { return start }})

	ctx := context.Background()
	login := presence.Report{App: "shop", Peer: "tom", Source: presence.SourceAPI, Session: "s1", Kind: presence.KindOnline, At: start}
	if err := rules.Report(ctx, []presence.Report{login}, start, make([]presence.Outcome, 1)); err != nil {
		fmt.Println(err)
		return
	}

	view := ask.View{App: "shop", Viewer: ask.Public}
	answer, err := reader.Summaries(ctx, view, []presence.PeerID{"tom", "ann"}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	peers, age := answer.Read()
	for i := range peers {
		fmt.Printf("%s\n", ask.AppendPeer(nil, &peers[i], ask.Since))
	}
	fmt.Println("age", age)

	_, err = reader.Summaries(ctx, ask.View{}, []presence.PeerID{"tom"}, 0)
	fmt.Println(err)
	// Output:
	// {"peer":"tom","status":"online","since":1750000000000}
	// {"peer":"ann","status":"unknown"}
	// age 0s
	// question without a viewer: app "", viewer 0
}
