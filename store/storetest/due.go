package storetest

import (
	"fmt"
	"time"

	"rollcall/presence"
)

func (b *bench) dueAre(want ...string) {
	b.Helper()
	got := map[presence.Key]int{}
	for _, k := range b.due(1000) {
		got[k]++
	}
	for _, p := range want {
		if got[keyOf(p)] != 1 {
			b.Errorf("%s is due %d times, want once", p, got[keyOf(p)])
		}
		delete(got, keyOf(p))
	}
	for k := range got {
		b.Errorf("%s is due, and should not be", k.Peer)
	}
}

func (b *bench) leased(peer, session string, lease time.Duration) presence.Report {
	r := b.on(peer, session)
	r.Lease = lease
	return r
}

func dueAtDeadline(b *bench) {
	leases := map[string]time.Duration{
		"second": time.Second, "minute": time.Minute, "hour": time.Hour, "week": 7 * 24 * time.Hour,
		"month": presence.MaxLease, "odd": 1234 * time.Millisecond,
	}
	start := b.now
	for p, l := range leases {
		b.report(b.leased(p, "1", l))
	}
	noded := b.on("noded", "1")
	noded.Node, noded.Lease = "n1", 0
	b.report(noded)
	for _, p := range []string{"second", "odd", "minute", "hour", "week"} {
		b.now = start.Add(leases[p]) - 1
		for _, k := range b.due(100) {
			if k == keyOf(p) {
				b.Errorf("%s is due a millisecond early", p)
			}
		}
		b.now++
		b.dueAre(p)
		b.sweep(10)
		b.dueAre()
		b.is(presence.Offline, p)
		if s := b.summary(p); s.Status != presence.Offline || s.Cause != presence.CauseExpired {
			b.Errorf("%s ended as %v, %v; want offline, expired", p, s.Status, s.Cause)
		}
	}
	b.is(presence.Online, "month", "noded")
}

func dueUntilSettled(b *bench) {
	b.report(b.on("tom", "1"), b.on("ann", "1"))
	b.pass(time.Minute)
	for range 3 {
		b.dueAre("tom", "ann")
	}
	b.pass(time.Hour)
	b.dueAre("tom", "ann")
	b.must(b.Store.Update(b.ctx, []presence.Key{keyOf("tom")}, b.now, func(_ int, st *presence.State) presence.Effect {
		_, e := st.Expire(b.now, &b.Rules)
		return e
	}))
	b.dueAre("ann")
	b.report(b.on("ann", "2"))
	b.dueAre()
}

func dueInParts(b *bench) {
	const n = 1000
	for i := 0; i < n; i += 100 {
		var reports []presence.Report
		for k := i; k < i+100; k++ {
			reports = append(reports, b.leased(fmt.Sprint("p", k), "1", time.Duration(k+1)*10*time.Millisecond))
		}
		b.report(reports...)
	}
	seen := map[presence.Key]int{}
	for range 12 {
		b.pass(time.Second)
		for _, k := range b.sweep(7) {
			seen[k]++
		}
	}
	if len(seen) != n {
		b.Errorf("%d peers expired, want %d", len(seen), n)
	}
	for k, times := range seen {
		if times != 1 {
			b.Errorf("%s was due %d times", k.Peer, times)
		}
	}
}

func dueOverJumps(b *bench) {
	start := b.now
	b.report(b.leased("a", "1", time.Minute), b.leased("b", "1", 3*time.Hour), b.leased("c", "1", 20*24*time.Hour))
	b.dueAre()
	b.pass(-24 * time.Hour)
	b.dueAre()
	b.pass(26 * time.Hour)
	b.dueAre("a")
	b.now = start.Add(21 * 24 * time.Hour)
	b.dueAre("a", "b", "c")
	b.now = start
	b.dueAre()
	b.report(b.leased("d", "1", 2*time.Second))
	b.pass(2 * time.Second)
	b.dueAre("d")
	b.now = start.Add(365 * 24 * time.Hour)
	b.dueAre("a", "b", "c", "d")
	b.sweep(2)
	b.dueAre()
	b.is(presence.Unknown, "a", "b", "c", "d")
}

func renewedNotDue(b *bench) {
	b.report(b.on("tom", "1"))
	for range 200 {
		b.pass(30 * time.Second)
		b.report(b.touch("tom", "1"))
		b.dueAre()
	}
	b.pass(time.Minute)
	b.dueAre("tom")
	b.sweep(10)
	b.is(presence.Offline, "tom")
}

func dueOnce(b *bench) {
	for i := range 300 {
		b.pass(time.Second)
		if i%2 == 0 {
			b.report(b.on("tom", "1"))
		} else {
			b.report(b.off("tom", "1"))
		}
	}
	b.report(b.leased("tom", "2", time.Hour))
	b.report(b.leased("tom", "3", time.Second))
	b.pass(2 * time.Hour)
	b.dueAre("tom")
}

func offlineMemoryEnds(b *bench) {
	b.report(b.on("tom", "1"))
	b.now++
	b.report(b.off("tom", "1"))
	b.pass(b.Rules.OfflineMemory - time.Millisecond)
	for _, k := range b.sweep(10) {
		b.Errorf("%s was due early", k.Peer)
	}
	b.is(presence.Offline, "tom")
	b.now++
	b.dueAre("tom")
	b.sweep(10)
	b.is(presence.Unknown, "tom")
	b.counts(presence.Counts{})
	if st := b.load(keyOf("tom")); !st.Forgotten() {
		b.Errorf("the state of a forgotten peer is %+v", st)
	}
}

// A word about the reach of a device outlives what is known of the peer, who is unknown meanwhile,
// and goes when it is due.
func reachOutlivesThePeer(b *bench) {
	b.report(b.on("tom", "1"))
	b.now++
	b.report(b.off("tom", "1"))
	word := b.off("tom", "1")
	word.Kind, word.Session, word.Node, word.Device, word.Reach, word.Cause = presence.KindReach, "", "", "ios", presence.ReachNo, 0
	b.report(word)
	b.pass(b.Rules.OfflineMemory)
	b.sweep(10)
	b.is(presence.Unknown, "tom")
	b.counts(presence.Counts{})
	st := b.load(keyOf("tom"))
	if len(st.Reached) != 1 || st.Reached[0].Reach != presence.ReachNo {
		b.Fatalf("the words about reach are %+v", st.Reached)
	}
	b.pass(60*24*time.Hour - b.Rules.OfflineMemory - time.Second)
	for _, k := range b.sweep(10) {
		b.Errorf("%s was due early", k.Peer)
	}
	b.pass(time.Second)
	b.dueAre("tom")
	b.sweep(10)
	if st := b.load(keyOf("tom")); !st.Forgotten() || st.Rev != 0 {
		b.Errorf("the state of a forgotten peer is %+v", st)
	}
}
