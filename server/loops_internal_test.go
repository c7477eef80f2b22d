package server

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"rollcall/edge/operator"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A process that was stopped for longer than leases last ends none of them when it wakes: nobody could renew them. Beside a
// store that other nodes write to they could.
func TestASweepNoticesThatTheProcessStoodStill(t *testing.T) {
	for _, shared := range []bool{false, true} {
		now := presence.MillisOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		st, err := embedded.Open(embedded.Config{}, now)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		cfg := presence.DefaultConfig()
		s := &Server{
			clock: NewClock().By(func() presence.Millis { return now }), log: slog.New(slog.DiscardHandler),
			store: &openedStore{Store: st, shared: shared}, presence: presence.NewService(st, cfg),
		}
		s.metrics = operator.NewMetrics()
		sweep := s.sweep()
		on := presence.Report{App: "a", Peer: "tom", Source: presence.SourceAPI, Session: "x", Kind: presence.KindOnline, At: now, Lease: 20 * time.Second}
		if err := s.presence.Report(t.Context(), []presence.Report{on}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
		is := func() presence.Status {
			out := make([]presence.Status, 1)
			if _, err := st.Statuses(context.Background(), "a", [][]byte{[]byte("tom")}, s.presence.Leases(now), out); err != nil {
				t.Fatal(err)
			}
			return out[0]
		}
		for range 10 {
			now = now.Add(time.Second)
			sweep(t.Context())
		}
		now = now.Add(time.Minute)
		sweep(t.Context())
		if want := map[bool]presence.Status{true: presence.Offline, false: presence.Online}[shared]; is() != want {
			t.Errorf("shared %t: %v after the pause, want %v", shared, is(), want)
		}
		now = now.Add(cfg.Grace)
		sweep(t.Context())
		if is() != presence.Offline {
			t.Errorf("shared %t: not offline after the grace, though nothing renewed it", shared)
		}
	}
}
