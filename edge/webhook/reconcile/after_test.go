package reconcile_test

import (
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/presence"
)

// A peer that an event turned offline is asked about once, when no event can be under way any more;
// one that is there all the same comes back.
func TestATurnToOfflineIsAskedAboutOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.source.Reconcile.Every = 24 * time.Hour
		ids := w.people(10)
		w.start()
		time.Sleep(time.Hour)
		before := w.product.askedAbout(ids[1])
		w.gone(ids[1])
		w.event(ids[1], presence.KindOffline, presence.CauseLogout)
		w.event(ids[2], presence.KindOffline, presence.CauseLost) // it is there
		time.Sleep(10 * time.Second)
		if w.product.askedAbout(ids[1]) != before {
			t.Error("asked at once")
		}
		time.Sleep(time.Minute)
		if n := w.product.askedAbout(ids[1]) - before; n != 1 {
			t.Errorf("asked %d times", n)
		}
		if w.status(ids[1]) != presence.Offline || w.status(ids[2]) != presence.Online {
			t.Errorf("%v and %v", w.status(ids[1]), w.status(ids[2]))
		}
		time.Sleep(time.Hour)
		if n := w.product.askedAbout(ids[1]) - before; n != 1 {
			t.Errorf("asked %d times", n)
		}
		// why shows what it was asked and what came of it.
		last := w.service.Trace().Last(presence.Key{App: "one", Peer: ids[1]}, 1)[0]
		if r := last.Report; r.Kind != presence.KindCount || r.Count != 0 || r.Source != "im" || last.Verdict != presence.Double {
			t.Errorf("the last that is known of it is %+v, %v", last.Report, last.Verdict)
		}
	})
}

// A product that has everybody online brings back no more than the brake allows.
func TestAskingAfterATurnHasABrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, true)
		w.source.Reconcile.Every = 24 * time.Hour
		ids := w.people(400)
		w.start()
		time.Sleep(time.Hour)
		for _, id := range ids {
			w.event(id, presence.KindOffline, presence.CauseLost)
		}
		time.Sleep(10 * time.Minute)
		if n := w.offline(ids); n < 300 {
			t.Errorf("%d of 400 are offline", n)
		}
		if w.stats().Stopped != "braked" || w.logged("reconciliation stopped by its brake") != 1 {
			t.Errorf("%+v", w.stats())
		}
	})
}

// A slow product holds nothing up, and the end of the server does not wait for it.
func TestASlowProductIsNotWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := w.people(10)
		w.product.set(func(p *product) { p.waiting = make(chan struct{}) })
		w.start()
		time.Sleep(time.Hour)
		if w.offline(ids) != 0 || w.stats().Full != 0 || w.stats().Failed == 0 {
			t.Errorf("%+v", w.stats())
		}
		begun := time.Now()
		w.runner.Stop()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// Settings are taken up; what stays the same goes on, and what is removed ends.
func TestSourcesAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, true)
		w.people(3)
		w.start()
		time.Sleep(time.Hour / 2)
		calls := w.stats().Calls
		w.source.Reconcile.Passes = &webhook.Passes{}
		w.start() // the same
		time.Sleep(time.Minute)
		if st := w.stats(); st.Calls != calls || !st.Asks {
			t.Errorf("the same settings begin anew: %+v", st)
		}
		w.source.Reconcile.Key = "another"
		w.start()
		time.Sleep(time.Minute)
		if st := w.stats(); st.Calls <= calls || !st.Asks || st.Full == 0 {
			t.Errorf("other settings were not taken up: %+v", st)
		}
		w.runner.Replace(nil)
		calls = int64(w.product.called())
		time.Sleep(3 * time.Hour)
		if n := w.product.called(); int64(n) != calls || len(w.runner.Stats()) != 0 {
			t.Errorf("%d calls after the source is gone", n)
		}
		if _, err := w.runner.Begin("one", "im", reconcile.Options{}); err == nil {
			t.Error("a run of a source that is gone begins")
		}
	})
}

// Calls are spread by the rate of the source.
func TestCallsKeepTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, true)
		w.product.batch = 10
		w.source.Reconcile.Rate = 5
		w.people(1000)
		w.start()
		time.Sleep(10 * time.Minute)
		at := w.product.at
		if len(at) != 100 {
			t.Fatalf("%d calls", len(at))
		}
		for i := range at[5:] {
			if gap := at[i+5].Sub(at[i]); gap < time.Second {
				t.Fatalf("five calls in %v", gap)
			}
		}
	})
}

// A product whose answers are a minute old is found out: what it says of those who have just logged
// out comes to count less.
func TestOldAnswersAreFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, true)
		w.source.Reconcile.Every = 24 * time.Hour
		ids := w.people(40)
		w.start()
		time.Sleep(time.Hour)
		for _, id := range ids {
			w.event(id, presence.KindOffline, presence.CauseLogout)
			time.AfterFunc(time.Minute, func() { w.gone(id) }) // its cache
			time.Sleep(10 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		if n := w.logged("answers of the product are older than expected"); n != 1 || w.stats().Quiet != 60 {
			t.Errorf("said %d times, the quiet is %g s", n, w.stats().Quiet)
		}
		if w.product.askedAbout(ids[39]) < 2 {
			t.Error("the last was not asked about")
		}
		if w.status(ids[39]) != presence.Offline {
			t.Error("an old answer revived a peer after it was found out")
		}
	})
}
