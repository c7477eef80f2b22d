package outagetest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/outage"
	"rollcall/store/outagetest"
)

// hook is a hook about peer, received now.
func hook(kind presence.Kind, peer string) presence.Report {
	return presence.Report{App: app, Peer: presence.PeerID(peer), Source: presence.SourceLeanCloud, Kind: kind, At: wall()}
}

// onDisk returns a wrapped store with a spool in dir, and a service on it.
func onDisk(t *testing.T, below presence.Store, dir string, bytes int64) (outagetest.Wrapped, *presence.Service) {
	t.Helper()
	s := wrap(t, below, outage.Config{Dir: dir, Bytes: bytes, Stale: time.Minute})
	return s, presence.NewService(s, presence.DefaultConfig())
}

func report(t *testing.T, svc *presence.Service, reports ...presence.Report) ([]presence.Outcome, error) {
	t.Helper()
	out := make([]presence.Outcome, len(reports))
	return out, svc.Report(t.Context(), reports, wall(), out)
}

func expect(t *testing.T, s presence.Store, want presence.Status, peers ...string) {
	t.Helper()
	ids, out := make([][]byte, len(peers)), make([]presence.Status, len(peers))
	for i, p := range peers {
		ids[i] = []byte(p)
	}
	age, err := s.Statuses(t.Context(), app, ids, wall(), out)
	for i, got := range out {
		if err != nil || age != 0 || got != want {
			t.Errorf("%s is %v, %v old, %v; want %v", peers[i], got, age, err, want)
		}
	}
}

// A spool takes what it has room for, refuses the rest with ErrFull, and keeps what it took.
func TestASpoolIsBounded(t *testing.T) {
	s, svc := onDisk(t, inMemory(t), t.TempDir(), 20_000)
	defer s.Close()
	s.Switch.Leave(nil)
	var taken []string
	for {
		peer := fmt.Sprint("p", len(taken))
		if _, err := report(t, svc, hook(presence.KindOnline, peer)); errors.Is(err, presence.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, peer)
	}
	if len(taken) < 10 {
		t.Errorf("a spool of 20,000 bytes took %d hooks", len(taken))
	}
	s.Switch.Return()
	s.Again()
	if !s.Drain(t.Context()) {
		t.Error("reports wait after the return")
	}
	expect(t, s, presence.Online, taken...)
	if _, err := report(t, svc, hook(presence.KindOnline, "after")); err != nil {
		t.Errorf("a hook after the return: %v", err)
	}
}

// What was acknowledged into the spool is delivered by the next process on the directory; a report
// that is too old for the rules is not.
func TestASpoolOutlivesTheProcess(t *testing.T) {
	below, dir := inMemory(t), t.TempDir()
	defer below.Close()
	first, svc := onDisk(t, below, dir, 1<<20)
	first.Switch.Leave(nil)
	old := hook(presence.KindOnline, "ann")
	old.At = old.At.Add(-48 * time.Hour)
	out, err := report(t, svc, old, hook(presence.KindOnline, "tom"))
	if err != nil || out[0].Verdict != presence.Stale || out[1].Verdict != presence.Taken || out[1].Summary.Status != presence.Online {
		t.Errorf("the outcomes are %v and %v (%v), %v; want stale and taken (online)", out[0].Verdict, out[1].Verdict, out[1].Summary.Status, err)
	}
	if err := first.Box.Close(); err != nil {
		t.Fatal(err)
	}
	next, _ := onDisk(t, below, dir, 1<<20)
	defer next.Box.Close()
	next.Again()
	if !next.Drain(t.Context()) {
		t.Error("reports wait in the next process")
	}
	expect(t, next, presence.Online, "tom")
	expect(t, next, presence.Unknown, "ann")
}

// The store comes back with all it had, and the reports of the last minute are applied again: hooks
// name neither session nor time, and yet none counts twice.
func TestWhatIsReplayedCountsOnce(t *testing.T) {
	s, svc := onDisk(t, inMemory(t), t.TempDir(), 1<<20)
	defer s.Close()
	for _, r := range []presence.Report{hook(presence.KindOnline, "tom"), hook(presence.KindOnline, "ann"), hook(presence.KindOffline, "tom")} {
		if _, err := report(t, svc, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Reassert(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats()["said_again"]; n != 3 {
		t.Errorf("%d reports were applied again, want 3", n)
	}
	expect(t, s, presence.Offline, "tom")
	expect(t, s, presence.Online, "ann")
	if _, err := report(t, svc, hook(presence.KindOffline, "ann")); err != nil {
		t.Fatal(err)
	}
	expect(t, s, presence.Offline, "ann")
}

// Answers of a product that are in a spool count like the hooks there: one ends what is open, and
// one that a hook has made unsure meanwhile does not.
func TestASpoolKeepsAnswers(t *testing.T) {
	below, dir := inMemory(t), t.TempDir()
	defer below.Close()
	first, svc := onDisk(t, below, dir, 1<<20)
	for _, peer := range []string{"tom", "ann"} {
		old := hook(presence.KindOnline, peer)
		old.At = old.At.Add(-10 * time.Minute)
		if _, err := report(t, svc, old); err != nil {
			t.Fatal(err)
		}
	}
	first.Switch.Leave(nil)
	answer := func(peer string) presence.Report {
		r := hook(presence.KindCount, peer)
		r.Cause, r.Quiet = presence.CauseReconciled, 30*time.Second
		return r
	}
	out, err := report(t, svc, hook(presence.KindOnline, "ann"), answer("tom"), answer("ann"))
	if err != nil || out[2].Verdict != presence.Unsure {
		t.Errorf("%+v: %v", out, err)
	}
	if err := first.Box.Close(); err != nil {
		t.Fatal(err)
	}
	next, _ := onDisk(t, below, dir, 1<<20)
	defer next.Box.Close()
	next.Again()
	if !next.Drain(t.Context()) {
		t.Error("reports wait in the next process")
	}
	expect(t, next, presence.Offline, "tom")
	expect(t, next, presence.Online, "ann")
}
