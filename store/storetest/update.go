package storetest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rollcall/presence"
)

const hour = time.Hour

func repeatsInBatch(b *bench) {
	outs := b.report(b.on("tom", "1"), b.on("ann", "1"), b.off("tom", "1"), b.on("tom", "2"), b.on("tom", "2"), b.off("tom", "2"))
	want := []presence.Verdict{presence.Taken, presence.Taken, presence.Taken, presence.Taken, presence.Double, presence.Taken}
	for i := range want {
		// A tie between an online and an offline of one session goes as the rules say; the store
		// only has to show each merge what the one before it left.
		if outs[i].Verdict != want[i] && i != 2 && i != 5 {
			b.Errorf("report %d was %v, want %v", i, outs[i].Verdict, want[i])
		}
	}
	b.is(outs[5].Summary.Status, "tom")
	b.is(presence.Online, "ann")

	// Two hundred of one peer, mixed with others, in one call.
	var keys []presence.Key
	for i := range 200 {
		keys = append(keys, keyOf("sum"), keyOf(fmt.Sprint("other", i)))
	}
	b.must(b.Store.Update(b.ctx, keys, b.now, addOne(b.now)))
	if got := b.load(keyOf("sum")).Slots[0].Open; got != 200 {
		b.Errorf("200 additions in one batch make %d", got)
	}
}

// addOne is a merge that is not idempotent, so that a lost or doubled one shows.
func addOne(now presence.Millis) presence.Merge {
	return func(_ int, st *presence.State) presence.Effect {
		if len(st.Slots) == 0 {
			st.Slots = append(st.Slots, presence.Slot{Source: presence.SourceAPI})
			st.Status, st.Since = presence.Online, now
		}
		st.Slots[0].Open++
		st.Slots[0].At, st.Slots[0].Start, st.Slots[0].Until = now, now, now.Add(hour)
		st.Until = now.Add(hour)
		return presence.Shown
	}
}

func noLostUpdate(b *bench) {
	const writers, each = 64, 20
	var wg sync.WaitGroup
	var failed atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				keys := []presence.Key{keyOf("hot"), keyOf(fmt.Sprint("warm", w%8)), keyOf(fmt.Sprint("cold", w, ".", i))}
				if err := b.Store.Update(b.ctx, keys, b.now, addOne(b.now)); err != nil {
					failed.Add(1)
					b.Errorf("update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		return
	}
	if got := b.load(keyOf("hot")).Slots[0].Open; got != writers*each {
		b.Errorf("%d updates of one peer make %d", writers*each, got)
	}
	for w := range 8 {
		if got := b.load(keyOf(fmt.Sprint("warm", w))).Slots[0].Open; got != writers*each/8 {
			b.Errorf("%d updates of warm%d make %d", writers*each/8, w, got)
		}
	}
	b.counts(presence.Counts{Online: 1 + 8 + writers*each, Known: 1 + 8 + writers*each})
}

func sameWritesNothing(b *bench) {
	b.report(b.on("tom", "1"))
	before := b.load(keyOf("tom"))
	b.now++
	b.must(b.Store.Update(b.ctx, []presence.Key{keyOf("tom"), keyOf("nobody")}, b.now, func(_ int, st *presence.State) presence.Effect {
		st.Status, st.Since, st.Until = presence.Offline, b.now, 0 // not kept: it says so
		st.Sessions = nil
		return presence.Same
	}))
	if diff := cmp.Diff(before, b.load(keyOf("tom")), cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("the state has changed:\n%s", diff)
	}
	b.is(presence.Unknown, "nobody")
}

func statesComeBack(b *bench) {
	r := b.on("tom", "s1")
	r.Device, r.Node, r.Incarnation, r.Hold = "phone", "n1", b.now-5000, 3*time.Second
	slot := b.on("tom", "")
	slot.Source, slot.Tag, slot.ID = presence.SourceLeanCloud, "Mobile", "delivery-1"
	ended := b.off("tom", "s2")
	ended.Source = "emqx"
	b.report(r, slot, ended)

	var want presence.State
	for _, r := range []presence.Report{r, slot, ended} {
		want.Apply(&r, b.now, &b.Rules)
	}
	got := b.load(keyOf("tom"))
	if got.Rev < uint64(b.now) {
		b.Errorf("rev %d is below the time of the write, %d", got.Rev, b.now)
	}
	want.Rev = got.Rev
	packed := want.Pack(nil)
	want = presence.State{}
	b.must(want.Unpack(packed))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("the state differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Summary(), b.summary("tom")); diff != "" {
		b.Errorf("the summary differs (-want +got):\n%s", diff)
	}
}

func bigStates(b *bench) {
	long := strings.Repeat("d", presence.MaxName)
	for _, n := range []int{1, 3, 30, 300, 2, 600, 40, 0} {
		b.pass(time.Second)
		b.erase(keyOf("tom"))
		var reports []presence.Report
		for i := range n {
			r := b.on("tom", fmt.Sprint("session-", i))
			r.Device = long
			reports = append(reports, r)
		}
		b.report(append(reports, b.on("neighbour", "1"))...)
		if got := len(b.load(keyOf("tom")).Sessions); got != n {
			b.Errorf("%d sessions came back, want %d", got, n)
		}
	}
}

func revsRise(b *bench) {
	var last uint64
	for i := range 50 {
		if i%10 == 0 {
			b.now++ // most writes fall into one millisecond
		}
		b.must(b.Store.Update(b.ctx, []presence.Key{keyOf("tom")}, b.now, addOne(b.now)))
		rev := b.summary("tom").Rev
		if rev <= last {
			b.Fatalf("rev %d follows %d", rev, last)
		}
		last = rev
	}
}

func revsRiseOverErase(b *bench) {
	var last uint64
	for i := range 30 {
		for range i % 5 {
			b.must(b.Store.Update(b.ctx, []presence.Key{keyOf("tom")}, b.now, addOne(b.now)))
		}
		b.report(b.on("tom", fmt.Sprint(i)))
		rev := b.summary("tom").Rev
		if rev <= last {
			b.Fatalf("rev %d follows %d, in round %d", rev, last, i)
		}
		last = rev
		b.erase(keyOf("tom"))
		b.is(presence.Unknown, "tom")
	}
}

func revsRiseOverClock(b *bench) {
	b.report(b.on("tom", "1"))
	rev := b.summary("tom").Rev
	b.pass(-hour)
	b.must(b.Store.Update(b.ctx, []presence.Key{keyOf("tom")}, b.now, addOne(b.now)))
	if got := b.summary("tom").Rev; got <= rev {
		b.Errorf("rev %d follows %d", got, rev)
	}
}

func readYourWrites(b *bench) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			peers := names(fmt.Sprint("w", w, "-"), 5)
			for i := range 10 {
				mine := *b
				mine.now = b.now.Add(time.Duration(i) * time.Second)
				var reports []presence.Report
				want := presence.Online
				for _, p := range peers {
					if i%2 == 0 {
						reports = append(reports, mine.on(p, "1"))
					} else {
						reports = append(reports, mine.off(p, "1"))
						want = presence.Offline
					}
				}
				if _, err := mine.tryReport(reports...); err != nil {
					b.Errorf("report: %v", err)
					return
				}
				ids := make([][]byte, len(peers))
				for k, p := range peers {
					ids[k] = []byte(p)
				}
				out := make([]presence.Status, len(peers))
				if _, err := b.Store.Statuses(b.ctx, app, ids, mine.now, out); err != nil {
					b.Errorf("statuses: %v", err)
					return
				}
				for k := range out {
					if out[k] != want {
						b.Errorf("%s is %v right after its report, want %v", peers[k], out[k], want)
					}
				}
			}
		})
	}
	wg.Wait()
}

func forgottenRemoved(b *bench) {
	b.report(b.on("tom", "1"), b.on("ann", "1"))
	b.erase(keyOf("tom"), keyOf("tom"), keyOf("nobody"))
	b.is(presence.Unknown, "tom")
	b.is(presence.Online, "ann")
	if st := b.load(keyOf("tom")); !st.Forgotten() {
		b.Errorf("the state of an erased peer is %+v", st)
	}
	b.counts(presence.Counts{Online: 1, Known: 1, Today: 1})
	b.report(b.on("tom", "2"))
	b.is(presence.Online, "tom")
	// Many come and go in the place of others.
	for round := range 20 {
		peers := names(fmt.Sprint("r", round, "-"), 100)
		var reports []presence.Report
		var keys []presence.Key
		for _, p := range peers {
			reports = append(reports, b.on(p, "1"))
			keys = append(keys, keyOf(p))
		}
		b.report(reports...)
		b.is(presence.Online, peers...)
		b.erase(keys...)
		b.is(presence.Unknown, peers...)
		b.is(presence.Online, "tom", "ann")
	}
	b.counts(presence.Counts{Online: 2, Known: 2, Today: 2})
}

func mergeRefuses(b *bench) {
	b.report(b.on("tom", "1"))
	before := b.load(keyOf("tom"))
	for range 5 {
		b.report(b.on("tom", "1")) // a double
	}
	if diff := cmp.Diff(before, b.load(keyOf("tom")), cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("doubles changed the state:\n%s", diff)
	}
}

func listeners(b *bench) {
	signals := make(chan presence.Key, 1000)
	stop := b.Store.Listen(func(keys []presence.Key) {
		for _, k := range keys {
			signals <- k
		}
		if keys == nil {
			signals <- keyOf("all")
		}
	})
	defer stop()
	b.report(b.on("tom", "1"))
	b.awaitSignal(signals, keyOf("tom"))
	b.report(b.on("ann", "1"), b.on("bob", "1"))
	b.awaitSignal(signals, keyOf("ann"))
	b.pass(2 * time.Minute)
	b.sweep(10)
	b.awaitSignal(signals, keyOf("bob"))
	b.erase(keyOf("tom"))
	b.awaitSignal(signals, keyOf("tom"))
}

// awaitSignal waits until a signal about key, or about all, has come.
func (b *bench) awaitSignal(signals <-chan presence.Key, key presence.Key) {
	b.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case k := <-signals:
			if k == key || k == keyOf("all") {
				return
			}
		case <-deadline:
			b.Fatalf("no signal about %v", key)
		}
	}
}

func listenerStops(b *bench) {
	var first, second atomic.Int64
	signals := make(chan presence.Key, 100)
	stop := b.Store.Listen(func([]presence.Key) { first.Add(1) })
	defer b.Store.Listen(func(keys []presence.Key) {
		second.Add(1)
		for _, k := range keys {
			signals <- k
		}
	})()
	stop()
	stop()
	b.report(b.on("tom", "1"))
	b.awaitSignal(signals, keyOf("tom"))
	if first.Load() != 0 {
		b.Errorf("a listener that stopped signals %d signals", first.Load())
	}
	if second.Load() == 0 {
		b.Error("its neighbour signals nothing")
	}
}
