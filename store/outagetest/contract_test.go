package outagetest_test

import (
	"log/slog"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/outage"
	"rollcall/store/outagetest"
	"rollcall/store/storetest"
)

// wrap returns an embedded store in memory with a switch, in the wrapper. What the queue has is
// known when it returns.
func wrap(t testing.TB, below presence.Store, cfg outage.Config) outagetest.Wrapped {
	t.Helper()
	if cfg.Rules == (presence.Rules{}) {
		cfg.Rules = rules
	}
	cfg.Journal, cfg.Now, cfg.Log = time.Minute, wall, slog.New(slog.DiscardHandler)
	sw := outagetest.NewSwitch(below, cfg.Rules)
	s, err := outage.Wrap(sw, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return outagetest.Wrapped{Store: s, Switch: sw}
}

var rules = func() presence.Rules {
	r := presence.DefaultRules()
	r.Replay = presence.ReplayWithin
	return r
}()

func inMemory(t testing.TB) *embedded.Store {
	t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.MaxMemory = 64 << 20
	below, err := embedded.Open(cfg, embedded.Deps{Rules: rules}, wall())
	if err != nil {
		t.Fatal(err)
	}
	return below
}

// TestContract: in the wrapper a store keeps its laws.
func TestContract(t *testing.T) {
	storetest.RunInFakeTime(t, func(t testing.TB) storetest.Harness {
		return storetest.Harness{Store: wrap(t, inMemory(t), outage.Config{Stale: time.Minute})}
	})
}

// TestContractWhileOthersWait: so does one that has come back in part, while a report on another
// peer waits in the spool.
func TestContractWhileOthersWait(t *testing.T) {
	storetest.RunInFakeTime(t, func(t testing.TB) storetest.Harness {
		s := wrap(t, inMemory(t), outage.Config{Stale: time.Minute, Queue: &memory{}})
		other := presence.Key{App: "another app", Peer: "waits"}
		s.Switch.Leave(func(k presence.Key) bool { return k == other })
		report := presence.Report{App: other.App, Peer: other.Peer, Source: presence.SourceAPI, Session: "s", Kind: presence.KindOnline, At: wall(), Lease: time.Hour, ID: "1"}
		if err := s.Spool(t.Context(), []presence.Report{report}, wall(), make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if s.Waiting() != 1 || !s.Overlaid() {
				t.Error("the report on the other peer does not wait any more")
			}
		})
		return storetest.Harness{Store: s}
	})
}
