package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// twoNodes are two gateways that share a real Redis.
func twoNodes(t *testing.T) (a, b *world) {
	t.Helper()
	redis := redistest.Run(t)
	return nodeOn(t, redis, settings{node: "node-a"}, redisstore.DefaultJournal), nodeOn(t, redis, settings{node: "node-b"}, redisstore.DefaultJournal)
}

// nodeOn is a gateway on a real Redis, which remembers for the journal's time what it was
// acknowledged.
func nodeOn(t *testing.T, redis *redistest.Server, s settings, journal time.Duration) *world {
	t.Helper()
	cfg := redisstore.DefaultConfig()
	cfg.RecipeApp, cfg.Deadline = appID, time.Minute // a busy machine is no outage
	store, err := redisstore.Open(context.Background(), cfg, redisstore.Deps{URL: "redis://" + redis.Addr, Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	s.store, s.shared, s.wall = store, true, true
	s.gateway = func(c *gateway.Config) { c.MaxSessions, c.MessageRate = 10_000, 1e6 }
	w := newWorld(t, s)
	t.Cleanup(func() { // before the world's own
		w.close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestWhoLeftDoesNotComeBackWithOldData: Redis comes back with an old dump. Ann left since, longer
// ago than the journal reaches, and is online there, on a node that lives; Tom came since and is
// not there.
func TestWhoLeftDoesNotComeBackWithOldData(t *testing.T) {
	redis := redistest.Run(t)
	w := nodeOn(t, redis, settings{node: "node-a"}, time.Millisecond)
	ann, bob := w.dial("lc.protobuf2.3"), w.dial("lc.protobuf2.3")
	ann.login("Ann", message{sDevice: "a"})
	bob.login("Bob", message{sDevice: "b"})
	redis.Do(t, "SAVE")
	if x := ann.ask(message{fCmd: 0, fOp: opClose, fI: 2}); x.number(fOp) != opClosed {
		t.Fatalf("the close was answered by %v", x)
	}
	w.dial("lc.protobuf2.3").login("Tom", message{sDevice: "t"})
	redis.Kill()
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	w.until("Ann's old session is ended", func() bool { return w.gw.Stats().Disowned == 1 })
	if w.online("Ann") || !w.online("Bob") || !w.online("Tom") {
		t.Errorf("online are Ann %v, Bob %v, Tom %v; want Bob and Tom", w.online("Ann"), w.online("Bob"), w.online("Tom"))
	}
}

func (w *world) online(peer string) bool {
	w.t.Helper()
	out := make([]presence.Status, 1)
	if _, err := w.store.Statuses(context.Background(), appID, [][]byte{[]byte(peer)}, w.svc.Leases(presence.MillisOf(time.Now())), out); err != nil {
		w.t.Fatal(err)
	}
	return out[0] == presence.Online
}

func TestAPeerOnTwoNodesIsOnlineUntilTheLastSessionEnds(t *testing.T) {
	a, b := twoNodes(t)
	ca, cb := a.dial("lc.protobuf2.3"), b.dial("lc.protobuf2.3")
	ca.login("Tom", message{sDevice: "a"})
	cb.login("Tom", message{sDevice: "b"})
	if x := ca.ask(message{fCmd: 0, fOp: opClose, fI: 2}); x.number(fOp) != opClosed {
		t.Fatalf("the close was answered by %v", x)
	}
	if !a.online("Tom") || !b.online("Tom") {
		t.Error("Tom is offline while his session on the other node is open")
	}
	if x := cb.ask(message{fCmd: 0, fOp: opClose, fI: 2}); x.number(fOp) != opClosed {
		t.Fatalf("the close was answered by %v", x)
	}
	if b.online("Tom") {
		t.Error("Tom is online after his last session ended, on the node where it did")
	}
	a.until("the other node sees it too", func() bool { return !a.online("Tom") })
}

func TestAKickReachesTheSocketOnTheOtherNode(t *testing.T) {
	a, b := twoNodes(t)
	c := b.dial("lc.protobuf2.3")
	st := c.login("Tom", nil)
	if err := a.gw.Kick(context.Background(), appID, "Tom", "because"); err != nil {
		t.Fatal(err)
	}
	m := parse(t, c.receive())
	if s := m.sub(fSession); s.number(sCode) != 4115 || s.text(sReason) != "because" {
		t.Errorf("the client hears %v", m)
	}
	if x := b.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sR: 1, sSt: st})); x.code() != 4112 {
		t.Errorf("its token was answered by %v", x)
	}
}

// The old connection is dead, the new one answers pings. The first node ends the old session when a
// probe is not answered, or with its lease where the process stands still too often for a probe to
// count. (TestADeviceThatMovesIsAnEndOnTheFirstNode has the probe decide, in fake time.)
func TestADeviceMovesFromOneNodeToTheOther(t *testing.T) {
	a, b := twoNodes(t)
	old := a.dial("lc.protobuf2.3")
	st := old.login("Tom", message{sTag: "Mobile", sDevice: "d"})
	back := b.dial("lc.protobuf2.3")
	back.login("Tom", message{sR: 1, sSt: st})
	back.conn.CloseRead(t.Context()) // reads on, and so answers pings
	a.until("the first node lets go of it", func() bool {
		if !a.online("Tom") || !b.online("Tom") {
			t.Fatal("Tom is offline while he moves")
		}
		return a.gw.Stats().Sessions == 0
	})
	_ = old.conn.CloseNow()
	a.until("the old socket is gone", func() bool { return a.gw.Stats().Sockets == 0 && a.gw.Idle() })
	if !a.online("Tom") || !b.online("Tom") || b.gw.Stats().Sessions != 1 {
		t.Error("the end of the old socket ended the session on the new one")
	}
	// The order of the hooks is that of the sender, which waits for those of the old node.
	if !strings.HasPrefix(a.story(), "online Tom, offline Tom ") || b.story() != "online Tom" {
		t.Errorf("the first node sends %q, the second %q; want the end on the first, too", a.story(), b.story())
	}
}

func TestADeviceThatIsPushedOutFromTheOtherNodeIsNotified(t *testing.T) {
	a, b := twoNodes(t)
	old := a.dial("lc.protobuf2.3")
	old.login("Tom", message{sTag: "Mobile", sDevice: "d"})
	b.dial("lc.protobuf2.3").login("Tom", message{sTag: "Mobile", sDevice: "e"})
	if m := parse(t, old.receive()); m.sub(fSession).number(sCode) != 4111 {
		t.Errorf("the device that was pushed out hears %v", m)
	}
	if a.story() != "online Tom, offline Tom replaced" || b.story() != "online Tom" {
		t.Errorf("the first node sends %q, the second %q", a.story(), b.story())
	}
}

// On one node the order is known: the end of the dead connection is an event, before the beginning
// of the one that follows.
func TestADeviceThatComesBackOnItsNodeIsAnEndAndABeginning(t *testing.T) {
	w := newWorld(t, settings{})
	// Is not read, so the ping gets no answer.
	w.dial("lc.protobuf2.3").login("Tom", message{sDevice: "d"})
	w.dial("lc.protobuf2.3").login("Tom", message{sDevice: "d"})
	w.until("the dead connection is off the books", func() bool { return w.gw.Stats().Sessions == 1 })
	if want := "online Tom, offline Tom replaced, online Tom"; w.story() != want {
		t.Errorf("events %q, want %q", w.story(), want)
	}
}

func TestOneTagOnTwoNodesAtTheSameInstantLeavesExactlyOne(t *testing.T) {
	a, b := twoNodes(t)
	nodes := [2]*client{a.dial("lc.protobuf2.3"), b.dial("lc.protobuf2.3")}
	received := make(chan message, 100)
	for _, c := range nodes {
		go func() {
			for {
				m, err := c.tryReceive()
				if err != nil {
					return
				}
				received <- parse(t, m)
			}
		}()
	}
	const rounds = 1000
	logins := [2]chan []byte{make(chan []byte), make(chan []byte)}
	for i, c := range nodes {
		defer close(logins[i])
		go func() {
			for m := range logins[i] {
				c.send(m)
			}
		}()
	}
	atOnce := 0
	for n := range rounds {
		peer := fmt.Sprintf("peer-%d", n)
		for i := range nodes {
			logins[i] <- build(open(peer, 1, message{sTag: "Mobile", sDevice: fmt.Sprint("device-", i)}))
		}
		opened, lost := 0, 0
		for opened+lost < 3 && (opened < 1 || lost < 1 || opened+lost < 2) {
			m := next1(t, received)
			if m.text(fPeer) != peer {
				// A late message about an earlier round would be a second loser; the state below
				// decides.
				continue
			}
			switch {
			case m.number(fOp) == opOpened:
				opened++
			case m.code() == 4111, m.number(fOp) == opClosed && m.sub(fSession).number(sCode) == 4111:
				lost++
			default:
				t.Fatalf("round %d: %v", n, m)
			}
		}
		if opened == 1 {
			atOnce++
		}
		if lost != 1 {
			t.Fatalf("round %d: %d opened, %d lost, want one that lost", n, opened, lost)
		}
		a.until("one session is left in the store", func() bool { return liveSessions(t, a, peer) == 1 })
	}
	a.until("each peer has one socket", func() bool { return a.gw.Stats().Sessions+b.gw.Stats().Sessions == rounds })
	t.Logf("of %d rounds %d were decided before the loser's login was answered", rounds, atOnce)
}

func next1(t *testing.T, received <-chan message) message {
	t.Helper()
	select {
	case m := <-received:
		return m
	case <-time.After(patience):
		t.Fatalf("nobody hears anything for %v", patience)
		return nil
	}
}

func liveSessions(t *testing.T, w *world, peer string) int {
	t.Helper()
	var st presence.State
	if err := w.svc.Load(context.Background(), presence.Key{App: appID, Peer: presence.PeerID(peer)}, &st); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range st.Sessions {
		if st.Sessions[i].Live(presence.MillisOf(time.Now())) {
			n++
		}
	}
	return n
}
