package redisstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/watch"
)

// TestAnEmptyRedisIsNoNews: Redis comes back empty while a node holds sockets. Until that node has
// reported all of them again every answer has an age, and watchers are notified of nothing.
func TestAnEmptyRedisIsNoNews(t *testing.T) {
	for name, empty := range map[string]func(t *testing.T, s *redistest.Server){
		"restarted": func(t *testing.T, s *redistest.Server) {
			s.Kill()
			if err := s.Start(); err != nil {
				t.Error(err)
			}
		},
		"flushed": func(t *testing.T, s *redistest.Server) { s.Do(t, "FLUSHALL") },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Run(t)
			cfg := config("redis://" + server.Addr)
			// only the sockets bring back what was lost
			cfg.Spool, cfg.Journal = t.TempDir(), time.Nanosecond
			n := startNode(t, cfg, "n")
			peers := numbered("socket", 300)
			assert := func() {
				reports := make([]presence.Report, len(peers))
				for i, p := range peers {
					reports[i] = n.socket(presence.KindOnline, p)
				}
				for n.report(reports...) != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
			assert()
			var holders sync.WaitGroup
			stop := n.st.OnReturn(func(_, _ presence.Millis) <-chan struct{} {
				done := make(chan struct{})
				holders.Go(func() {
					time.Sleep(time.Second) // a node may hold many
					assert()
					close(done)
				})
				return done
			})
			defer holders.Wait()
			defer stop()
			hub := watch.New(watch.DefaultConfig(), watch.Deps{Service: n.svc, Source: n.st, Now: n.st.Now})
			ids := make([]presence.PeerID, len(peers))
			for i, p := range peers {
				ids[i] = presence.PeerID(p)
			}
			n.see(patience, presence.Online, peers...)
			w, err := hub.Watch(t.Context(), ask.View{App: "app", Viewer: ask.Public}, ids, presence.DetailFull, "")
			if err != nil {
				t.Fatal(err)
			}
			var notified sync.WaitGroup
			ctx, cancel := context.WithCancel(context.Background())
			notified.Go(func() {
				for {
					b, err := w.Next(ctx)
					if err != nil {
						return
					}
					for _, u := range b.Updates {
						if u.Status != presence.Online {
							t.Errorf("a watcher is notified that %s is %v", u.Peer, u.Status)
							return
						}
					}
				}
			})
			empty(t, server)
			aged, begun := 0, time.Now()
			for {
				got, age, err := n.ask(peers...)
				switch {
				case err != nil, age > 0:
					aged++
				default:
					for i, st := range got {
						if st != presence.Online {
							t.Fatalf("%v after the fault %s is %v, without an age", time.Since(begun), peers[i], st)
						}
					}
				}
				if err == nil && age == 0 && aged > 0 {
					break
				}
				if time.Since(begun) > patience {
					t.Fatalf("the age never ends, or never began: %d answers had one", aged)
				}
			}
			t.Logf("%d answers had an age, for %v", aged, time.Since(begun))
			time.Sleep(2 * hub.Config().Tick)
			cancel()
			notified.Wait()
			hub.Close(watch.ReasonShutdown)
		})
	}
}
