//go:build faults

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/presence"
)

// present keeps a peer online at a node by a socket, until the test ends.
func present(t *testing.T, m *member, peer presence.PeerID) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(m.address(), "http")+"/v1/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`{"op":"hello","app":"trial","key":"an-app-key-to-try-things"}`, fmt.Sprintf(`{"op":"present","id":1,"peer":%q}`, peer)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, _, err := c.Read(ctx); err != nil { // pings are answered while it reads
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = c.CloseNow()
		reading.Wait()
	})
}

// TestFaultAnEmptyRedisIsNoNewsOfSockets: Redis comes back empty while each of three nodes holds
// sockets. No node answers, and no watcher is notified, that one of their peers is unknown or
// offline, unless the answer has an age.
func TestFaultAnEmptyRedisIsNoNewsOfSockets(t *testing.T) {
	redis := alone(t)
	w := newWorld(t, redis)
	var peers []presence.PeerID
	for i := range 90 {
		p := presence.PeerID(fmt.Sprint("p", i))
		peers = append(peers, p)
		present(t, w.nodes[i%len(w.nodes)], p)
	}
	wrong := func(m *member) (presence.PeerID, bool, error) {
		got, err := m.ask(peers)
		for i, st := range got {
			if st != presence.Online {
				return peers[i], true, nil
			}
		}
		return "", false, err
	}
	all := func() {
		t.Helper()
		for _, m := range w.nodes {
			for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
				_, bad, err := wrong(m)
				if err == nil && !bad {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("not all are online: %v", err)
				}
			}
		}
	}
	all()
	var mu sync.Mutex
	for _, m := range w.nodes {
		s := m.watch(peers, func(p presence.PeerID, status string) {
			mu.Lock()
			defer mu.Unlock()
			if status != "online" {
				t.Errorf("a watcher at %s is notified that %s is %s", m.address(), p, status)
			}
		})
		defer func() {
			s.stop()
			s.done.Wait()
		}()
	}
	aged := 0
	for round := 0; round < 3 || aged == 0; round++ {
		if round == 30 {
			t.Fatal("no answer had an age: the fault did not take hold")
		}
		time.Sleep(time.Second)
		redis.lose()
		redis.start()
		for begun := time.Now(); time.Since(begun) < 5*time.Second; {
			for i, m := range w.nodes {
				p, bad, err := wrong(m)
				if bad {
					t.Fatalf("node %d answers that %s is not online %v after Redis came back, without an age", i, p, time.Since(begun))
				}
				if err != nil {
					aged++
				}
			}
		}
		all()
	}
}
