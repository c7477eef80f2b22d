package redisstore_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// A moving is a slot that is on its way from one primary to another, and stays so until the test
// lets it arrive.
type moving struct {
	t        *testing.T
	cluster  *redistest.Cluster
	slot     string
	from, to *redistest.Server
}

// tag is in the ids of the peers that move: all their keys are in its slot.
const tag = "{moves}"

func newMoving(t *testing.T) *moving {
	m := &moving{t: t, cluster: redistest.RunCluster(t, 3, false)}
	m.slot = fmt.Sprint(m.cluster.Servers[0].Do(t, "CLUSTER", "KEYSLOT", tag))
	for _, s := range m.cluster.Servers {
		if _, err := s.Try("GET", tag); err == nil {
			m.from = s
		} else {
			m.to = s
		}
	}
	return m
}

// begin opens the slot on both sides.
func (m *moving) begin() {
	m.t.Helper()
	m.to.Do(m.t, "CLUSTER", "SETSLOT", m.slot, "IMPORTING", fmt.Sprint(m.from.Do(m.t, "CLUSTER", "MYID")))
	m.from.Do(m.t, "CLUSTER", "SETSLOT", m.slot, "MIGRATING", fmt.Sprint(m.to.Do(m.t, "CLUSTER", "MYID")))
}

// carry moves some keys.
func (m *moving) carry(keys ...string) {
	m.t.Helper()
	_, port, err := net.SplitHostPort(m.to.Addr)
	if err != nil {
		m.t.Fatal(err)
	}
	got := m.from.Do(m.t, append([]string{"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"}, keys...)...)
	if got != "OK" {
		m.t.Fatalf("move %q: %v", keys, got)
	}
}

// arrive moves the rest and gives the slot to the other side.
func (m *moving) arrive() {
	m.t.Helper()
	left, _ := m.from.Do(m.t, "CLUSTER", "GETKEYSINSLOT", m.slot, "1000").([]any)
	for _, k := range left {
		m.carry(fmt.Sprint(k))
	}
	id := fmt.Sprint(m.to.Do(m.t, "CLUSTER", "MYID"))
	m.to.Do(m.t, "CLUSTER", "SETSLOT", m.slot, "NODE", id)
	for _, s := range m.cluster.Servers {
		s.Do(m.t, "CLUSTER", "SETSLOT", m.slot, "NODE", id)
	}
}

// state returns the key of a peer's state, which is still where it was.
func (m *moving) state(peer string) string {
	m.t.Helper()
	found, _ := m.from.Do(m.t, "KEYS", "rc:*:s:"+summary(peer)).([]any)
	if len(found) != 1 {
		m.t.Fatalf("the states of %s are %v", peer, found)
	}
	return fmt.Sprint(found[0])
}

func summary(peer string) string { return "onOffStatus:" + peer }

// TestLinkLostWhileASlotMoves: what has moved is cached while the map still shows the old primary,
// and the link to the new one is lost just when another program writes. The cache must not go on
// believing what only that link would have corrected.
func TestLinkLostWhileASlotMoves(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	n := startNode(t, config(clusterURL(m.cluster)), "n")
	peer := tag + "tom"
	if err := n.report(n.hook(presence.KindOnline, peer)); err != nil {
		t.Fatal(err)
	}
	m.begin()
	state := m.state(peer)
	m.carry(state, summary(peer))
	n.see(patience, presence.Online, peer)
	// the signals of the move are to come yet
	time.Sleep(redistest.NewPace(t).Allow(100 * time.Millisecond))
	n.warm(peer)

	var st presence.State
	if err := n.st.Load(t.Context(), presence.Key{App: "app", Peer: presence.PeerID(peer)}, &st); err != nil {
		t.Fatal(err)
	}
	left, rules := n.hook(presence.KindOffline, peer), presence.DefaultRules()
	st.Apply(&left, n.st.Now(), &rules)
	st.Rev = presence.NextRev(st.Rev, n.st.Now())
	conn, err := redistest.Dial(m.to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := conn.Pipe(
		[]string{"CLIENT", "KILL", "ID", linkAt(t, m.to)},
		[]string{"ASKING"}, []string{"SET", state, string(st.Pack(nil))},
		[]string{"ASKING"}, []string{"SET", summary(peer), "0"},
	)
	if err != nil || got[0] != int64(1) || got[2] != "OK" || got[4] != "OK" {
		t.Fatalf("kill the link and write: %v, %v", got, err)
	}
	n.see(patience, presence.Offline, peer)
	eventually(t, "the link is lost", func() bool { return n.st.Stats()["links_lost"] > 0 })
}

// linkAt returns the id of the connection that tracks at a server.
func linkAt(t *testing.T, s *redistest.Server) string {
	t.Helper()
	list, _ := s.Do(t, "CLIENT", "LIST").(string)
	for line := range strings.Lines(list) {
		fields := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(f, "=")
			fields[name] = value
		}
		if strings.Contains(fields["flags"], "B") {
			return fields["id"]
		}
	}
	t.Fatalf("nobody tracks at %s", s.Addr)
	return ""
}

// TestSlotMoves holds a slot between two primaries: ASK for what has moved or is new, TRYAGAIN for
// a peer of whose two keys one has moved. Nothing is lost or made up, and who can wait does not
// notice.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	url := clusterURL(m.cluster)
	patient := startNode(t, config(url), "patient")
	hasty := config(url)
	hasty.Deadline = 2 * time.Second
	alone := startNode(t, hasty, "alone")
	hasty.Spool = t.TempDir()
	spooling := startNode(t, hasty, "spooling")
	all := []*node{patient, alone, spooling}

	moved, half, still, fresh := numbered(tag+"moved", 5), numbered(tag+"half", 3), numbered(tag+"still", 5), numbered(tag+"new", 5)
	for _, list := range [][]string{moved, half, still} {
		for _, p := range list {
			if err := patient.report(patient.hook(presence.KindOnline, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.begin()
	for _, p := range moved {
		m.carry(m.state(p), summary(p))
	}
	m.to.Do(t, "SCRIPT", "FLUSH") // where the keys go the scripts are not loaded
	stranger := startNode(t, config(url), "stranger")

	asked := m.from.Errors(t, "ASK")
	for _, n := range append(all, stranger) {
		n.see(patience, presence.Online, append(append(append([]string{}, moved...), half...), still...)...)
		n.see(patience, presence.Unknown, fresh...)
	}
	for _, p := range fresh {
		if err := alone.report(alone.hook(presence.KindOnline, p)); err != nil {
			t.Errorf("a hook for a new peer: %v", err)
		}
	}
	for _, p := range moved {
		if err := alone.report(alone.hook(presence.KindOffline, p)); err != nil {
			t.Errorf("a hook for a peer that has moved: %v", err)
		}
	}
	for _, n := range append(all, stranger) {
		n.see(patience, presence.Offline, moved...)
		n.see(patience, presence.Online, fresh...)
	}
	if n := m.from.Errors(t, "ASK") - asked; n < len(fresh)+len(moved) {
		t.Errorf("redis has answered ASK %d times: the fault did not take hold", n)
	}

	t.Run("one key of two has moved", func(t *testing.T) {
		for i, p := range half { // either key first
			if i%2 == 0 {
				m.carry(m.state(p))
			} else {
				m.carry(summary(p))
			}
		}
		tried := m.from.Errors(t, "TRYAGAIN") + m.to.Errors(t, "TRYAGAIN")
		leave := func(n *node) error {
			var reports []presence.Report
			for _, p := range half {
				reports = append(reports, n.hook(presence.KindOffline, p))
			}
			return n.report(reports...)
		}
		if err := leave(alone); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("hooks without a spool: %v, want presence.ErrUnavailable", err)
		}
		for _, n := range append(all, stranger) {
			n.see(patience, presence.Online, half...)
		}
		if err := leave(spooling); err != nil {
			t.Errorf("hooks with a spool: %v", err)
		}
		for _, p := range half {
			if got, _, err := spooling.ask(p); err != nil || got[0] != presence.Offline {
				t.Errorf("%s is %v, %v right after its hook", p, got, err)
			}
		}
		// Others of the same slot do not wait behind them.
		if err := spooling.report(spooling.hook(presence.KindOffline, still[0])); err != nil {
			t.Error(err)
		}
		patient.see(patience, presence.Offline, still[0])
		if n := m.from.Errors(t, "TRYAGAIN") + m.to.Errors(t, "TRYAGAIN") - tried; n < 2*len(half) {
			t.Errorf("redis has answered TRYAGAIN %d times: the fault did not take hold", n)
		}

		// Who can wait until the other key has come does not notice.
		waiting := half[0]
		before := patient.st.Stats()["tried_again"]
		answered := make(chan error, 1)
		go func() { answered <- patient.report(patient.hook(presence.KindOnline, waiting)) }()
		for begun := time.Now(); patient.st.Stats()["tried_again"] < before+3; time.Sleep(time.Millisecond) {
			if time.Since(begun) > patience {
				t.Fatal("it does not try again: the fault did not take hold")
			}
		}
		m.carry(summary(waiting))
		if err := <-answered; err != nil {
			t.Errorf("a report that could wait: %v", err)
		}
	})
	m.arrive()
	for _, n := range append(all, stranger) {
		n.ready(patience)
		n.see(patience, presence.Offline, append(append([]string{still[0]}, moved...), half[1:]...)...)
		n.see(patience, presence.Online, append(append([]string{}, still[1:]...), fresh...)...)
		if st := n.st.Stats(); st["outages"] != 0 || st["links_lost"] != 0 {
			t.Errorf("%s took the move for an outage: %v", n.name, st)
		}
	}
	// What was said of that peer last by each of two nodes crossed; all agree on what came of it.
	want, _, err := patient.ask(half[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append(all, stranger) {
		n.see(patience, want[0], half[0])
	}
	if n := spooling.st.Stats()["spool_replayed"]; n != int64(len(half)) {
		t.Errorf("%d reports went through the spool, want %d", n, len(half))
	}
}

// TestAProbeFollowsItsSlot: the slot in which a link probes moves away, key by key. The link probes
// in another one, and is not lost.
func TestAProbeFollowsItsSlot(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	n := startNode(t, config(clusterURL(m.cluster)), "n")
	n.ready(patience)
	keys, _ := m.from.Do(t, "KEYS", "rc:probe:*").([]any)
	if len(keys) != 1 {
		t.Fatalf("the probes are %v", keys)
	}
	probe := fmt.Sprint(keys[0])
	m.slot = fmt.Sprint(m.from.Do(t, "CLUSTER", "KEYSLOT", probe))
	// The three links probe once a second each.
	probes := func(what string) {
		t.Helper()
		was := n.st.Stats()["probes_heard"]
		for begun := time.Now(); n.st.Stats()["probes_heard"] < was+7; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > patience {
				t.Fatalf("%s: no probe comes back", what)
			}
		}
		if st := n.st.Stats(); st["links_lost"] != 0 || st["outages"] != 0 {
			t.Errorf("%s: %v", what, st)
		}
		n.ready(patience)
	}
	m.begin()
	m.carry(probe)
	probes("while the slot moves")
	m.arrive()
	probes("when it has moved")
	if keys, _ := m.from.Do(t, "KEYS", "rc:probe:*").([]any); len(keys) == 0 {
		t.Error("nothing probes at the primary that the slot has left")
	}
}
