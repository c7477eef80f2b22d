package embedded_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// A client that invents ids fills no memory that others need: its peers are forgotten first, and
// only they.
func TestInventedPeersAreForgottenFirst(t *testing.T) {
	empty := open(t, embedded.Setup{}).Stats().Used
	s := open(t, embedded.Setup{Config: embedded.Config{MaxMemory: empty + 256<<10}})
	svc := presence.NewService(s, presence.DefaultConfig())
	now := start
	report := func(r presence.Report) error {
		r.App, r.At = "app", now
		return svc.Report(t.Context(), []presence.Report{r}, now, make([]presence.Outcome, 1))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	visit := func(peer presence.PeerID, stays time.Duration) error {
		r := presence.Report{Peer: peer, Source: presence.SourceGateway, Session: "s-" + presence.SessionID(peer), Kind: presence.KindOnline}
		if err := report(r); err != nil {
			return err
		}
		now = now.Add(stays)
		r.Kind, r.Cause = presence.KindOffline, presence.CauseLogout
		return report(r)
	}
	// Known peers: one a server reports, one that stayed for an hour, one that is online.
	must(report(presence.Report{Peer: "hook", Source: presence.SourceLeanCloud, Kind: presence.KindOnline}))
	must(report(presence.Report{Peer: "hook", Source: presence.SourceLeanCloud, Kind: presence.KindOffline}))
	must(visit("hour", time.Hour))
	must(report(presence.Report{Peer: "here", Source: presence.SourceGateway, Session: "h", Kind: presence.KindOnline}))

	refused := 0
	for i := range 20_000 {
		err := visit(presence.PeerID(fmt.Sprint("invented-", i)), 10*time.Millisecond)
		if errors.Is(err, presence.ErrFull) {
			refused++
		} else {
			must(err)
		}
		if i%100 == 0 {
			now = now.Add(time.Second)
			if _, err := svc.Sweep(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := s.Stats(); st.Used > st.Bound {
		t.Errorf("%d bytes are used, the bound is %d", st.Used, st.Bound)
	}
	if svc.Counters().Shed() == 0 {
		t.Error("no peer was forgotten: the bound was never near")
	}
	if refused > 0 {
		t.Errorf("%d visits were refused although short-lived peers could have been forgotten", refused)
	}
	for peer, want := range map[string]presence.Status{"hook": presence.Offline, "hour": presence.Offline, "here": presence.Online} {
		if got := status(t, s, now, peer); got != want {
			t.Errorf("%s is %v, want %v", peer, got, want)
		}
	}
	// A peer that has just left is remembered.
	must(visit("just", time.Second))
	if _, err := svc.Sweep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := status(t, s, now, "just"); got != presence.Offline {
		t.Errorf("a peer that has just left is %v, want offline", got)
	}
}

func TestTheDefaultBoundIsAShareOfTheMachine(t *testing.T) {
	if st := open(t, embedded.Setup{}).Stats(); st.Bound <= 0 {
		t.Errorf("the bound is %d without a setting", st.Bound)
	}
	if st := open(t, embedded.Setup{Config: embedded.Config{MaxMemory: 1 << 30}}).Stats(); st.Bound != 1<<30 {
		t.Errorf("the bound is %d, set to %d", st.Bound, 1<<30)
	}
}
