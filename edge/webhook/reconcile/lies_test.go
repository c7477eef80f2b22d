package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/presence"
)

// Whatever a product answers when it is not itself, no peer that is there is taken offline, and the
// alarm is raised.
func TestALyingSourceTakesNoneOffline(t *testing.T) {
	for name, lie := range map[string]struct {
		people int
		answer func(p *product, peers []presence.PeerID) (webhook.Answer, error)
		alarm  string // in the log, once
		state  string
	}{
		"an empty list": {1200, func(_ *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := webhook.Answer{Peers: map[presence.PeerID]webhook.Found{}}
			for _, id := range peers {
				a.Peers[id] = webhook.Found{}
			}
			return a, nil
		}, "reconciliation stopped by its brake", "braked"},
		"an empty list of a few": {8, func(_ *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := webhook.Answer{Peers: map[presence.PeerID]webhook.Found{}}
			for _, id := range peers {
				a.Peers[id] = webhook.Found{}
			}
			return a, nil
		}, "reconciliation stopped by its brake", "braked"},
		"an empty list of two": {2, func(_ *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := webhook.Answer{Peers: map[presence.PeerID]webhook.Found{}}
			for _, id := range peers {
				a.Peers[id] = webhook.Found{}
			}
			return a, nil
		}, "reconciliation stopped by its brake", "braked"},
		"one in ten is missing from the list": {1200, func(p *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := p.truth(peers)
			for _, id := range peers {
				if id[len(id)-1] == '7' {
					a.Peers[id] = webhook.Found{}
				}
			}
			return a, nil
		}, "reconciliation stopped by its brake", "braked"},
		"a wrong key": {300, func(*product, []presence.PeerID) (webhook.Answer, error) {
			return webhook.Answer{}, fmt.Errorf("401: %w", webhook.ErrRefused)
		}, "reconciliation refused by the product", "refused"},
		"half a page": {300, func(p *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := p.truth(peers)
			for i, id := range peers {
				if i%2 == 0 {
					delete(a.Peers, id)
				}
			}
			return a, nil
		}, "reconciliation answers incomplete", ""},
		"an answer of the day before": {300, func(_ *product, peers []presence.PeerID) (webhook.Answer, error) {
			a := webhook.Answer{At: now().Add(-24 * time.Hour), Peers: map[presence.PeerID]webhook.Found{}}
			for _, id := range peers {
				a.Peers[id] = webhook.Found{}
			}
			return a, nil
		}, "reconciliation answers incomplete", ""},
		"nothing answers": {300, func(*product, []presence.PeerID) (webhook.Answer, error) {
			return webhook.Answer{}, errDown
		}, "reconciliation call failed; will retry", ""},
	} {
		for kind, counted := range map[string]bool{"sessions": false, "slots": true} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := open(t, counted)
					ids := w.people(lie.people)
					time.Sleep(time.Hour)
					p := w.product
					p.set(func(p *product) {
						p.answer = func(peers []presence.PeerID) (webhook.Answer, error) { return lie.answer(p, peers) }
					})
					w.start()
					time.Sleep(150 * time.Minute)
					if n := w.offline(ids); n > 0 {
						t.Errorf("%d of %d are shown offline", n, len(ids))
					}
					if n := w.logged(lie.alarm); n != 1 && lie.state != "braked" || n == 0 {
						t.Errorf("%d times %q in the log:\n%s", n, lie.alarm, w.log.String())
					}
					if st := w.stats(); st.Stopped != lie.state || st.Full != 0 {
						t.Errorf("%+v", st)
					}
					if age := w.runner.Counts()["one/im/round_age_seconds"]; age < 7200 {
						t.Errorf("the last full round is %d s old", age)
					}
					// It is itself again.
					p.set(func(p *product) { p.answer = nil })
					time.Sleep(65 * time.Minute)
					if st := w.stats(); st.Stopped != "" || st.Full == 0 || w.offline(ids) > 0 {
						t.Errorf("it does not recover: %+v", st)
					}
				})
			})
		}
	}
}

// The brake waits for evidence: as many ghosts as five per cent of all are found among the first
// that are asked, and applied once enough others agree.
func TestTheBrakeJudgesTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, true)
		w.source.Reconcile.Brake = 0.05
		old := w.people(150) // the suspects
		time.Sleep(time.Hour)
		for i := range 3500 {
			id := presence.PeerID(fmt.Sprintf("q%05d", i))
			w.event(id, presence.KindOnline, 0)
			w.product.set(func(p *product) { p.online[id] = nil })
		}
		time.Sleep(time.Hour)
		w.gone(old...)
		w.start()
		time.Sleep(5 * time.Minute)
		if n := w.offline(old); n != len(old) {
			t.Errorf("%d of %d ghosts are offline: %+v\n%s", n, len(old), w.stats(), w.log.String())
		}
	})
}

// With the brake off an operator's run applies what the product answers.
func TestForceReleasesTheBrake(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(200)
		time.Sleep(time.Hour)
		w.gone(ids...)
		w.source.Reconcile.Every = 24 * time.Hour
		w.start()
		if run := w.run(reconcile.Options{}); run.Error == "" || run.Result.Applied != 0 || w.offline(ids) != 0 {
			t.Errorf("%+v", run)
		}
		if run := w.run(reconcile.Options{Force: true}); run.Error != "" || run.Result.Applied != 200 || w.offline(ids) != 200 {
			t.Errorf("%+v, %d offline", run.Result, w.offline(ids))
		}
		if st := w.stats(); st.Stopped != "" {
			t.Errorf("it is still %s", st.Stopped)
		}
	})
}

// While the store is unreachable, and while leases stand still, nothing is asked.
func TestNothingIsAskedWhileTheStoreIsAway(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.people(50)
		w.trouble.Store("redis unreachable")
		w.start()
		time.Sleep(3 * time.Hour)
		if n := w.product.called(); n != 0 {
			t.Fatalf("%d calls while the store is away", n)
		}
		if st := w.stats(); !st.Paused || st.Asks {
			t.Errorf("%+v", st)
		}
		w.trouble.Store("")
		w.service.StandStill(now(), now())
		time.Sleep(25 * time.Second) // within the grace
		if n := w.product.called(); n != 0 {
			t.Fatalf("%d calls while leases stand still", n)
		}
		time.Sleep(5 * time.Minute)
		if w.product.called() == 0 {
			t.Error("nothing is asked after it")
		}
	})
}

// A run that the brake ends says so, and one that the product refuses says that.
func TestARunSaysWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, false)
		w.source.Reconcile.Every = 24 * time.Hour
		ids := w.people(20)
		time.Sleep(time.Hour)
		w.start()
		w.gone(ids...)
		if run := w.run(reconcile.Options{}); !strings.HasPrefix(run.Error, "more would turn than the brake allows") {
			t.Errorf("by the brake: %q", run.Error)
		}
		w.product.set(func(p *product) {
			p.answer = func([]presence.PeerID) (webhook.Answer, error) {
				return webhook.Answer{}, webhook.StatusError(401)
			}
		})
		if run := w.run(reconcile.Options{}); run.Error != "the product refuses the key or the app: the product answers 401 Unauthorized" {
			t.Errorf("refused: %q", run.Error)
		}
	})
}

// Calls that failed in runs before end no run: its own must fail one after the other.
func TestARunIsNotEndedByFailuresOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, false)
		w.source.Reconcile.Every = 24 * time.Hour
		ids := w.people(50) // one call
		time.Sleep(time.Hour)
		w.start()
		time.Sleep(time.Minute) // the round is over
		w.product.set(func(p *product) {
			p.answer = func([]presence.PeerID) (webhook.Answer, error) { return webhook.Answer{}, errDown }
		})
		for n := range 7 {
			if run := w.run(reconcile.Options{Peers: ids}); run.Error != "" || run.Result.Unanswered != 50 {
				t.Fatalf("run %d: %+v", n, run)
			}
		}
	})
}
