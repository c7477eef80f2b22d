package gateway_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// plain is the smallest wire: a message "in PEER [TAG DEVICE]" logs in, "out" logs out, and what
// the server says comes back as text.
type plain struct{}

func (plain) Message(s *gateway.Socket, data []byte) {
	words := strings.Fields(string(data))
	switch words[0] {
	case "in":
		l := gateway.Login{Key: presence.Key{App: appID, Peer: presence.PeerID(words[1])}}
		if len(words) > 3 {
			l.Tag, l.Device = words[2], words[3]
		}
		ss, err := s.Open(s.Context(), l)
		if err != nil {
			s.Send([]byte(err.Error()))
			return
		}
		s.Send([]byte("welcome"))
		ss.Answered()
	case "out":
		for _, ss := range s.Sessions() {
			_ = ss.End(s.Context())
		}
		s.Send([]byte("bye"))
	}
}
func (plain) RateLimited(s *gateway.Socket, _ []byte) { s.Send([]byte("slower")) }
func (plain) Ended(ss *gateway.Session, c presence.Cause, reason string) {
	ss.Socket().Send([]byte("ended " + c.String() + " " + reason))
}
func (plain) GoAway(*gateway.Socket) bool { return false }
func (plain) Closed(*gateway.Socket)      {}

// bubble is a gateway in a bubble of fake time, over pipes.
type bubble struct {
	t     *testing.T
	store presence.Store
	svc   *presence.Service
	gw    *gateway.Gateway
	wire  gateway.Handler // nil is plain
}

func bubbleNow() presence.Millis { return presence.MillisOf(time.Now()) }

func newBubble(t *testing.T, node presence.NodeID, store presence.Store, set ...func(*gateway.Config)) *bubble {
	t.Helper()
	b := &bubble{t: t, store: store}
	b.svc = presence.NewService(store, presence.DefaultConfig())
	cfg := gateway.DefaultConfig()
	cfg.OneGoroutine = true
	for _, fn := range set {
		fn(&cfg)
	}
	gw, err := gateway.New(cfg, gateway.Deps{Service: b.svc, Ask: ask.New(ask.Deps{Rules: b.svc, Store: store}), Node: node})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	b.gw = gw
	return b
}

// inBubble runs fn with one node.
func inBubble(t *testing.T, fn func(*bubble)) {
	synctest.Test(t, func(t *testing.T) {
		store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, bubbleNow())
		if err != nil {
			t.Fatal(err)
		}
		b := newBubble(t, "node-1", store)
		fn(b)
		if err := b.gw.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (b *bubble) sweep() {
	b.t.Helper()
	if _, err := b.svc.Sweep(context.Background(), bubbleNow()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bubble) summary(peer string) presence.Summary {
	b.t.Helper()
	out := make([]presence.Summary, 1)
	key := presence.Key{App: appID, Peer: presence.PeerID(peer)}
	if _, err := b.store.Summaries(context.Background(), []presence.Key{key}, out); err != nil {
		b.t.Fatal(err)
	}
	return out[0].At(b.svc.Leases(bubbleNow()), b.svc.Rules())
}

// A pipe is the client's end. It answers pings while it is alive and keeps what it receives.
type pipe struct {
	conn     net.Conn
	mute     atomic.Bool
	mu       sync.Mutex
	received []string
	close    int // the close code that came
}

func (b *bubble) connect() *pipe {
	client, server := net.Pipe()
	p := &pipe{conn: client}
	go p.run()
	if b.wire == nil {
		b.wire = plain{}
	}
	b.gw.Serve(server, nil, netip.Addr{}, false, gateway.Upgrade{Handler: b.wire, Text: true})
	return p
}

func (p *pipe) run() {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(p.conn, head); err != nil {
			return
		}
		payload := make([]byte, head[1])
		if _, err := io.ReadFull(p.conn, payload); err != nil {
			return
		}
		switch head[0] & 0x0f {
		case 9:
			if !p.mute.Load() {
				p.frame(10, payload)
			}
		case 8:
			p.mu.Lock()
			if len(payload) >= 2 {
				p.close = int(binary.BigEndian.Uint16(payload))
			}
			p.mu.Unlock()
			p.frame(8, payload)
		default:
			p.mu.Lock()
			p.received = append(p.received, string(payload))
			p.mu.Unlock()
		}
	}
}

func (p *pipe) frame(op byte, payload []byte) {
	b := []byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}
	_, _ = p.conn.Write(append(b, payload...)) // the other end may be gone
}

func (p *pipe) say(text string) {
	p.frame(1, []byte(text))
	synctest.Wait()
}

func (p *pipe) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.received) == 0 {
		return ""
	}
	return p.received[len(p.received)-1]
}

func (p *pipe) closedWith() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.close
}

// pass lets d go by, with the sweeps of a server.
func (b *bubble) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(500*time.Millisecond, time.Until(end)))
		synctest.Wait()
		b.sweep()
	}
}

func TestASilentClientIsOfflineAtItsLeaseAndNotBefore(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.say("in tom")
		b.pass(time.Minute)
		p.mute.Store(true)
		silent := bubbleNow()
		b.pass(29 * time.Second) // the last pong came up to 15 s before
		if got := b.summary("tom").Status; got != presence.Online {
			t.Fatalf("tom is %v before his lease", got)
		}
		b.pass(18 * time.Second)
		got := b.summary("tom")
		if got.Status != presence.Offline || got.Cause != presence.CauseExpired {
			t.Fatalf("tom is %v (%v) 47 s after his last word, want offline, expired", got.Status, got.Cause)
		}
		if got.LastSeen > silent || got.LastSeen < silent.Add(-16*time.Second) {
			t.Errorf("last seen %v after he fell silent, want at most 16 s before", got.LastSeen.Sub(silent))
		}
		if got.Hold != 10*time.Second {
			t.Errorf("watchers hear after %v, want 10 s", got.Hold)
		}
		if p.closedWith() != 4107 || b.gw.Stats().Refused["silence"] != 1 {
			t.Errorf("closed with %d, counted %d", p.closedWith(), b.gw.Stats().Refused["silence"])
		}
	})
}

// The first sockets may come, and the process be stopped, before the wheel has turned once.
func TestAPauseOfTheProcessIsNoticedBeforeTheFirstTickOfTheWheel(t *testing.T) {
	for _, tt := range []struct {
		lease, ping time.Duration
		pause       time.Duration
		want        bool
	}{
		{45 * time.Second, 15 * time.Second, 5 * time.Second, false},
		{45 * time.Second, 15 * time.Second, 20 * time.Second, true},
		{10 * time.Second, 5 * time.Second, 4500 * time.Millisecond, true},
		// A tick that is a second late is no pause, however short the lease.
		{4 * time.Second, time.Second, 2 * time.Second, false},
		{4 * time.Second, time.Second, 2500 * time.Millisecond, true},
		{2 * time.Second, time.Second, 2 * time.Second, false},
		{2 * time.Second, time.Second, 2500 * time.Millisecond, true},
	} {
		inBubble(t, func(b *bubble) {
			n := newBubble(t, "node-2", b.store, func(c *gateway.Config) { c.Lease, c.Ping = tt.lease, tt.ping })
			if err := n.gw.Close(); err != nil { // so that no tick comes in time
				t.Fatal(err)
			}
			time.Sleep(tt.pause)
			if got := n.gw.NotePause(); got != tt.want {
				t.Errorf("a lease of %v, a first tick %v after the start: a pause is %v, want %v", tt.lease, tt.pause, got, tt.want)
			}
		})
	}
}

func TestTheLeaseIsExact(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.mute.Store(true)
		p.say("in tom")
		b.pass(44*time.Second + 900*time.Millisecond)
		if got := b.summary("tom").Status; got != presence.Online {
			t.Errorf("tom is %v 100 ms before his lease ends", got)
		}
		b.pass(1200 * time.Millisecond)
		if got := b.summary("tom").Status; got != presence.Offline {
			t.Errorf("tom is %v 1.1 s after his lease ended", got)
		}
	})
}

func TestAClientThatAnswersPingsStays(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.say("in tom")
		since := b.summary("tom").Since
		b.pass(20 * time.Minute)
		if got := b.summary("tom"); got.Status != presence.Online || got.Since != since {
			t.Errorf("tom is %v since %v after 20 minutes, want online since %v", got.Status, got.Since, since)
		}
		if n := b.gw.Stats().Pings; n < 75 || n > 81 {
			t.Errorf("%d pings in 20 minutes, want one in 15 s", n)
		}
	})
}

func TestABrokenConnectionIsOfflineAtOnceAndHeldForWatchers(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.say("in tom")
		_ = p.conn.Close()
		synctest.Wait()
		if got := b.summary("tom"); got.Status != presence.Offline || got.Cause != presence.CauseLost || got.Hold != 10*time.Second {
			t.Errorf("tom is %v (%v), held %v; want offline, lost, 10 s", got.Status, got.Cause, got.Hold)
		}
	})
}

func TestALogoutIsOfflineAtOnceForAll(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.say("in tom")
		p.say("out")
		if got := b.summary("tom"); got.Status != presence.Offline || got.Cause != presence.CauseLogout || got.Hold != 0 {
			t.Errorf("tom is %v (%v), held %v; want offline, logout, not held", got.Status, got.Cause, got.Hold)
		}
		if p.last() != "bye" {
			t.Errorf("he received %q", p.last())
		}
	})
}

func TestASocketMustSaySomethingAndLogIn(t *testing.T) {
	inBubble(t, func(b *bubble) {
		mute, chatty, late := b.connect(), b.connect(), b.connect()
		chatty.frame(9, nil)
		late.say("hello")
		b.pass(14 * time.Second)
		if mute.closedWith() != 0 {
			t.Error("closed before 15 s")
		}
		b.pass(3 * time.Second)
		if mute.closedWith() != 4108 {
			t.Errorf("a client that says nothing is closed with %d after 17 s, want 4108", mute.closedWith())
		}
		b.pass(40 * time.Second)
		if chatty.closedWith() != 0 || late.closedWith() != 0 {
			t.Error("a client that has yet to log in is closed within a minute")
		}
		late.say("in tom")
		b.pass(time.Minute)
		if chatty.closedWith() != 4108 || late.closedWith() != 0 {
			t.Errorf("after a minute: without a login closed with %d, want 4108; with one %d, want open", chatty.closedWith(), late.closedWith())
		}
		st := b.gw.Stats()
		if st.Refused["first_word"] != 1 || st.Refused["no_login"] != 1 {
			t.Errorf("counted %v", st.Refused)
		}
	})
}

func TestADrainedNodeChangesNothingForThoseWhoComeBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		tom, jerry := b.connect(), b.connect()
		tom.say("in tom Mobile d1")
		jerry.say("in jerry")
		b.pass(time.Minute)
		before := b.summary("tom")
		next := newBubble(t, "node-2", b.store)
		if err := b.gw.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if tom.closedWith() != 1001 {
			t.Errorf("closed with %d, want 1001", tom.closedWith())
		}
		b.pass(20 * time.Second)
		back := next.connect()
		back.say("in tom Mobile d1")
		b.pass(5 * time.Second)
		if got := b.summary("jerry").Status; got != presence.Online {
			t.Errorf("jerry is %v within the grace", got)
		}
		b.pass(time.Minute)
		if got := b.summary("tom"); got.Status != presence.Online || got.Since != before.Since {
			t.Errorf("tom is %v since %v, want online since %v: he came back", got.Status, got.Since, before.Since)
		}
		if got := b.summary("jerry"); got.Status != presence.Offline || got.Cause != presence.CauseDrained {
			t.Errorf("jerry is %v (%v), want offline, drained: he did not come back", got.Status, got.Cause)
		}
		if err := next.gw.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A login may be under way when its node takes the last heartbeat. It has the node's grace as all
// others have.
func TestALoginThatItsNodesDrainOvertakesStands(t *testing.T) {
	for _, shared := range []bool{false, true} {
		inBubble(t, func(b *bubble) {
			node := newModelNode(t, b.store, "node-2", shared, nil)
			if err := node.svc.Heartbeat(context.Background(), "node-2", 30*time.Second, true, bubbleNow()); err != nil {
				t.Fatal(err)
			}
			node.connect().say("in tom - d1 hand -")
			b.pass(time.Second)
			if got := b.summary("tom"); got.Status != presence.Online {
				t.Errorf("shared %v: tom is %v (%v), want online", shared, got.Status, got.Cause)
			}
			if err := node.gw.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The grace of a drained node is for devices that are still on their way.
func TestALogoutWithinTheGraceOfADrainedNodeIsOfflineAtOnce(t *testing.T) {
	for _, shared := range []bool{false, true} {
		inBubble(t, func(b *bubble) {
			first, second := newModelNode(t, b.store, "node-2", shared, nil), newModelNode(t, b.store, "node-3", shared, nil)
			p := first.connect()
			p.say("in tom - d1 hand -")
			b.pass(time.Minute)
			if err := first.gw.Drain(context.Background()); err != nil {
				t.Fatal(err)
			}
			back := second.connect()
			back.say("in tom - d1 auto -")
			b.pass(2 * time.Second)
			back.say("out")
			if got := b.summary("tom"); got.Status != presence.Offline || got.Cause != presence.CauseLogout {
				t.Errorf("shared %v: tom is %v (%v), want offline, logout", shared, got.Status, got.Cause)
			}
			if err := second.gw.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// After a kill -9 the sessions that were open end when their devices are back. Their hooks are owed
// by the ledger of package hookout, so that the gateway emits only what is its own.
func TestADeviceThatIsBackEndsItsSessionOfAKilledRun(t *testing.T) {
	inModel(t, 1, func(m *model) {
		now := bubbleNow()
		for _, id := range []presence.SessionID{"AAAAAAAA!tokened", "BBBBBBBB!another"} {
			r := presence.Report{
				App: appID, Peer: "tom", Source: presence.SourceGateway, Session: id, Node: "killed", Kind: presence.KindOnline, At: now, Incarnation: now,
			}
			if err := m.nodes[0].svc.Report(context.Background(), []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
				t.Fatal(err)
			}
		}
		m.add(step{peer: "tom", tag: "-", device: "-", auto: true}, "AAAAAAAA!tokened")
		m.play(step{what: "pass", pass: time.Second})
		if got := strings.Join(m.events["tom"], " "); got != "online" {
			t.Errorf("the events are %q, want the beginning", got)
		}
		if live := m.live("tom"); len(live) != 2 || live["AAAAAAAA!tokened"] || !live["BBBBBBBB!another"] {
			t.Errorf("live are %v, want the new one and that of the other device, which has its grace", live)
		}
	})
}

// breakable is a real store whose beats or writes fail while a test wants it.
type breakable struct {
	presence.Store
	beats, writes atomic.Bool
}

func (s *breakable) Heartbeat(ctx context.Context, n presence.NodeID, l time.Duration, d bool, now presence.Millis) error {
	if s.beats.Load() {
		return presence.ErrUnavailable
	}
	return s.Store.Heartbeat(ctx, n, l, d, now)
}

func (s *breakable) Update(ctx context.Context, k []presence.Key, now presence.Millis, m presence.Merge) error {
	if s.writes.Load() {
		return presence.ErrUnavailable
	}
	return s.Store.Update(ctx, k, now, m)
}

func inBrokenBubble(t *testing.T, fn func(*bubble, *breakable)) {
	inBubble(t, func(b *bubble) {
		s := &breakable{Store: b.store}
		n := newBubble(t, "node-2", s)
		fn(n, s)
		if err := n.gw.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestANodeThatDoesNotBeatIsDeadAndComesBack(t *testing.T) {
	inBrokenBubble(t, func(b *bubble, s *breakable) {
		p := b.connect()
		p.say("in tom")
		b.pass(7 * time.Second)
		s.beats.Store(true)
		b.pass(9 * time.Second)
		if got := b.summary("tom").Status; got != presence.Online {
			t.Errorf("tom is %v before his node's lease ended", got)
		}
		b.pass(10 * time.Second)
		if got := b.summary("tom"); got.Status != presence.Offline || got.Cause != presence.CauseNodeLost {
			t.Errorf("tom is %v (%v), want offline, node lost", got.Status, got.Cause)
		}
		s.beats.Store(false)
		b.pass(6 * time.Second)
		if got := b.summary("tom").Status; got != presence.Online {
			t.Errorf("tom is %v after his node beats again, want online: his socket was here all the time", got)
		}
		if st := b.gw.Stats(); st.HeartbeatsFailed == 0 || st.Asserted != 1 {
			t.Errorf("counted %+v", st)
		}
	})
}

func TestTheEndOfASessionWaitsForTheStore(t *testing.T) {
	inBrokenBubble(t, func(b *bubble, s *breakable) {
		tom, jerry := b.connect(), b.connect()
		tom.say("in tom")
		jerry.say("in jerry")
		s.writes.Store(true)
		_ = tom.conn.Close()
		jerry.say("out")
		late := b.connect()
		late.say("in spike")
		if !strings.Contains(late.last(), "unavailable") {
			t.Errorf("a login while the store is away hears %q", late.last())
		}
		time.Sleep(3 * time.Second)
		if got := b.summary("tom").Status; got != presence.Online {
			t.Fatalf("tom is %v while nothing can be written", got)
		}
		s.writes.Store(false)
		b.pass(3 * time.Second)
		for _, who := range []string{"tom", "jerry"} {
			if got := b.summary(who).Status; got != presence.Offline {
				t.Errorf("%s is %v when the store is back", who, got)
			}
		}
		if got := b.summary("spike").Status; got == presence.Online {
			t.Error("spike, whose login failed, is online")
		}
		if b.gw.Stats().ReportsFailed == 0 {
			t.Error("the failures are not counted")
		}
	})
}

// One end that the rules refuse refuses its whole batch, every time: it is dropped, and the others
// are reported.
func TestAnEndThatIsNotValidKeepsNoOtherBack(t *testing.T) {
	inBrokenBubble(t, func(b *bubble, s *breakable) {
		peers := []string{"tom", "jerry", "spike"}
		pipes := make([]*pipe, len(peers))
		for i, peer := range peers {
			pipes[i] = b.connect()
			pipes[i].say("in " + peer)
		}
		s.writes.Store(true) // so that they wait and come in one batch
		for _, p := range pipes {
			_ = p.conn.Close()
			synctest.Wait()
			b.gw.AddEnding(presence.Report{})
		}
		b.pass(time.Second)
		s.writes.Store(false)
		b.pass(3 * time.Second)
		for _, peer := range peers {
			if got := b.summary(peer).Status; got != presence.Offline {
				t.Errorf("%s is %v", peer, got)
			}
		}
		if st := b.gw.Stats(); st.ReportsDropped != int64(len(peers)) || !b.gw.Idle() {
			t.Errorf("%d reports are dropped, want %d; all reported: %v", st.ReportsDropped, len(peers), b.gw.Idle())
		}
	})
}

// A client that sends a little too much now and then is refused in words for as long as it likes;
// only one that does not stop is closed.
func TestAClientThatFloodsALittleForDaysIsNotClosed(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.connect()
		p.say("in tom")
		time.Sleep(time.Minute)
		flood := func(messages int) {
			for range messages {
				p.frame(1, []byte("hello"))
			}
			synctest.Wait()
		}
		for range 100 {
			flood(150)
			time.Sleep(30 * time.Minute)
		}
		if n := b.gw.Stats().Refused["messages"]; n != 5000 || p.closedWith() != 0 {
			t.Errorf("%d messages are refused, want 5000; closed with %d, want open", n, p.closedWith())
		}
		flood(1000)
		if p.closedWith() != 1008 {
			t.Errorf("after a thousand messages at once closed with %d, want 1008", p.closedWith())
		}
	})
}

func TestPingsOffMeansALongLease(t *testing.T) {
	cfg := gateway.DefaultConfig()
	cfg.Ping = 0
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "200s") && !strings.Contains(err.Error(), "3m20s") {
		t.Errorf("a lease of 45 s without pings: %v", err)
	}
	cfg.Lease = 400 * time.Second
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
