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
			reports[i].Source, reports[i].Node, reports[i].Lease = presence.SourceGateway, node, 0
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
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n2", lease, false, b.now))
	b.onNode("n1", "tom")
	b.pass(lease - time.Millisecond)
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost early", lost)
	}
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
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
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n2", lease, false, b.now))
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
	b.must(b.Store.Heartbeat(b.ctx, "n2", lease, false, b.now))
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
			_, e := st.EndNode(lost, b.now, &b.Rules)
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
		b.Errorf("%v are on a node that no report has named", keys)
	}
}

func nodeDrained(b *bench) {
	b.must(b.Store.Heartbeat(b.ctx, "n1", 15*time.Second, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n1", 30*time.Second, true, b.now))
	b.pass(30*time.Second - time.Millisecond)
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost early", lost)
	}
	b.now++
	if l, ok := b.lost()["n1"]; !ok || !l.Drained {
		b.Errorf("n1 is lost: %t as %+v, want drained", ok, l)
	}
}

// lastHeartbeat: a lost node comes with the time until which its sessions were surely alive.
func lastHeartbeat(b *bench) {
	const beat, lease = 5 * time.Second, 15 * time.Second
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n2", lease, false, b.now))
	b.onNode("n1", "tom")
	b.onNode("n2", "ann")
	b.pass(beat)
	seen := b.now
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, seen))
	b.pass(beat)
	drained := b.now
	b.must(b.Store.Heartbeat(b.ctx, "n2", 30*time.Second, true, drained))
	b.pass(time.Minute)
	b.lostAt("n1", seen)
	b.lostAt("n2", drained)
	b.endNodes()
	for peer, want := range map[string]presence.Millis{"tom": seen, "ann": drained} {
		if s := b.summary(peer); s.Status != presence.Offline || s.LastSeen != want {
			b.Errorf("%s is %v, last seen %d, want offline, last seen %d: the last sign of life of its node", peer, s.Status, s.LastSeen, want)
		}
	}
}

func (b *bench) lostAt(node presence.NodeID, seen presence.Millis) {
	b.Helper()
	if l, ok := b.lost()[node]; !ok || l.Seen != seen {
		b.Errorf("%s is lost: %t, last heartbeat %d, want %d", node, ok, l.Seen, seen)
	}
}

// endNodes ends the sessions of every lost node, as the sweep does.
func (b *bench) endNodes() {
	b.Helper()
	for _, l := range b.lost() {
		keys, err := b.Store.OnNode(b.ctx, l.Node, 100)
		b.must(err)
		b.must(b.Store.Update(b.ctx, keys, b.now, func(_ int, st *presence.State) presence.Effect {
			_, e := st.EndNode(l, b.now, &b.Rules)
			return e
		}))
		b.must(b.Store.DropNode(b.ctx, l.Node, l.At))
	}
}

func heartbeatOverRestart(b *bench) { b.heartbeatsStay(b.Reopen) }

func heartbeatOverKill(b *bench) { b.heartbeatsStay(b.Kill) }

func (b *bench) heartbeatsStay(again func(presence.Millis) presence.Store) {
	b.must(b.Store.Heartbeat(b.ctx, "n1", 15*time.Second, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n2", 15*time.Second, false, b.now))
	b.onNode("n1", "tom")
	b.onNode("n2", "ann")
	for range 2000 { // more than one file of them may hold
		b.pass(5 * time.Second)
		b.must(b.Store.Heartbeat(b.ctx, "n1", 15*time.Second, false, b.now))
		b.must(b.Store.Heartbeat(b.ctx, "n2", 15*time.Second, false, b.now))
	}
	seen := b.now
	b.pass(5 * time.Second)
	drained := b.now
	b.must(b.Store.Heartbeat(b.ctx, "n2", 30*time.Second, true, drained))
	b.pass(3 * time.Second)
	b.Store = again(b.now)
	b.pass(10 * time.Minute)
	b.lostAt("n1", seen)
	b.lostAt("n2", drained)
	b.endNodes()
	b.Store = again(b.now)
	b.pass(10 * time.Minute)
	if s := b.summary("tom"); s.LastSeen != seen {
		b.Errorf("tom was last seen at %d, want %d", s.LastSeen, seen)
	}
}

// silentNode: a node that has sent no heartbeat leases nothing and is never lost; its sessions have
// their own leases.
func silentNode(b *bench) {
	b.leasedOn("n1", "tom")
	b.beats(false, "n1")
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost, and never sent a heartbeat", lost)
	}
	b.is(presence.Online, "tom")
	b.pass(time.Minute - 1)
	b.dueAre()
	b.is(presence.Online, "tom")
	b.pass(time.Millisecond)
	b.dueAre("tom")
	b.sweep(10)
	b.is(presence.Offline, "tom")
	if lost := b.lost(); len(lost) != 0 {
		b.Errorf("%v are lost, and never sent a heartbeat", lost)
	}
}

// firstHeartbeat: the sessions of a node are found on it before its first heartbeat, hang on it
// from then on, and end with it.
func firstHeartbeat(b *bench) {
	const lease = 15 * time.Second
	peers := names("p", 100)
	b.leasedOn("n1", peers...)
	b.leasedOn("n2", "ann")
	b.beats(false, "n1", "n2", "n3")
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n3", lease, true, b.now))
	b.beats(true, "n1", "n3")
	b.beats(false, "n2")
	keys, err := b.Store.OnNode(b.ctx, "n1", 1000)
	b.must(err)
	if len(keys) != len(peers) {
		b.Fatalf("%d peers are on the node, want %d", len(keys), len(peers))
	}
	b.must(b.Store.Update(b.ctx, keys, b.now, func(_ int, st *presence.State) presence.Effect { return st.Hang("n1", b.now) }))
	b.pass(2 * time.Minute)
	b.must(b.Store.Heartbeat(b.ctx, "n1", lease, false, b.now))
	b.sweep(1000)
	b.is(presence.Online, peers...)
	b.is(presence.Offline, "ann")
	b.pass(lease)
	b.endNodes()
	b.is(presence.Offline, peers...)
	if s := b.summary(peers[7]); s.Cause != presence.CauseNodeLost || s.LastSeen != b.now.Add(-lease) {
		b.Errorf("%s ended as %v, last seen %d; want node lost, %d", peers[7], s.Cause, s.LastSeen, b.now.Add(-lease))
	}
	b.beats(false, "n1", "n3")
}

// leasedOn reports peers online with a lease of a minute, on a node.
func (b *bench) leasedOn(node presence.NodeID, peers ...string) {
	b.Helper()
	for _, p := range peers {
		r := b.on(p, "socket")
		r.Node = node
		b.report(r)
	}
}

func (b *bench) beats(want bool, nodes ...presence.NodeID) {
	b.Helper()
	beats, err := b.Store.Heartbeats(b.ctx, nodes)
	b.must(err)
	for i, n := range nodes {
		if beats[i] != want {
			b.Errorf("%s has sent a heartbeat: %t, want %t", n, beats[i], want)
		}
	}
}

func silentOverRestart(b *bench) { b.staySilent(b.Reopen) }

func silentOverKill(b *bench) { b.staySilent(b.Kill) }

// staySilent: a restart makes no node of a name, and forgets none that has sent a heartbeat, though
// its sessions have their own leases.
func (b *bench) staySilent(again func(presence.Millis) presence.Store) {
	b.leasedOn("n1", "tom")
	b.leasedOn("n2", "ann")
	b.must(b.Store.Heartbeat(b.ctx, "n2", 15*time.Second, false, b.now))
	seen := b.now
	b.pass(5 * time.Second)
	b.Store = again(b.now)
	b.beats(false, "n1")
	b.beats(true, "n2")
	b.pass(50 * time.Second) // the grace of the store is over, the leases are not
	b.lostAt("n2", seen)
	b.endNodes()
	b.is(presence.Online, "tom")
	b.is(presence.Offline, "ann")
	b.Store = again(b.now)
	b.beats(false, "n1", "n2")
	b.is(presence.Online, "tom")
}

func restoredNodes(b *bench) {
	b.must(b.Store.Heartbeat(b.ctx, "n1", 15*time.Second, false, b.now))
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
	b.must(b.Store.Heartbeat(b.ctx, "n2", hour, false, b.now))
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
		b.must(b.Store.Heartbeat(b.ctx, n, 15*time.Second, false, b.now))
		b.onNode(n, "on "+string(n))
	}
	b.must(b.Store.Heartbeat(b.ctx, "n1", 30*time.Second, true, b.now))
	b.must(b.Store.Heartbeat(b.ctx, "n2", 30*time.Second, true, b.now))
	// Its end was reported; what comes under its name is another.
	b.must(b.Store.DropNode(b.ctx, "n2", b.now.Add(30*time.Second)))
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

// hangsLater: a session has a lease of its own although it names a node, and a later report leaves
// it to the node, which has sent no heartbeat.
func hangsLater(b *bench) {
	r := b.on("tom", "1")
	r.Node = "n1"
	b.report(r)
	b.pass(time.Second)
	r.At, r.Lease = b.now, 0
	b.report(r)
	if got := b.list(10); len(got) != 1 {
		b.Errorf("%q are listed, want tom", got)
	}
	keys, err := b.Store.OnNode(b.ctx, "n1", 10)
	b.must(err)
	if len(keys) != 1 {
		b.Errorf("%v are on the node, want tom", keys)
	}
}
