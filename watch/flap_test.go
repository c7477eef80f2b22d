package watch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// updates are what a watcher is notified of one peer, in order.
type updates []watch.Update

func (u updates) String() string {
	s := ""
	for i := range u {
		s += fmt.Sprintf("%v since %d; ", u[i].Status, u[i].Since)
	}
	return s
}

// gather takes all that w is notified of within d.
func (h *house) gather(w *watch.Watcher, d time.Duration) (all updates) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for {
		b, err := w.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return all
		}
		if err != nil {
			h.Fatal(err)
		}
		for _, u := range b.Updates {
			all = append(all, watch.Update{Peer: u.Peer, Status: u.Status, Cause: u.Cause, Since: u.Since, LastSeen: u.LastSeen, Version: u.Version})
		}
	}
}

// A connection that is lost at any time after watchers were notified of the online, and back within
// its hold, makes no update: wherever the tick of the hub falls, under the session's id or another,
// by one interruption or several.
func TestAReturnWithinTheHoldIsNotNotified(t *testing.T) {
	const hold = 2 * time.Second
	step := 20 * time.Millisecond
	bubble(t, func(t *testing.T, h *house) {
		n := 0
		for lostAt := time.Duration(0); lostAt <= 400*time.Millisecond; lostAt += step {
			for _, away := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 240 * time.Millisecond, 250 * time.Millisecond, 260 * time.Millisecond, 500 * time.Millisecond, 1990 * time.Millisecond} {
				for _, session := range []string{"1", "2"} {
					n++
					peer := fmt.Sprint("p", n)
					w := h.watch("", presence.PeerID(peer))
					h.expect(w, 0, "snapshot "+peer+"=unknown")
					h.report(on, peer, "1")
					first := h.gather(w, lostAt+time.Nanosecond)
					// The lost may come before the notice of the online, which then has to come
					// first.
					for len(first) == 0 {
						first = h.gather(w, time.Millisecond)
					}
					h.report(off, peer, "1", lost(hold))
					rest := h.gather(w, max(away, time.Nanosecond))
					h.report(on, peer, session)
					rest = append(rest, h.gather(w, 3*hold)...)
					if len(first) != 1 || first[0].Status != presence.Online || len(rest) != 0 {
						t.Errorf("lost after %v, back after %v as session %s: notified %v, then %v", lostAt, away, session, first, rest)
					}
					// The hold begins anew with each loss, and an end that is one is notified with
					// its own time.
					h.report(off, peer, session, lost(hold))
					end := h.at
					if all := h.gather(w, 3*hold); len(all) != 1 || all[0].Status != presence.Offline || all[0].Since != end {
						t.Errorf("lost after %v, back after %v, and lost for good at %d: notified %v", lostAt, away, end, all)
					}
					w.Close(watch.ReasonGone)
				}
			}
		}
	})
}

// A connection that flaps faster than its hold: watchers are notified of the first online and, once
// it stays away, of one offline.
func TestAFlappingConnectionIsNotifiedOnce(t *testing.T) {
	for name, session := range map[string]func(i int) string{
		"under one session": func(int) string { return "s" }, "under a new session each time": func(i int) string { return fmt.Sprint(i) },
	} {
		for _, every := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 130 * time.Millisecond, 251 * time.Millisecond} {
			for _, brief := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " every ", every, " brief ", brief), func(t *testing.T) {
					bubble(t, func(t *testing.T, h *house) {
						h.brief = brief
						w, other := h.watch("", "tom"), h.watch("", "tom")
						h.expect(w, 0, "snapshot tom=unknown")
						h.expect(other, 0, "snapshot tom=unknown")
						all := make(chan updates, 1)
						go func() { all <- h.gather(other, time.Minute) }()
						h.report(on, "tom", session(-1))
						start := h.at
						got := h.gather(w, time.Second)
						for i := range 100 {
							h.report(off, "tom", session(i-1), lost(3*time.Second))
							got = append(got, h.gather(w, every)...)
							h.report(on, "tom", session(i))
							got = append(got, h.gather(w, every)...)
						}
						if len(got) != 1 || got[0].Status != presence.Online || got[0].Since != start {
							t.Errorf("notified %v; want online since %d, once", got, start)
						}
						h.report(off, "tom", session(99), lost(3*time.Second))
						if got = h.gather(w, 10*time.Second); len(got) != 1 || got[0].Status != presence.Offline {
							t.Errorf("when it stays away: notified %v; want offline, once", got)
						}
						w.Close(watch.ReasonGone)
						if got := <-all; len(got) != 2 {
							t.Errorf("another watcher is notified %v", got)
						}
					})
				})
			}
		}
	}
}

// A logout that is followed by a login before the hub looks is no update either: watchers were
// never notified that the peer was offline, so the since that they know stands. A query says when
// the session began that is open now.
func TestALogoutAndALoginBetweenTwoLooksAreNotNotified(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, 0, "snapshot tom=unknown")
		h.report(on, "tom", "1")
		first := h.gather(w, time.Second)
		time.Sleep(time.Second)
		// One call, so that the look that a first change wakes does not fall between the two.
		h.at = now()
		reports := []presence.Report{
			{App: app, Peer: "tom", Source: presence.SourceAPI, Session: "1", Kind: off, At: h.at, Cause: presence.CauseLogout},
			{App: app, Peer: "tom", Source: presence.SourceAPI, Session: "2", Kind: on, At: h.at + 1},
		}
		h.at++
		if err := h.Report(t.Context(), reports, now(), make([]presence.Outcome, 2)); err != nil {
			t.Fatal(err)
		}
		if got := h.gather(w, time.Second); len(first) != 1 || len(got) != 0 {
			t.Errorf("notified %v, then %v", first, got)
		}
		var sum [1]presence.Summary
		if _, err := h.store.Summaries(t.Context(), []presence.Key{{App: app, Peer: "tom"}}, sum[:]); err != nil || sum[0].Since <= first[0].Since {
			t.Errorf("a query says since %d, %v; watchers know %d", sum[0].Since, err, first[0].Since)
		}
		if b, err := h.watch("", "tom").Next(t.Context()); err != nil || b.Updates[0].Since != first[0].Since {
			t.Errorf("a new watcher is notified since %d, the others know %d; %v", b.Updates[0].Since, first[0].Since, err)
		}
		time.Sleep(time.Second)
		h.report(off, "tom", "2", logout)
		got := h.gather(w, 300*time.Millisecond)
		h.report(on, "tom", "3")
		if got = append(got, h.gather(w, time.Second)...); len(got) != 2 || got[0].Status != presence.Offline || got[1].Since != h.at {
			t.Errorf("a logout that the hub sees, and a login: notified %v; want both, the online since %d", got, h.at)
		}
	})
}
