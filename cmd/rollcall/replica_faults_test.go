//go:build faults

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rollcall "rollcall/client/go"

	"rollcall/internal/redistest"
)

// TestFaultAnOutageIsNoOfflineInAReplica: while Redis is frozen, for longer than the leases
// last, a replica is given the age of the outage and no offline; afterwards it lists again, and all
// are there.
func TestFaultAnOutageIsNoOfflineInAReplica(t *testing.T) {
	redis := redistest.Run(t)
	p := serveWith(t, t.TempDir(), "redis://"+redis.Addr, "--set", "presence.grace=1m")
	var mu sync.Mutex
	var said []string
	say := func(text string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(text, args...))
	}
	await := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			found := slices.Contains(said, want)
			mu.Unlock()
			if found {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the replica was never given %q, only %q", want, said)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		err := p.client.Replicate(ctx, rollcall.Replica{
			Listed: func(online []string) {
				slices.Sort(online)
				say("list %s", strings.Join(online, " "))
			},
			Changed: func(p rollcall.Peer) { say("%s %s", p.ID, p.Status) },
			Aged:    func(age time.Duration) { say("stale %v", age > 0) },
		})
		if err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	await("list ")
	peers := []string{"ann", "bob", "cat"}
	for _, peer := range peers {
		if _, err := p.client.Report(t.Context(), rollcall.Event{Peer: peer, Session: "1", State: "online", TTL: 8}); err != nil {
			t.Fatal(err)
		}
		await(peer + " online")
	}
	redis.Freeze()
	await("stale true")
	time.Sleep(12 * time.Second)
	redis.Thaw()
	await("stale false")
	await("list " + strings.Join(peers, " "))
	mu.Lock()
	defer mu.Unlock()
	for _, text := range said {
		if strings.HasSuffix(text, "offline") || strings.HasSuffix(text, "unknown") {
			t.Errorf("the replica was given %q", said)
			break
		}
	}
}
