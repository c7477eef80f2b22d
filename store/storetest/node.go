package storetest

import (
	"fmt"
	"time"

	"rollcall/presence"
)

func (b *bench) onNode(node presence.NodeID, peers ...string) {
	b.Helper()
	for len(peers) > 0 {
		n := min(500, len(peers))
		reports := make([]presence.Report, n)
		for i, p := range peers[:n] {
			reports[i] = b.on(p, "socket")
			reports[i].Source, reports[i].Node = presence.SourceGateway, node
		}
		b.report(reports...)
		peers = peers[n:]
	}
}

func (b *bench) lost() map[presence.NodeID]presence.LostNode {
	b.Helper()
	nodes, err := b.Store.LostNodes(b.ctx, b.now)
	b.must(err)
	lost := map[presence.NodeID]presence.LostNode{}
	for _, n := range nodes {
		lost[n.Node] = n
	}
	return lost
}

func nodeBeats(b *bench) {
	const lease = 15 * time.Second
	b.must(b.Store.Beat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Beat(b.ctx, "n2", lease, false, b.now))
	b.onNode("n1", "tom")
	b.pass(lease - time.Millisecond)
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost early", lost)
	}
	b.must(b.Store.Beat(b.ctx, "n1", lease, false, b.now))
	b.now++
	lost := b.lost()
	if _, ok := lost["n2"]; !ok || len(lost) != 1 {
		b.Errorf("lost are %v, want n2", lost)
	}
	for _, n := range []presence.NodeID{"n1", "n2", "n2", "nobody"} {
		b.must(b.Store.DropNode(b.ctx, n, lost["n2"].At)) // n1 has beaten since, and stays
	}
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost after they were dropped", lost)
	}
	b.is(presence.Online, "tom")
	b.dueAre()
	b.pass(lease)
	if _, ok := b.lost()["n1"]; !ok {
		b.Error("n1 was forgotten though it had beaten since, and is never found lost")
	}
}

func nodeEnds(b *bench) {
	const lease = 15 * time.Second
	b.must(b.Store.Beat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Beat(b.ctx, "n2", lease, false, b.now))
	peers := names("p", 700)
	b.onNode("n1", peers...)
	b.onNode("n2", "elsewhere")
	both := b.on(peers[0], "hook")
	both.Lease = hour
	b.report(both)
	b.now++
	left := b.off(peers[1], "socket")
	left.Source = presence.SourceGateway
	b.report(left)
	b.pass(lease)
	b.must(b.Store.Beat(b.ctx, "n2", lease, false, b.now))
	lost := b.lost()["n1"]
	if want := b.Now.Add(lease); lost.At != want || lost.Drained {
		b.Errorf("n1 is lost as %+v, want at %d, not drained", lost, want)
	}
	ended := map[presence.Key]bool{}
	for {
		keys, err := b.Store.OnNode(b.ctx, "n1", 64)
		b.must(err)
		if len(keys) == 0 {
			break
		}
		if len(keys) > 64 {
			b.Fatalf("%d peers on the node, the limit was 64", len(keys))
		}
		for _, k := range keys {
			if ended[k] {
				b.Fatalf("%s comes again after it was ended", k.Peer)
			}
			ended[k] = true
		}
		b.must(b.Store.Update(b.ctx, keys, b.now, func(_ int, st *presence.State) presence.Effect {
			_, e := st.EndNode("n1", lost.At, b.now, presence.CauseNodeLost, &b.Rules)
			return e
		}))
	}
	b.must(b.Store.DropNode(b.ctx, "n1", lost.At))
	if len(ended) != len(peers)-1 {
		b.Errorf("%d peers were on the node, want %d", len(ended), len(peers)-1)
	}
	b.is(presence.Online, "elsewhere", peers[0])
	b.is(presence.Offline, peers[1:]...)
	if s := b.summary(peers[5]); s.Cause != presence.CauseNodeLost {
		b.Errorf("%s ended as %v, want node lost", peers[5], s.Cause)
	}
	keys, err := b.Store.OnNode(b.ctx, "nobody", 10)
	b.must(err)
	if len(keys) != 0 {
		b.Errorf("%v are on a node nobody has heard of", keys)
	}
}

func nodeDrained(b *bench) {
	b.must(b.Store.Beat(b.ctx, "n1", 15*time.Second, false, b.now))
	b.must(b.Store.Beat(b.ctx, "n1", 30*time.Second, true, b.now))
	b.pass(30*time.Second - time.Millisecond)
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost early", lost)
	}
	b.now++
	if l, ok := b.lost()["n1"]; !ok || !l.Drained {
		b.Errorf("n1 is lost: %t as %+v, want drained", ok, l)
	}
}

func restoredNodes(b *bench) {
	b.must(b.Store.Beat(b.ctx, "n1", 15*time.Second, false, b.now))
	b.onNode("n1", "tom")
	b.onNode("n2", "ann")
	b.pass(hour)
	b.Store = b.Reopen(b.now)
	b.is(presence.Online, "tom", "ann")
	switch lost := b.lost(); {
	case !b.Shared && len(lost) != 0:
		b.Errorf("%v are lost at the start", lost)
	case b.Shared && (len(lost) != 2 || lost["n1"].At != b.Now.Add(15*time.Second)):
		b.Errorf("lost are %v, want n1 and n2, when their leases ended: somebody else could have seen them beat", lost)
	}
	b.must(b.Store.Beat(b.ctx, "n2", hour, false, b.now))
	b.pass(10 * time.Minute)
	lost := b.lost()
	if _, ok := lost["n1"]; !ok || len(lost) != 1 {
		b.Errorf("lost are %v, want n1", lost)
	}
	keys, err := b.Store.OnNode(b.ctx, "n1", 10)
	b.must(err)
	if fmt.Sprint(keys) != fmt.Sprint([]presence.Key{keyOf("tom")}) {
		b.Errorf("on n1 are %v, want tom", keys)
	}
}

func drainedOverRestart(b *bench) { b.staysDrained(b.Reopen) }

func drainedOverKill(b *bench) { b.staysDrained(b.Kill) }

func (b *bench) staysDrained(again func(presence.Millis) presence.Store) {
	for _, n := range []presence.NodeID{"n1", "n2", "n3"} {
		b.must(b.Store.Beat(b.ctx, n, 15*time.Second, false, b.now))
		b.onNode(n, "on "+string(n))
	}
	b.must(b.Store.Beat(b.ctx, "n1", 30*time.Second, true, b.now))
	b.must(b.Store.Beat(b.ctx, "n2", 30*time.Second, true, b.now))
	b.must(b.Store.DropNode(b.ctx, "n2", b.now.Add(30*time.Second))) // its end was told; what comes under its name is another
	b.pass(5 * time.Second)
	b.Store = again(b.now)
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost early", lost)
	}
	b.pass(10 * time.Minute)
	lost := b.lost()
	if !lost["n1"].Drained || lost["n2"].Drained || lost["n3"].Drained {
		b.Errorf("lost are %v, want only n1 drained", lost)
	}
	if _, ok := lost["n3"]; !ok {
		b.Errorf("lost are %v, want n3 too", lost)
	}
}
