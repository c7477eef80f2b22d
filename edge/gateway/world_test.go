package gateway_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/edge/gateway/v1"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for what must come. Reaching it is a failure, so it only has to be
// long enough for a busy machine.
const patience = 2 * time.Minute

const (
	appID     = "rollcallTestAppId000001"
	appKey    = "testAppKey0000000000001"
	masterKey = "testMasterKey0000000001"

	tokenSecret = "testTokenSecret00000000000000001"
)

// A world is a gateway with the realtime dialect on a server, over a store in memory and a wall
// clock that tests move.
type world struct {
	t      testing.TB
	gw     *gateway.Gateway
	svc    *presence.Service
	rtm    *rtm.Server
	hub    *watch.Hub
	v1     *v1.Door
	users  *usertoken.Verifier
	server *httptest.Server
	store  presence.Store
	clock  *atomic.Int64 // presence.Millis
	done   bool

	mu     sync.Mutex
	events []string // begun and ended sessions, as "online Tom" and "offline Tom replaced"
}

type settings struct {
	gateway func(*gateway.Config)
	rtm     func(*rtm.Config)
	store   presence.Store
	clock   presence.Millis
	node    presence.NodeID
	shared  bool
	// Queries and watches take a user token.
	askByToken bool
	wall       bool // the real wall clock
	events     func(gateway.Event)
	service    func(gateway.Service) gateway.Service // stands between the gateway and the rules
}

// newStore returns a store in memory that ends with the test.
func newStore(t testing.TB) presence.Store {
	t.Helper()
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, presence.MillisOf(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newWorld(t testing.TB, s settings) *world {
	t.Helper()
	w := &world{t: t, clock: new(atomic.Int64)}
	if s.store == nil {
		s.store = newStore(t)
	}
	if s.clock == 0 {
		s.clock = presence.MillisOf(time.Now())
	}
	w.clock.Store(int64(s.clock))
	w.svc = presence.NewService(s.store, presence.DefaultConfig())
	cfg := gateway.DefaultConfig()
	cfg.ConnectRate = 0
	if s.gateway != nil {
		s.gateway(&cfg)
	}
	deps := gateway.Deps{
		Service: w.svc, Node: "node-1", Shared: s.shared,
		Events: func(e gateway.Event) {
			w.note(e)
			if s.events != nil {
				s.events(e)
			}
		},
		Now: func() presence.Millis { return presence.Millis(w.clock.Add(1)) },
	}
	w.store = s.store
	if s.wall {
		deps.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	deps.Ask = ask.New(ask.Deps{Rules: w.svc, Store: s.store, Now: deps.Now})
	if s.service != nil {
		deps.Service = s.service(w.svc)
	}
	if s.node != "" {
		deps.Node = s.node
	}
	gw, err := gateway.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	w.gw = gw
	ring, err := api.NewKeyring([]api.App{{ID: appID, Key: appKey, MasterKey: masterKey, Tokens: &usertoken.Keys{Secret: tokenSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	rc := rtm.DefaultConfig()
	if s.rtm != nil {
		s.rtm(&rc)
	}
	// Tests speak through proxies.
	w.users = usertoken.New(usertoken.Deps{Life: 24 * time.Hour, Now: w.clock.Load, Log: slog.New(slog.DiscardHandler), Kicked: gw.Kicked})
	t.Cleanup(w.users.Close)
	w.rtm, err = rtm.New(rc, rtm.Deps{
		Gateway: gw, Keys: ring, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Users: w.users, Proof: rc.Signatures, AskByToken: s.askByToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	gate := api.DefaultConfig()
	gate.Limits = limit.Limits{}
	if s.askByToken {
		gate.Ask = api.ByToken
	}
	w.hub = watch.New(watch.DefaultConfig(), watch.Deps{Service: w.svc, Source: s.store, Now: func() presence.Millis { return presence.Millis(w.clock.Load()) }})
	doors := api.NewGate(gate, api.Deps{Keys: ring, Log: slog.New(slog.DiscardHandler), Now: w.clock.Load, Users: w.users})
	present := v1.Config{Proof: rc.Signatures, SignatureLife: rc.SignatureLife}
	w.v1 = v1.New(present, v1.Deps{Gateway: gw, Hub: w.hub, Gate: doors})
	mux := http.NewServeMux()
	doors.Mux(mux, w.v1.Routes())
	mux.HandleFunc("/v1/route", w.rtm.Route)
	mux.Handle("/", w.rtm)
	w.server = httptest.NewServer(mux)
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	if w.done {
		return
	}
	if err := w.gw.Close(); err != nil {
		w.t.Error(err)
	}
	w.closeDoors()
}

// closeDoors closes all but the gateway.
func (w *world) closeDoors() {
	w.done = true
	w.hub.Close(watch.ReasonShutdown)
	w.v1.Close()
	w.server.Close()
	http.DefaultClient.CloseIdleConnections()
}

func (w *world) note(e gateway.Event) {
	text := "online " + string(e.Key.Peer)
	if !e.Online {
		text = "offline " + string(e.Key.Peer) + " " + e.Cause.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, text)
}

// story returns the events so far.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.events, ", ")
}

func (w *world) advance(d time.Duration) { w.clock.Add(int64(d / time.Millisecond)) }

// until waits for what another goroutine does.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%v went by without: %s (stats %+v)", patience, what, w.gw.Stats())
		}
	}
}

func (w *world) status(peer string) presence.Status {
	w.t.Helper()
	out := make([]presence.Status, 1)
	if _, err := w.store.Statuses(context.Background(), appID, [][]byte{[]byte(peer)}, w.svc.Leases(presence.Millis(w.clock.Load())), out); err != nil {
		w.t.Fatal(err)
	}
	return out[0]
}

// A client is a raw client of the wire over another WebSocket implementation than the server's.
type client struct {
	t     testing.TB
	conn  *websocket.Conn
	proto string
}

func (w *world) dial(proto string) *client {
	w.t.Helper()
	c, err := w.tryDial(proto, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) tryDial(proto string, header http.Header) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, w.server.URL, &websocket.DialOptions{Subprotocols: []string{proto}, HTTPHeader: header})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{w.t, conn, proto}, nil
}

func (c *client) text() bool {
	return c.proto != "lc.protobuf2.1" && c.proto != "lc.protobuf2.2" && c.proto != "lc.protobuf2.3"
}

func (c *client) json() bool { return c.proto == "lc.json.1" || c.proto == "lc.json.3" }

// send sends the bytes of a command as the subprotocol has them.
func (c *client) send(b []byte) {
	c.t.Helper()
	kind := websocket.MessageBinary
	if c.text() {
		kind = websocket.MessageText
		if !c.json() {
			b = []byte(base64.StdEncoding.EncodeToString(b))
		}
	}
	c.raw(kind, b)
}

func (c *client) raw(kind websocket.MessageType, b []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.conn.Write(ctx, kind, b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// receive returns the bytes of the next command.
func (c *client) receive() []byte {
	c.t.Helper()
	b, err := c.tryReceive()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return b
}

func (c *client) tryReceive() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, b, err := c.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if (kind == websocket.MessageText) != c.text() {
		c.t.Fatalf("the answer %s is a %v message", hex.EncodeToString(b), kind)
	}
	if c.text() && !c.json() {
		return base64.StdEncoding.DecodeString(string(b))
	}
	return b, nil
}

// closeCode reads until the server has closed and returns its code.
func (c *client) closeCode() int {
	c.t.Helper()
	for {
		if _, err := c.tryReceive(); err != nil {
			return int(websocket.CloseStatus(err))
		}
	}
}
