package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/ask"
	"rollcall/ask/token"
	"rollcall/edge/changes"
	"rollcall/edge/gateway"
	socket "rollcall/edge/gateway/v1"
	"rollcall/edge/rest"
	"rollcall/edge/sse"
	"rollcall/feed"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID     = "the-app"
	appKey    = "app-key-000000000000"
	masterKey = "master-key-000000000"
	hookKey   = "rcSecret"

	tokenSecret = "the secret of user tokens, 32 bytes"

	otherApp, otherKey = "other-app", "other-key-00000000"
)

// A house is every native door behind one gate on a server, over a store in memory and a clock that
// tests may move.
type house struct {
	testing.TB
	*httptest.Server
	service *presence.Service
	hub     *watch.Hub
	gate    *api.Gate
	gateway func() *gateway.Gateway
	tokens  *token.Sealer
	routes  []api.Route
	ahead   atomic.Int64 // of the wall clock, in ms
}

func (h *house) now() presence.Millis {
	return presence.MillisOf(time.Now()) + presence.Millis(h.ahead.Load())
}

func open(t testing.TB, change ...func(*api.Config, *watch.Config)) *house {
	t.Helper()
	return openOver(t, presence.DefaultConfig(), change...)
}

// openTimed returns a house that keeps online time.
func openTimed(t testing.TB) *house {
	t.Helper()
	cfg := presence.DefaultConfig()
	cfg.Rules.OnlineTime = true
	return openOver(t, cfg)
}

func openOver(t testing.TB, rules presence.Config, change ...func(*api.Config, *watch.Config)) *house {
	t.Helper()
	return build(t, rules, func(*gateway.Config, *sse.Config) {}, change...)
}

// build returns a house whose doors for watchers are set by doors.
func build(t testing.TB, rules presence.Config, doors func(*gateway.Config, *sse.Config), change ...func(*api.Config, *watch.Config)) *house {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, (&house{}).now())
	if err != nil {
		t.Fatal(err)
	}
	return buildOn(t, st, rules, doors, change...)
}

// buildOn is build over a store of any kind, which it closes.
func buildOn(t testing.TB, st presence.Store, rules presence.Config, doors func(*gateway.Config, *sse.Config), change ...func(*api.Config, *watch.Config)) *house {
	t.Helper()
	h := &house{TB: t}
	h.service = presence.NewService(st, rules)
	ring, err := api.NewKeyring([]api.App{
		{ID: appID, Key: appKey, MasterKey: masterKey, HookKey: hookKey, Tokens: &usertoken.Keys{Secret: tokenSecret}},
		{ID: otherApp, Key: otherKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, hub := api.DefaultConfig(), watch.DefaultConfig()
	for _, f := range change {
		f(&cfg, &hub)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	now := func() int64 { return int64(h.now()) }
	var gw *gateway.Gateway
	users := usertoken.New(usertoken.Deps{
		Life: cfg.UserTokenLife, Now: now, Log: log,
		Kicked: func(ctx context.Context, key presence.Key) (presence.Millis, error) { return gw.Kicked(ctx, key) },
	})
	t.Cleanup(users.Close)
	gate := api.NewGate(cfg, api.Deps{Keys: ring, Log: log, Now: now, BodyTimeout: 10 * time.Second, Users: users})
	h.gate = gate
	h.tokens = token.NewSealer(func(app presence.AppID) (string, string) { return "secret of " + string(app), "" })
	h.gateway = func() *gateway.Gateway { return gw }
	h.hub = watch.New(hub, watch.Deps{Service: h.service, Source: st, Now: h.now, Tokens: h.tokens})
	reader := ask.New(ask.Deps{Rules: h.service, Store: st, Now: h.now, Tokens: h.tokens})
	sockets, streams := gateway.DefaultConfig(), sse.DefaultConfig()
	doors(&sockets, &streams)
	gw, err = gateway.New(sockets, gateway.Deps{Service: h.service, Ask: reader, Node: "node-1", Log: log, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	door := rest.Deps{
		Service: h.service, Intake: intake.New(intake.DefaultConfig(), intake.Deps{Service: h.service, Now: h.now}), Ask: reader, Gate: gate, Now: h.now, Others: rest.Others{Ask: cfg.Ask, Present: cfg.Present},
		Sample: func(ctx context.Context, app presence.AppID) (rest.Sample, error) {
			c, err := st.Counts(ctx, app, h.now())
			return rest.Sample{Counts: c}, err
		},
	}
	door.History, _ = rest.OpenHistory("")
	speakers := socket.New(socket.Config{}, socket.Deps{Gateway: gw, Hub: h.hub, Gate: gate})
	h.routes = append(rest.New(rest.DefaultConfig(), door).Routes(), sse.New(streams, sse.Deps{Hub: h.hub, Gate: gate}).Routes()...)
	h.routes = append(h.routes, speakers.Routes()...)
	changed := feed.New(feed.DefaultConfig(), feed.Deps{Service: h.service, Source: st, Now: h.now})
	h.routes = append(h.routes, changes.New(changes.DefaultConfig(), changes.Deps{Feed: changed, Tokens: h.tokens}).Routes()...)
	mux := http.NewServeMux()
	gate.Mux(mux, h.routes)
	mux.Handle("/", gate.NotFound())
	h.Server = httptest.NewUnstartedServer(gate.Clean(mux))
	h.Config.ConnContext = api.WithConn
	h.Start()
	t.Cleanup(func() {
		h.hub.Close(watch.ReasonShutdown)
		changed.Close()
		if err := gw.Close(); err != nil {
			t.Error(err)
		}
		speakers.Close()
		h.Server.Close()
		http.DefaultClient.CloseIdleConnections()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// as returns the headers of a caller.
func as(who string) http.Header {
	h := http.Header{}
	set := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
	}
	switch who {
	case "app":
		set("X-LC-Id", appID, "X-LC-Key", appKey)
	case "foreign":
		set("X-LC-Id", appID, "X-LC-Key", otherKey)
	case "hook":
		set("X-LC-Id", appID, "X-LC-Hook-Key", hookKey)
	case "tom", "ann":
		set("X-LC-Id", appID, "Authorization", "Bearer "+userToken(who))
	case "master":
		set("X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	}
	return h
}

// userToken returns a token of a peer, made two seconds ago.
func userToken(peer string) string {
	text, err := usertoken.Make(tokenSecret, appID, presence.PeerID(peer), time.Now().Add(-2*time.Second), time.Hour)
	if err != nil {
		panic(err)
	}
	return text
}

// call asks the server and returns the status and the body.
func (h *house) call(who, method, path, body string) (int, string) {
	h.Helper()
	res := h.do(as(who), method, path, body)
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		h.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(b))
}

func (h *house) do(head http.Header, method, path, body string) *http.Response {
	h.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header = head.Clone()
	if body != "" && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	return res
}

// expect asks as who and holds the answer to a status and a body.
func (h *house) expect(who, method, path, body string, status int, want string) {
	h.Helper()
	got, text := h.call(who, method, path, body)
	if got != status || want != "" && text != want {
		h.Errorf("%s %s %s as %s: got %d %s, want %d %s", method, path, body, who, got, text, status, want)
	}
}

// events reports, as the hook does.
func (h *house) events(body string) {
	h.Helper()
	h.expect("hook", "POST", "/v1/events", body, 200, "")
}

// A stream is an open event stream.
type stream struct {
	testing.TB
	res  *http.Response
	scan *bufio.Scanner
}

type sseEvent struct{ Name, ID, Data string }

func (h *house) stream(head http.Header, path string) *stream {
	h.Helper()
	res := h.do(head, "GET", path, "")
	if res.StatusCode != 200 {
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		h.Fatalf("GET %s: %d %s", path, res.StatusCode, b)
	}
	s := &stream{h.TB, res, bufio.NewScanner(res.Body)}
	s.scan.Buffer(nil, 1<<20)
	h.Cleanup(s.close)
	return s
}

func (s *stream) close() { _ = s.res.Body.Close() }

// next returns the next event that has data; the zero event at the end.
func (s *stream) next() (e sseEvent) {
	s.Helper()
	for s.scan.Scan() {
		name, value, _ := strings.Cut(s.scan.Text(), ": ")
		switch name {
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		case "data":
			e.Data = value
		case "":
			if e.Data != "" {
				return e
			}
			e = sseEvent{}
		}
	}
	return sseEvent{}
}

// text returns what e says as "name peer=status …".
func (e sseEvent) text() string {
	var in struct {
		Peers []struct{ Peer, Status string }
	}
	if json.Unmarshal([]byte(e.Data), &in) != nil {
		return "not JSON: " + e.Data
	}
	s := e.Name
	for _, p := range in.Peers {
		s += " " + p.Peer + "=" + p.Status
	}
	return s
}

func (s *stream) expect(want string) sseEvent {
	s.Helper()
	e := s.next()
	if e.text() != want {
		s.Errorf("received %q, want %q", e.text(), want)
	}
	return e
}
