package presence_test

import (
	"context"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// othersToo is a store that other processes write to; it is never out of reach.
type othersToo struct{ *embedded.Store }

func (othersToo) Spool(context.Context, []presence.Report, presence.Millis, []presence.Outcome) error {
	return presence.ErrUnavailable
}
func (othersToo) Acknowledged([]presence.Report, presence.Millis) {}
func (othersToo) OnReturn(func(asOf, now presence.Millis) <-chan struct{}) (stop func()) {
	return func() {}
}
func (othersToo) Age() time.Duration               { return 0 }
func (othersToo) AgeOf(presence.Key) time.Duration { return 0 }

// both calls test with a service of a store that only this process writes to, and of one that
// others write to.
func both(t *testing.T, test func(s *presence.Service, others bool)) {
	t.Helper()
	for _, others := range []bool{false, true} {
		st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, t0)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if others {
			test(presence.NewService(othersToo{st}, presence.DefaultConfig()), true)
			continue
		}
		test(presence.NewService(st, presence.DefaultConfig()), false)
	}
}

// A process that was stopped for longer than leases last ends none of them when it wakes: they
// could not be renewed. Beside a store that other nodes write to they could.
func TestASweepNoticesThatTheProcessStoodStill(t *testing.T) {
	both(t, func(s *presence.Service, others bool) {
		on := sessionReport(t, "on@0")
		on.Lease = 20 * time.Second
		report(t, s, t0, on)
		last, now := presence.Millis(t0), presence.Millis(t0)
		sweep := func() (woke bool) {
			t.Helper()
			woke = s.Woke(last, now)
			if _, err := s.Sweep(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			last = now
			return woke
		}
		for range 10 {
			now = now.Add(time.Second)
			if sweep() {
				t.Fatalf("others %t: a second is a pause", others)
			}
		}
		now = now.Add(time.Minute)
		if woke := sweep(); woke == others {
			t.Errorf("others %t: a minute is a pause: %t", others, woke)
		}
		if want := map[bool]presence.Status{true: presence.Offline, false: presence.Online}[others]; statusOf(t, s, "tom", now) != want {
			t.Errorf("others %t: not %v after the pause", others, want)
		}
		now = now.Add(presence.DefaultConfig().Grace)
		sweep()
		if statusOf(t, s, "tom", now) != presence.Offline {
			t.Errorf("others %t: not offline after the grace, though nothing renewed it", others)
		}
	})
}

func TestLeasesStandStillAfterAStart(t *testing.T) {
	both(t, func(s *presence.Service, others bool) {
		const alive, now = t0 + 10_000, t0 + 600_000
		if s.Resume(0, now); s.Leases(now) != now {
			t.Error("leases of an empty store stand still")
		}
		s.Resume(alive, now)
		if want := map[bool]presence.Millis{true: now, false: alive}[others]; s.Leases(now) != want {
			t.Errorf("others %t: leases are judged as of %d, not %d", others, s.Leases(now), want)
		}
	})
}
