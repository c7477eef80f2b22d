package presence_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// A phone reports itself with a lease. The peer is online until the lease ends, and a sweep settles
// that. Time is an argument of every call.
func Example() {
	now := presence.MillisOf(time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC))
	store, err := embedded.Open(embedded.DefaultConfig(), embedded.Deps{}, now)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	service := presence.NewService(store, presence.DefaultConfig())

	ctx := context.Background()
	report := presence.Report{
		App: "chat", Peer: "tom", Source: presence.SourceAPI, Session: "phone",
		Kind: presence.KindOnline, At: now, Lease: time.Minute,
	}
	if err := service.Report(ctx, []presence.Report{report}, now, make([]presence.Outcome, 1)); err != nil {
		log.Fatal(err)
	}
	for _, after := range []time.Duration{0, 59 * time.Second, time.Minute} {
		out := make([]presence.Status, 2)
		if _, err := store.Statuses(ctx, "chat", [][]byte{[]byte("tom"), []byte("ann")}, service.Leases(now.Add(after)), out); err != nil {
			log.Fatal(err)
		}
		fmt.Println(after, out)
	}
	turned, err := service.Sweep(ctx, now.Add(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("turned offline:", turned)
	// Output:
	// 0s [online unknown]
	// 59s [online unknown]
	// 1m0s [offline unknown]
	// turned offline: 1
}
