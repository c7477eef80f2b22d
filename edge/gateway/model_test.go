package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// The rule for who holds a session, played against a small model: a peer with a living connection
// is never offline, and no client loses its place without being sent that.

// A step is one thing that happens. Which fields count depends on what it is.
type step struct {
	what          string // login, again, twins, cut, die, logout, kick, pass
	node          int
	peer          string
	tag, device   string
	auto, returns bool // automatic; with the token of an earlier client
	who           int  // which client, of those there are
	pass          time.Duration
}

func (s step) String() string {
	switch s.what {
	case "login", "twins":
		return fmt.Sprintf("%s node %d %s tag %q device %q auto %v token %v", s.what, s.node, s.peer, s.tag, s.device, s.auto, s.returns)
	case "pass":
		return "pass " + s.pass.String()
	case "kick":
		return "kick " + s.peer
	}
	return fmt.Sprintf("%s %d", s.what, s.who)
}

func drawSteps() *rapid.Generator[[]step] {
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			what: rapid.SampledFrom([]string{
				"login", "login", "login", "login", "twins", "again", "cut", "die", "die", "logout", "kick", "pass", "pass", "pass",
			}).Draw(t, "what"),
			node:    rapid.IntRange(0, 1).Draw(t, "node"),
			peer:    rapid.SampledFrom([]string{"tom", "tom", "ann"}).Draw(t, "peer"),
			tag:     rapid.SampledFrom([]string{"-", "Web"}).Draw(t, "tag"),
			device:  rapid.SampledFrom([]string{"-", "d1", "d2"}).Draw(t, "device"),
			auto:    rapid.Bool().Draw(t, "auto"),
			returns: rapid.Bool().Draw(t, "token"),
			who:     rapid.IntRange(0, 99).Draw(t, "who"),
			pass:    rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 3 * time.Second, 7 * time.Second, time.Minute}).Draw(t, "pass"),
		}
	})
	return rapid.SliceOfN(one, 1, 30)
}

// modelWire is a wire for the model: "in PEER TAG DEVICE AUTO TOKEN", where - is none, and "out".
type modelWire struct{ plain }

func (modelWire) Message(s *gateway.Socket, data []byte) {
	words := strings.Fields(string(data))
	if words[0] == "out" {
		plain{}.Message(s, data)
		return
	}
	for i := range words {
		if words[i] == "-" {
			words[i] = ""
		}
	}
	ss, err := s.Open(s.Context(), gateway.Login{
		Key: presence.Key{App: appID, Peer: presence.PeerID(words[1])}, Tag: words[2], Device: words[3], Auto: words[4] == "auto",
		Session: presence.SessionID(words[5]),
	})
	if err != nil {
		s.Send([]byte("refused"))
		return
	}
	s.Send([]byte("opened " + string(ss.ID())))
	ss.Answered()
}

// A modelClient is a client as the model knows it.
type modelClient struct {
	*pipe
	node  int
	peer  string
	login step
	dead  bool // its connection is, and neither end knows
	cut   bool
	left  bool // logged out
	since time.Time
}

// present returns what the client itself takes for true: the id of its session, or "".
func (c *modelClient) present() (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut || c.left || c.close != 0 {
		return ""
	}
	for _, m := range c.received {
		switch words := strings.Fields(m); words[0] {
		case "opened":
			id = words[1]
		case "ended", "bye":
			id = ""
		}
	}
	return id
}

type model struct {
	t       *testing.T
	store   presence.Store
	nodes   [2]*bubble
	clients []*modelClient
	mu      sync.Mutex
	events  map[string][]string // by peer
}

func newModel(t *testing.T, store presence.Store, nodes int) *model {
	m := &model{t: t, store: store, events: map[string][]string{}}
	for i := range nodes {
		m.nodes[i] = newModelNode(t, store, presence.NodeID(fmt.Sprint("node-", i)), nodes > 1, m.note)
	}
	if nodes == 1 {
		m.nodes[1] = m.nodes[0]
	}
	return m
}

func newModelNode(
	t *testing.T, store presence.Store, node presence.NodeID, shared bool, events func(gateway.Event), set ...func(*gateway.Config),
) *bubble {
	t.Helper()
	return newModelNodeOver(t, store, presence.NewService(store, presence.DefaultConfig()), node, shared, events, set...)
}

func newModelNodeOver(
	t *testing.T, store presence.Store, service gateway.Service, node presence.NodeID, shared bool, events func(gateway.Event),
	set ...func(*gateway.Config),
) *bubble {
	t.Helper()
	b := &bubble{t: t, store: store, svc: presence.NewService(store, presence.DefaultConfig()), wire: modelWire{}}
	cfg := gateway.DefaultConfig()
	cfg.OneGoroutine, cfg.ConnectRate = true, 0
	for _, fn := range set {
		fn(&cfg)
	}
	gw, err := gateway.New(cfg, gateway.Deps{Service: service, Ask: ask.New(ask.Deps{Rules: b.svc, Store: store}), Node: node, Shared: shared, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	b.gw = gw
	return b
}

func (m *model) note(e gateway.Event) {
	text := "offline"
	if e.Online {
		text = "online"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events[string(e.Key.Peer)] = append(m.events[string(e.Key.Peer)], text)
}

func (m *model) close() {
	for i, n := range m.nodes {
		if i == 1 && n == m.nodes[0] {
			continue
		}
		if err := n.gw.Close(); err != nil {
			m.t.Error(err)
		}
	}
}

func (m *model) add(s step, token string) *modelClient {
	c := &modelClient{pipe: m.nodes[s.node].connect(), node: s.node, peer: s.peer, login: s}
	m.clients = append(m.clients, c)
	m.send(c, s, token)
	return c
}

func (m *model) send(c *modelClient, s step, token string) {
	auto := "hand"
	if s.auto {
		auto = "auto"
	}
	if token == "" {
		token = "-"
	}
	c.frame(1, []byte(strings.Join([]string{"in", c.peer, s.tag, s.device, auto, token}, " ")))
}

// do plays one step.
func (m *model) do(s step) {
	var some []*modelClient
	for _, c := range m.clients {
		if c.present() != "" && !c.dead {
			some = append(some, c)
		}
	}
	switch s.what {
	case "login":
		token := ""
		if s.returns {
			for _, c := range m.clients { // the last that was present as this peer, dead or not
				c.mu.Lock()
				for _, h := range c.received {
					if words := strings.Fields(h); c.peer == s.peer && words[0] == "opened" {
						token = words[1]
					}
				}
				c.mu.Unlock()
			}
		}
		m.add(s, token)
	case "twins":
		t := s
		t.node, t.device = 1-s.node, "d3"
		s.auto, t.auto = false, false
		m.add(s, "")
		m.add(t, "")
	case "kick":
		if err := m.nodes[s.node].gw.Kick(context.Background(), appID, presence.PeerID(s.peer), ""); err != nil {
			m.t.Error(err)
		}
	case "pass":
		for _, n := range m.nodes[:1] {
			n.pass(s.pass)
		}
	default:
		if len(some) == 0 {
			return
		}
		c := some[s.who%len(some)]
		switch s.what {
		case "again":
			m.send(c, c.login, "")
		case "cut":
			c.cut = true
			_ = c.conn.Close()
		case "die":
			c.dead, c.since = true, time.Now()
			c.mute.Store(true)
		case "logout":
			c.left = true
			c.frame(1, []byte("out"))
		}
	}
}

// check returns what is not as it must be.
func (m *model) check() error {
	for i, c := range m.clients {
		id := c.present()
		if id == "" || c.dead {
			continue
		}
		if got := m.nodes[0].summary(c.peer).Status; got != presence.Online {
			return fmt.Errorf("%s is %v while client %d (%s) is there", c.peer, got, i, c.login)
		}
		if !m.live(c.peer)[presence.SessionID(id)] {
			return fmt.Errorf("client %d (%s) takes itself for present and the store does not have its session %s", i, c.login, id)
		}
		for j, o := range m.clients[:i] {
			other := o.present()
			if other == "" || o.dead || o.peer != c.peer || !gateway.Rivals(presence.SessionID(id), presence.SessionID(other)) {
				continue
			}
			if strings.Contains(id, "!") && strings.Contains(other, "!") && (c.login.auto || o.login.auto) {
				continue // they may be one client
			}
			return fmt.Errorf("clients %d (%s) and %d (%s) hold one tag", j, o.login, i, c.login)
		}
	}
	for _, peer := range []string{"tom", "ann"} {
		there := 0
		for _, c := range m.clients {
			if c.peer == peer && !c.cut && !c.left && (!c.dead || time.Since(c.since) < 50*time.Second) {
				there++
			}
		}
		if n := len(m.live(peer)); n > there {
			return fmt.Errorf("%s has %d live sessions and %d connections", peer, n, there)
		}
	}
	return nil
}

func (m *model) live(peer string) map[presence.SessionID]bool {
	var st presence.State
	if err := m.nodes[0].store.Load(context.Background(), presence.Key{App: appID, Peer: presence.PeerID(peer)}, &st); err != nil {
		m.t.Fatal(err)
	}
	live := map[presence.SessionID]bool{}
	for i := range st.Sessions {
		if st.Sessions[i].Live(bubbleNow()) {
			live[st.Sessions[i].ID] = true
		}
	}
	return live
}

// playSteps plays steps and returns the first thing that was not as it must be.
func playSteps(t *testing.T, nodes int, steps []step) (failure error) {
	inModel(t, nodes, func(m *model) {
		for i, s := range steps {
			m.play(s)
			if failure = m.check(); failure != nil {
				failure = fmt.Errorf("after step %d, %v: %w", i, s, failure)
				return
			}
		}
		failure = m.end(nodes)
	})
	return failure
}

// end silences all clients: then no peer is online, and the hooks have been called for each end.
func (m *model) end(nodes int) error {
	for _, c := range m.clients {
		c.mute.Store(true)
	}
	m.nodes[0].pass(2 * time.Minute)
	m.mu.Lock()
	defer m.mu.Unlock()
	for peer, events := range m.events {
		if got := m.nodes[0].summary(peer).Status; got == presence.Online {
			return fmt.Errorf("%s is online without a connection", peer)
		}
		if last := events[len(events)-1]; last != "offline" {
			return fmt.Errorf("the last hook of %s says %s: %v", peer, last, events)
		}
		on, off := 0, 0
		for _, e := range events {
			if e == "online" {
				on++
			} else {
				off++
			}
			if off > on {
				return fmt.Errorf("the hooks of %s have an end before its beginning: %v", peer, events)
			}
		}
		if nodes == 1 && on != off {
			return fmt.Errorf("the hooks of %s are %d online and %d offline: %v", peer, on, off, events)
		}
	}
	return nil
}

func TestWhoIsThereIsOnlineAndWhoLosesAPlaceIsSentThat(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				steps := drawSteps().Draw(rt, "steps")
				if err := playSteps(t, nodes, steps); err != nil {
					rt.Fatal(err)
				}
			})
		})
	}
}

// The stories of the rule, one by one.
func TestTwoLivingConnectionsOfOneDeviceAreTwoSessions(t *testing.T) {
	wait := step{what: "pass", pass: 20 * time.Second}
	for _, tag := range []string{"-", "Web"} {
		for _, second := range []struct{ nodes, node int }{{1, 0}, {2, 0}, {2, 1}} {
			for _, end := range []string{"cut", "die", "logout"} {
				for who := range 2 {
					inModel(t, second.nodes, func(m *model) {
						login := step{what: "login", peer: "tom", tag: tag, device: "d1"}
						m.play(login, wait)
						login.node = second.node
						m.play(login, wait)
						if a, b := m.clients[0].present(), m.clients[1].present(); a == "" || b == "" || len(m.live("tom")) != 2 {
							t.Errorf("tag %s: of two connections one is gone: %q, %q", tag, a, b)
						}
						m.play(step{what: end, who: who}, wait, wait, wait, wait)
						if m.clients[1-who].present() == "" || len(m.live("tom")) != 1 {
							t.Errorf("tag %s: after the %s of one the other is not there", tag, end)
						}
					})
				}
			}
		}
	}
}

// Where clients answer no pings nothing can be asked of an older connection: it has its lease, and
// no hook waits.
func TestWithoutPingsNothingIsProbed(t *testing.T) {
	inModel(t, 0, func(m *model) {
		n := newModelNode(t, m.store, "node-1", false, m.note, func(c *gateway.Config) { c.Ping, c.Lease = 0, 200*time.Second })
		m.nodes = [2]*bubble{n, n}
		login := step{what: "login", peer: "tom", tag: "-", device: "d1"}
		m.play(login, login)
		for _, c := range m.clients {
			c.mute.Store(true)
		}
		m.play(step{what: "pass", pass: 20 * time.Second})
		if len(m.live("tom")) != 2 || len(m.events["tom"]) != 2 {
			t.Errorf("tom has %d sessions and the hooks %v, want two and two", len(m.live("tom")), m.events["tom"])
		}
	})
}

// lateService takes logins as a store does that is out of reach: it acknowledges them, and applies
// them later.
type lateService struct {
	gateway.Service
	mu    sync.Mutex
	away  bool
	spool []presence.Report
}

func (s *lateService) Report(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		s.spool = append(s.spool, reports...)
		return nil
	}
	return s.Service.Report(ctx, reports, now, out)
}

func (s *lateService) replay() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
	return s.Service.Report(context.Background(), s.spool, bubbleNow(), make([]presence.Outcome, len(s.spool)))
}

// Two devices log in with one tag while the logins of one node, or of both, wait in its spool:
// neither has seen the other.
func TestTwoLoginsThatDidNotSeeEachOtherLeaveExactlyOne(t *testing.T) {
	for _, away := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		for _, first := range []int{0, 1} {
			inModel(t, 0, func(m *model) {
				var services [2]*lateService
				for i := range m.nodes {
					services[i] = &lateService{Service: presence.NewService(m.store, presence.DefaultConfig()), away: away[i]}
					m.nodes[i] = newModelNodeOver(t, m.store, services[i], presence.NodeID(fmt.Sprint("node-", i)), true, m.note)
				}
				m.play(step{what: "login", node: first, peer: "tom", tag: "Web", device: "a"}, step{what: "login", node: 1 - first, peer: "tom", tag: "Web", device: "b"})
				for _, s := range services {
					if err := s.replay(); err != nil {
						t.Error(err)
					}
				}
				m.play(step{what: "pass", pass: time.Second})
				a, b := m.clients[0].present(), m.clients[1].present()
				if (a == "") == (b == "") {
					t.Errorf("away %v: the first takes itself for present: %v, the second: %v; want one of them", away, a != "", b != "")
				}
				if n := len(m.live("tom")); n != 1 {
					t.Errorf("away %v: the store has %d sessions", away, n)
				}
			})
		}
	}
}

// slowService holds each login back until something is sent to it.
type slowService struct {
	gateway.Service
	logins chan chan struct{}
}

func (s *slowService) Report(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if reports[0].Kind == presence.KindOnline {
		hold := make(chan struct{})
		s.logins <- hold
		<-hold
	}
	return s.Service.Report(ctx, reports, now, out)
}

// Two devices log in with one tag at one node in one millisecond. The second takes the first one's
// place here before the store has either, and the first arrives there first: it must not be taken
// for the greater of the two.
func TestTwoLoginsAtOneInstantAtOneNodeLeaveExactlyOne(t *testing.T) {
	for range 20 { // the ids are random, and in half of all cases the first one's is the greater
		inModel(t, 0, func(m *model) {
			service := &slowService{Service: presence.NewService(m.store, presence.DefaultConfig()), logins: make(chan chan struct{}, 2)}
			n := newModelNodeOver(t, m.store, service, "node-0", true, m.note)
			m.nodes = [2]*bubble{n, n}
			for _, device := range []string{"a", "b"} {
				m.do(step{what: "login", peer: "tom", tag: "Web", device: device})
				synctest.Wait()
			}
			for range 2 {
				close(<-service.logins)
				synctest.Wait()
			}
			m.play(step{what: "pass", pass: time.Second})
			if a, b := m.clients[0].present(), m.clients[1].present(); a != "" || b == "" {
				t.Errorf("the first takes itself for present: %v, the second: %v; want the second", a != "", b != "")
			}
			if n := len(m.live("tom")); n != 1 {
				t.Errorf("the store has %d sessions", n)
			}
		})
	}
}

// A socket that carries several peers dies, and they come back one after the other, not within one
// probe: when the last is back it goes.
func TestADeadSocketOfSeveralPeersGoesWhenTheLastIsBack(t *testing.T) {
	for nodes := 1; nodes <= 2; nodes++ {
		inModel(t, nodes, func(m *model) {
			login := func(peer string) step { return step{what: "login", node: nodes - 1, peer: peer, tag: "-", device: "d"} }
			first := login("tom")
			first.node = 0
			m.play(first)
			old := m.clients[0]
			old.frame(1, []byte("in ann - d hand -"))
			m.play(step{what: "die", who: 0}, login("tom"), step{what: "pass", pass: 10 * time.Second})
			if n := len(m.live("tom")); n != 2 {
				t.Errorf("%d nodes: tom has %d sessions while the socket may be alive for ann, want 2", nodes, n)
			}
			m.play(login("ann"), step{what: "pass", pass: 10 * time.Second})
			for _, peer := range []string{"tom", "ann"} {
				if n := len(m.live(peer)); n != 1 {
					t.Errorf("%d nodes: %s has %d sessions, want 1", nodes, peer, n)
				}
			}
		})
	}
}

// A device whose connection died comes back: no watcher has anything to be sent, and the dead one
// is off the books in seconds.
func TestADeviceThatComesBackTakesItsDeadConnectionsPlace(t *testing.T) {
	for _, second := range []struct{ nodes, node int }{{1, 0}, {2, 0}, {2, 1}} {
		inModel(t, second.nodes, func(m *model) {
			login := step{what: "login", peer: "tom", tag: "Web", device: "d1"}
			m.play(login, step{what: "pass", pass: time.Minute})
			since := m.nodes[0].summary("tom").Since
			login.auto = true
			for i := range 100 {
				login.node = second.node * (1 - i%2)
				m.play(step{what: "die"}, login)
				for range 16 {
					m.nodes[0].pass(500 * time.Millisecond)
					if got := m.nodes[0].summary("tom"); got.Status != presence.Online || got.Since != since {
						t.Errorf("tom is %v since %v, want online since %v", got.Status, got.Since, since)
						return
					}
				}
				if n := len(m.live("tom")); n != 1 {
					t.Errorf("tom has %d sessions 8 s after he came back, want 1", n)
					return
				}
			}
			var st presence.State
			if err := m.nodes[0].store.Load(context.Background(), presence.Key{App: appID, Peer: "tom"}, &st); err != nil {
				t.Error(err)
			}
			if size := len(st.Pack(nil)); size > 600 {
				t.Errorf("after 100 returns tom takes %d bytes", size)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			for i, e := range m.events["tom"] {
				if second.nodes == 1 && (e == "online") != (i%2 == 0) {
					t.Errorf("the hooks are not in turn: %v", m.events["tom"])
					return
				}
			}
		})
	}
}

// A device moves to another node, and its old connection is dead: the first node sends the end of
// the old session, the second the beginning of the new one, and the peer is online all along.
func TestADeviceThatMovesIsAnEndOnTheFirstNode(t *testing.T) {
	inModel(t, 2, func(m *model) {
		login := step{what: "login", peer: "tom", tag: "Web", device: "d1"}
		m.play(login, step{what: "die"})
		login.node, login.auto, login.returns = 1, true, true
		m.play(login)
		for range 2 * 60 {
			for _, n := range m.nodes {
				if got := n.summary("tom"); got.Status != presence.Online {
					t.Errorf("tom is %v", got.Status)
					return
				}
			}
			m.nodes[0].pass(500 * time.Millisecond)
		}
		if n := m.nodes[0].gw.Stats(); n.Sessions != 0 || n.Replaced != 1 {
			t.Errorf("the first node holds %d sessions and has replaced %d, want 0 and 1", n.Sessions, n.Replaced)
		}
		if n := m.nodes[1].gw.Stats().Sessions; n != 1 {
			t.Errorf("the second node holds %d sessions, want 1", n)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if got := strings.Join(m.events["tom"], ", "); got != "online, online, offline" {
			t.Errorf("the hooks of both nodes are %q", got)
		}
	})
}

// inModel runs fn with the nodes of a model in a bubble of fake time.
func inModel(t *testing.T, nodes int, fn func(*model)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, bubbleNow())
		if err != nil {
			t.Fatal(err)
		}
		m := newModel(t, store, nodes)
		fn(m)
		m.close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// play plays steps and lets what follows from them happen.
func (m *model) play(steps ...step) {
	for _, s := range steps {
		m.do(s)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
}
