package redisstore

import (
	"context"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestALinkThatProvedNothingVouchesForNothing: after a sleep of this process, and until its links
// have proven themselves, Redis is asked and the near cache is not.
func TestALinkThatProvedNothingVouchesForNothing(t *testing.T) {
	server := redistest.Run(t)
	cfg := At("redis://" + server.Addr)
	cfg.RecipeApp, cfg.Deadline = "app", 30*time.Second
	s, err := cfg.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	svc := presence.NewService(s, presence.DefaultConfig())
	report := presence.Report{App: "app", Peer: "tom", Source: presence.SourceAPI, Session: "1", Kind: presence.KindOnline, At: s.conn.Now()}
	if err := svc.Report(context.Background(), []presence.Report{report}, s.conn.Now(), make([]presence.Outcome, 1)); err != nil {
		t.Fatal(err)
	}
	// asked returns how many of three queries went to Redis.
	asked := func() (n int64) {
		was := s.stats.reads.Load()
		for range 3 {
			var out [1]presence.Status
			if age, err := s.Statuses(context.Background(), "app", [][]byte{[]byte("tom")}, s.conn.Now(), out[:]); err != nil || age != 0 || out[0] != presence.Online {
				t.Errorf("tom is %v, age %v, %v", out[0], age, err)
			}
			var sum [1]presence.Summary
			if age, err := s.Summaries(context.Background(), []presence.Key{{App: "app", Peer: "tom"}}, sum[:]); err != nil || age != 0 || sum[0].Status != presence.Online {
				t.Errorf("the summary of tom is %+v, age %v, %v", sum[0], age, err)
			}
		}
		return s.stats.reads.Load() - was
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	awake := func() bool { return s.conn.ProvenFor(1500 * time.Millisecond) }
	await("the link does not prove itself", awake)
	asked()
	if n := asked(); n > 3 { // a summary of an online peer is always read
		t.Errorf("%d reads with the peer in the cache", n)
	}
	// As a process that has slept finds things: the last proof is old, and the next is still to
	// come.
	s.conn.Slept(10 * time.Second)
	if n := asked(); n < 5 && s.conn.Unproven() {
		t.Errorf("%d reads right after a sleep", n)
	}
	await("the link does not prove itself after the sleep", awake)
	asked()
	if n := asked(); n > 3 {
		t.Errorf("%d reads when the link is proven again", n)
	}
}

// TestAnEmptiedRedisIsNoticedByTheAnswer: what is read from a Redis that was emptied has an age,
// also when the link that says so is late, and when the doubt has ended before the answer goes out.
func TestAnEmptiedRedisIsNoticedByTheAnswer(t *testing.T) {
	for name, ask := range map[string]func(s *Store, now presence.Millis) (time.Duration, error){
		"statuses": func(s *Store, now presence.Millis) (time.Duration, error) {
			return s.Statuses(t.Context(), "app", [][]byte{[]byte("tom")}, now, make([]presence.Status, 1))
		},
		"summaries": func(s *Store, _ presence.Millis) (time.Duration, error) {
			return s.Summaries(t.Context(), []presence.Key{{App: "app", Peer: "tom"}}, make([]presence.Summary, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Run(t)
			cfg := At("redis://" + server.Addr)
			cfg.RecipeApp, cfg.Deadline = "app", 30*time.Second
			s, err := cfg.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// No signal is sent of the epoch, so the link has nothing to say.
			server.Do(t, "DEL", s.keys.epoch())
			begun := s.conn.Millis()
			if age, err := ask(s, s.Now()); err == nil && age == 0 {
				t.Error("an answer without an age after the data is gone")
			}
			for end := time.Now().Add(redistest.Patience); s.outage.doubtAge() > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the doubt never ends")
				}
			}
			peers := [][]byte{[]byte("tom")}
			if age := s.outage.readAge("app", peers, []int{0}, begun); age == 0 {
				t.Error("no age for keys that were read before the doubt ended")
			}
			time.Sleep(2 * time.Millisecond)
			if age := s.outage.readAge("app", peers, []int{0}, s.conn.Millis()); age != 0 {
				t.Errorf("age %v for keys that were read after it", age)
			}
		})
	}
}
