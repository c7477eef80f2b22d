package changeout_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/changeout"
	"rollcall/presence"
)

// within runs fn in fake time.
func within(t *testing.T, shared bool, fn func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newFleet(t, shared)) })
}

func (b *backend) has(t *testing.T, peer string, turns ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.turns[presence.PeerID(peer)]; !slices.Equal(got, turns) {
		t.Errorf("%s turned %q for the backend, want %q", peer, got, turns)
	}
}

// A receiver lists once, and is then sent every turn, soon, by the hold of a loss.
func TestTurnsAreSentAfterTheirHolds(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		f.start(0)
		time.Sleep(2 * time.Second)
		if b := f.backend.seen(); b.lists != 1 || !slices.Equal(b.whys, []string{"first"}) {
			t.Fatalf("listed %d times, because of %q", b.lists, b.whys)
		}
		f.report(online("ann"), online("bob"), online("cat"))
		time.Sleep(time.Second)
		f.backend.has(t, "ann", "online")
		f.report(offline("ann", presence.CauseLost), offline("bob", presence.CauseLost), offline("cat", presence.CauseLogout))
		time.Sleep(time.Second)
		f.backend.has(t, "cat", "online", "offline")
		time.Sleep(hold / 2)
		f.report(online("ann"))
		f.backend.has(t, "bob", "online")
		time.Sleep(hold)
		f.backend.has(t, "ann", "online")
		f.backend.has(t, "bob", "online", "offline")
		// A lease that runs out has no report at all.
		time.Sleep(2*time.Hour + time.Minute)
		f.backend.has(t, "ann", "online", "offline")
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyWhatIsWantedIsSent(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		f.receiver.Only = []presence.Status{presence.Offline}
		f.start(0)
		time.Sleep(2 * time.Second)
		f.report(online("ann"))
		time.Sleep(2 * time.Second)
		f.report(offline("ann", presence.CauseLogout))
		time.Sleep(2 * time.Second)
		f.backend.has(t, "ann", "offline")
	})
}

// While a receiver is down for an hour every turn waits, and comes in order, in full batches.
func TestAnHourOfWaitingLosesNoTurn(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		n := f.start(0)
		time.Sleep(2 * time.Second)
		f.backend.answer(http.StatusBadGateway, 0)
		want := []string{}
		for i := range 60 {
			if i%2 == 0 {
				f.report(online("ann"), online(fmt.Sprint("p", i)))
				want = append(want, "online")
			} else {
				f.report(offline("ann", presence.CauseLogout))
				want = append(want, "offline")
			}
			time.Sleep(time.Minute)
		}
		c := n.counts()
		if c["waiting"] != 90 || c["failing_seconds"] < 3500 || c["waiting_seconds"] < 3500 || c["waiting_bytes"] < 90*100 {
			t.Errorf("after an hour: %v", c)
		}
		calls := len(f.backend.seen().calls)
		f.backend.answer(0, 0)
		time.Sleep(2 * time.Minute)
		f.backend.has(t, "ann", want...)
		if got := len(f.backend.seen().calls) - calls; got > 3 {
			t.Errorf("%d calls for 90 changes", got)
		}
		if c := n.counts(); c["waiting"] != 0 || c["waiting_bytes"] != 0 || c["failing_seconds"] != 0 || c["delivered"] != 90 || c["lost"] != 0 {
			t.Errorf("at the end: %v", c)
		}
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}

// Beyond its bounds the receiver must list again, whichever bound it is, and knows how much it
// missed.
func TestBeyondItsBoundsAReceiverListsAgain(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		bound  func(f *fleet)
	}{
		{"too_much", http.StatusInternalServerError, func(f *fleet) { f.receiver.MaxBytes = 10_000 }},
		{"too_old", http.StatusServiceUnavailable, func(f *fleet) { f.receiver.GiveUp = 10 * time.Minute }},
		{"refused", http.StatusUnauthorized, func(*fleet) {}},
		{"refused", http.StatusGone, func(*fleet) {}},
	} {
		t.Run(fmt.Sprint(c.why, c.status), func(t *testing.T) {
			within(t, false, func(t *testing.T, f *fleet) {
				c.bound(f)
				n := f.start(0)
				time.Sleep(2 * time.Second)
				f.backend.answer(c.status, 0)
				const peers = 200
				for i := range peers {
					f.report(online(fmt.Sprint("p", i)))
					time.Sleep(4 * time.Second)
				}
				if got := n.counts()["waiting_bytes"]; got > 100_000 {
					t.Errorf("%d bytes wait", got)
				}
				time.Sleep(15 * time.Minute)
				f.backend.answer(0, 0)
				time.Sleep(2 * time.Minute)
				b := f.backend.seen()
				if b.lists != 2 || b.whys[1] != c.why {
					t.Errorf("listed %d times, because of %q", b.lists, b.whys)
				}
				if b.lost == 0 || b.lost+b.received < peers {
					t.Errorf("%d are lost and %d were received, of %d", b.lost, b.received, peers)
				}
				if err := f.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A redirect is not followed and no success; it is tried again.
func TestARedirectIsAFailure(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		n := f.start(0)
		f.backend.answer(http.StatusTemporaryRedirect, 0)
		f.report(online("ann"))
		time.Sleep(time.Minute)
		if c := n.counts(); c["failed"] == 0 || c["delivered"] != 0 || c["refused"] != 0 {
			t.Errorf("%v", c)
		}
		f.backend.answer(0, 0)
		time.Sleep(time.Minute)
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}

// An answer that takes too long is a failure, and nothing else waits for it.
func TestASlowReceiverIsTriedAgain(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		n := f.start(0)
		time.Sleep(2 * time.Second)
		f.backend.answer(0, time.Minute)
		f.report(online("ann"))
		time.Sleep(time.Minute)
		if c := n.counts(); c["failed"] < 3 {
			t.Errorf("%v", c)
		}
		f.backend.answer(0, 4*time.Second)
		time.Sleep(2 * time.Minute)
		f.backend.has(t, "ann", "online")
	})
}

// A restart goes on with what waits, every turn of it, and finds what changed while no node ran.
func TestARestartGoesOn(t *testing.T) {
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			within(t, false, func(t *testing.T, f *fleet) {
				n := f.start(0)
				time.Sleep(2 * time.Second)
				f.report(online("ann"), online("old"))
				time.Sleep(time.Second)
				f.backend.answer(http.StatusBadGateway, 0)
				f.report(offline("ann", presence.CauseLogout))
				time.Sleep(time.Second)
				f.report(online("ann"))
				time.Sleep(time.Second)
				f.report(offline("ann", presence.CauseLost)) // held
				time.Sleep(time.Second)
				if how == "killed" {
					n.kill()
				} else {
					n.close()
				}
				f.backend.answer(0, 0)
				n = f.start(0)
				time.Sleep(time.Second)
				f.backend.has(t, "ann", "online", "offline", "online")
				time.Sleep(hold)
				f.backend.has(t, "ann", "online", "offline", "online", "offline")
				if b := f.backend.seen(); b.lists != 1 {
					t.Errorf("listed because of %q", b.whys)
				}
				if c := n.counts(); c["lost"] != 0 || c["waiting"] != 0 {
					t.Errorf("%v", c)
				}
				if err := f.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Of two nodes one sends. When it dies the other goes on within its lease; when it stops, at once.
func TestAnotherNodeTakesOver(t *testing.T) {
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			within(t, true, func(t *testing.T, f *fleet) {
				first := f.start(0)
				time.Sleep(2 * time.Second)
				second := f.start(1)
				time.Sleep(time.Minute)
				f.report(online("ann"), online("bob"))
				time.Sleep(2 * time.Second)
				if a, b := first.counts(), second.counts(); a["sends"] != 1 || b["sends"] != 0 || b["calls"] != 0 {
					t.Errorf("the first %v, the second %v", a, b)
				}
				f.backend.answer(http.StatusBadGateway, 0)
				f.report(offline("ann", presence.CauseLogout))
				time.Sleep(time.Second)
				within := 12 * time.Second
				if how == "killed" {
					first.kill()
				} else {
					within = 4 * time.Second
					first.close()
				}
				f.report(offline("bob", presence.CauseLogout))
				f.backend.answer(0, 0)
				time.Sleep(within)
				f.backend.has(t, "ann", "online", "offline")
				f.backend.has(t, "bob", "online", "offline")
				if c := second.counts(); c["sends"] != 1 {
					t.Errorf("the second %v", c)
				}
				// Its journal of before is void by now: it does not send what is old.
				f.start(0)
				second.kill()
				time.Sleep(12 * time.Second)
				f.report(online("ann"))
				time.Sleep(2 * time.Second)
				f.backend.has(t, "ann", "online", "offline", "online")
				if b := f.backend.seen(); b.lists != 1 {
					t.Errorf("listed because of %q", b.whys)
				}
				if err := f.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A burst that is far more than may wait is no reason to list again, if the receiver takes what it
// is sent: the rest is found in the register, or, when that cannot hold it, in the store.
func TestABurstWaitsInTheStore(t *testing.T) {
	for name, register := range map[string]int{"in the register": 100_000, "in the store": 300} {
		t.Run(name, func(t *testing.T) {
			within(t, false, func(t *testing.T, f *fleet) {
				f.receiver.MaxBytes, f.feed.Peers = 600_000, register
				n := f.start(0)
				time.Sleep(2 * time.Second)
				f.backend.answer(0, 2*time.Second)
				const peers = 10_000
				for from := 0; from < peers; from += 1000 {
					var reports []presence.Report
					for i := range 1000 {
						reports = append(reports, online(fmt.Sprint("p", from+i)))
					}
					f.report(reports...)
					time.Sleep(time.Second)
				}
				time.Sleep(5 * time.Minute)
				if c := n.counts(); f.backend.seen().lists != 1 || c["lost"] != 0 || c["delivered"] < peers {
					t.Errorf("listed because of %q; %v", f.backend.seen().whys, c)
				}
				if err := f.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Receivers come, go and change while the sender runs: one with another secret or address goes on
// where it is, one that is removed is sent nothing, and goes on when it is back.
func TestReceiversAreReplaced(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		n := f.start(0)
		time.Sleep(2 * time.Second)
		f.report(online("ann"))
		time.Sleep(2 * time.Second)
		moved := f.receiver
		moved.URL, moved.Only = "http://elsewhere.example.com/in", []presence.Status{presence.Offline}
		n.sender.Replace([]changeout.Receiver{moved})
		f.report(online("bob"))
		time.Sleep(2 * time.Second)
		f.report(offline("bob", presence.CauseLogout))
		time.Sleep(2 * time.Second)
		f.backend.has(t, "bob", "offline")
		if got := f.backend.seen().url; got != moved.URL {
			t.Errorf("the last call went to %s", got)
		}
		f.backend.answer(http.StatusBadGateway, 0)
		f.report(offline("ann", presence.CauseLogout))
		time.Sleep(2 * time.Second)
		n.sender.Replace(nil)
		f.backend.answer(0, 0)
		f.report(online("cat"))
		time.Sleep(time.Minute)
		f.backend.has(t, "ann", "online")
		f.backend.has(t, "cat")
		if c := n.sender.Counts(); len(c) != 0 {
			t.Errorf("%v", c)
		}
		other := f.receiver
		other.ID = "other"
		if err := n.sender.Prepare([]changeout.Receiver{f.receiver, other}); err != nil {
			t.Fatal(err)
		}
		n.sender.Replace([]changeout.Receiver{f.receiver, other})
		time.Sleep(5 * time.Second)
		f.backend.has(t, "ann", "online", "offline")
		f.backend.has(t, "cat", "online")
		if b := f.backend.seen(); !slices.Equal(b.whys, []string{"first", "first"}) { // of each id
			t.Errorf("listed because of %q", b.whys)
		}
		n.sender.Replace([]changeout.Receiver{other})
		f.report(offline("cat", presence.CauseLogout))
		time.Sleep(2 * time.Second)
		f.backend.has(t, "cat", "online", "offline")
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}

// Where the store signals nothing a node walks through it, every ten seconds and no more often.
func TestWithoutSignalsChangesAreFoundByWalks(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		f.blind = &blindStore{Store: f.store}
		n := f.start(0)
		time.Sleep(2 * time.Second)
		f.report(online("ann"), online("bob"))
		time.Sleep(12 * time.Second)
		f.backend.has(t, "ann", "online")
		f.report(offline("ann", presence.CauseLost), offline("bob", presence.CauseLogout))
		time.Sleep(hold + 12*time.Second)
		f.backend.has(t, "ann", "online", "offline")
		f.backend.has(t, "bob", "online", "offline")
		before := f.blind.walks.Load()
		time.Sleep(5 * time.Minute)
		if walks := f.blind.walks.Load() - before; walks < 20 || walks > 31 {
			t.Errorf("%d walks in five minutes", walks)
		}
		if c := n.counts(); f.backend.seen().lists != 1 || c["delivered"] > 12 {
			t.Errorf("listed because of %q; %v", f.backend.seen().whys, c)
		}
	})
}
