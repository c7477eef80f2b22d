package reconcile_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/webhook/reconcile"
	"rollcall/presence"
)

// each plays a story with a product that lists sessions and with one that says yes or no.
func each(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	for name, counted := range map[string]bool{"sessions": false, "slots": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { story(t, open(t, counted)) })
		})
	}
}

// What events left wrong is right after a round, by two answers for an offline; the rest is not
// touched.
func TestARoundFindsGhostsAndMissedOnlines(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(20)
		time.Sleep(10 * time.Minute)
		w.event("back", presence.KindOnline, 0)
		time.Sleep(time.Second)
		w.event("back", presence.KindOffline, presence.CauseLost)
		time.Sleep(10 * time.Minute)
		w.product.set(func(p *product) { p.online["back"] = w.sessions() }) // its online was lost
		w.gone(ids[3], ids[7])
		w.start()
		time.Sleep(2 * time.Minute)
		if w.status(ids[3]) != presence.Offline || w.status(ids[7]) != presence.Offline || w.offline(ids) != 2 {
			t.Errorf("%d of those who are there are offline", w.offline(ids))
		}
		if w.status("back") != presence.Online {
			t.Error("the missed online was not found")
		}
		if c := w.state(ids[3]).Cause; c != presence.CauseReconciled {
			t.Errorf("the cause is %v", c)
		}
		st := w.stats()
		if st.Ghost != 2 || st.Missed != 1 || st.Unanswered != 0 || st.Full == 0 || !st.Asks || st.Stopped != "" {
			t.Errorf("%+v", st)
		}
		if n := w.product.askedAbout(ids[0]); n != 1 {
			t.Errorf("one that agrees was asked about %d times", n)
		}
		if n := w.product.askedAbout(ids[3]); n != 3 { // the third after it turned
			t.Errorf("a ghost was asked about %d times", n)
		}
	})
}

// A round comes every hour, and an answer that agrees writes nothing.
func TestRoundsComeEveryPeriod(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(3)
		w.start()
		time.Sleep(2 * time.Minute)
		rev := w.state(ids[0]).Rev
		time.Sleep(3 * time.Hour)
		if n := w.product.askedAbout(ids[0]); n < 4 || n > 5 {
			t.Errorf("asked %d times in three hours", n)
		}
		if w.state(ids[0]).Rev != rev {
			t.Error("an answer that agrees was written")
		}
		time.Sleep(30 * time.Hour) // longer than the lease
		if w.offline(ids) != 0 {
			t.Error("a peer that the product has was not renewed")
		}
	})
}

// An offline needs two answers with no report between them.
func TestAnOfflineIsConfirmed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(10)
		time.Sleep(time.Hour)
		w.gone(ids[0], ids[1])
		w.start()
		for w.product.askedAbout(ids[0]) == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		if w.offline(ids) != 0 {
			t.Fatal("offline by one answer")
		}
		w.event(ids[0], presence.KindOnline, 0) // a report between
		time.Sleep(time.Minute)
		if w.status(ids[0]) != presence.Online {
			t.Error("offline although a report came between the answers")
		}
		if w.status(ids[1]) != presence.Offline {
			t.Error("the other is not offline")
		}
	})
}

// Dry runs name what would turn and change nothing.
func TestADryRunChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(30)
		time.Sleep(time.Hour)
		w.gone(ids[3])
		w.product.set(func(p *product) { p.online["new"] = w.sessions() })
		w.source.Reconcile.Every = 24 * time.Hour
		w.start()
		run := w.run(reconcile.Options{Dry: true, Peers: append(ids, "new", "none")})
		if run.Error != "" || run.Result.Ghost != 1 || run.Result.Missed != 1 || len(run.Turns) != 2 {
			t.Errorf("%+v", run)
		}
		if w.status(ids[3]) != presence.Online || w.status("new") != presence.Unknown {
			t.Error("a dry run changed something")
		}
	})
}

// A list seeds an app of which nothing was reported: any number comes online.
func TestAListSeedsTheFirstDay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.source.Reconcile.Every = 24 * time.Hour
		w.start()
		ids := []presence.PeerID{"a", "b", "c"}
		for i := range 500 {
			id := presence.PeerID(rune('一' + i))
			ids = append(ids, id)
			w.product.set(func(p *product) { p.online[id] = w.sessions() })
		}
		run := w.run(reconcile.Options{Peers: ids})
		if run.Error != "" || run.Result.Missed != 500 || run.Result.Applied != 500 || run.Result.Agree != 3 {
			t.Errorf("%+v", run.Result)
		}
		if w.status("a") == presence.Online || w.status(ids[10]) != presence.Online {
			t.Error("the seed is wrong")
		}
		if left := w.state(ids[10]).Until.Sub(now()); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("its lease is %v", left)
		}
	})
}

// In a round that takes long a ghost does not wait for its end.
func TestAGhostIsConfirmedInTheMidstOfARound(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.product.batch = 10
		w.source.Reconcile.Rate = 0.5
		ids := w.people(3000) // 300 calls, 600 seconds
		time.Sleep(time.Hour)
		for _, id := range ids[1:] {
			w.event(id, presence.KindTouch, 0)
		}
		time.Sleep(time.Minute)
		w.gone(ids[0]) // the oldest is asked about first
		w.start()
		for w.product.askedAbout(ids[0]) == 0 {
			time.Sleep(time.Second)
		}
		begun := time.Now()
		for w.status(ids[0]) == presence.Online {
			time.Sleep(time.Second)
		}
		if took := time.Since(begun); took > 10*time.Minute || w.stats().Full != 0 {
			t.Errorf("it took %v, the round is over: %v", took, w.stats().Full != 0)
		}
	})
}

// A peer that the store cannot read is left alone, and holds no round up.
func TestADamagedPeerHoldsNothingUp(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(5)
		w.event("damaged", presence.KindOnline, 0)
		time.Sleep(time.Hour)
		w.gone(ids[0])
		w.start()
		time.Sleep(2 * time.Minute)
		if w.status(ids[0]) != presence.Offline || w.status("damaged") != presence.Online || w.stats().Full == 0 {
			t.Errorf("%+v", w.stats())
		}
		run := w.run(reconcile.Options{Peers: []presence.PeerID{"damaged"}})
		if run.Error != "" || run.Result.Missed+run.Result.Ghost != 0 {
			t.Errorf("%+v", run)
		}
	})
}

func BenchmarkRound(b *testing.B) {
	for name, counted := range map[string]bool{"sessions": false, "slots": true} {
		b.Run(name, func(b *testing.B) {
			w := open(b, counted)
			const n = 20_000
			w.product.batch = 500
			w.source.Reconcile.Every, w.source.Reconcile.Rate = 24*time.Hour, 1e6
			for i := range n {
				id := presence.PeerID(strconv.Itoa(i))
				w.event(id, presence.KindOnline, 0)
				w.product.online[id] = w.sessions()
			}
			w.start()
			b.ResetTimer()
			for b.Loop() {
				if run := w.run(reconcile.Options{}); run.Result.Agree < n {
					b.Fatalf("%+v", run)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/peer")
		})
	}
}
