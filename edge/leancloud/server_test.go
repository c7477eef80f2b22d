package leancloud_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/edge/leancloud"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/store/embedded"
)

const (
	appID     = "rollcallTestAppId000001"
	appKey    = "testAppKey0000000000001"
	masterKey = "testMasterKey0000000001"
	hookKey   = "testHookKey00000000001"
)

// A testServer is the dialect on a loopback port, with a clock of its own.
type testServer struct {
	*httptest.Server
	Handler *leancloud.Handler
	Store   *embedded.Store
	Service *presence.Service
	now     atomic.Int64
}

func start(t testing.TB, cfg leancloud.Config) *testServer {
	t.Helper()
	return startWith(t, cfg, nil)
}

func startWith(t testing.TB, cfg leancloud.Config, kicker leancloud.Kicker) *testServer {
	t.Helper()
	s := build(t, cfg, kicker)
	s.Server = httptest.NewServer(s.Handler)
	t.Cleanup(s.Close)
	return s
}

func build(t testing.TB, cfg leancloud.Config, kicker leancloud.Kicker) *testServer {
	t.Helper()
	ring, err := api.NewKeyring([]api.App{
		{ID: appID, Key: appKey, MasterKey: masterKey, HookKey: hookKey},
		{ID: "bare", Key: "the-key-of-bare"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{}
	s.now.Store(1_750_000_000_000)
	if s.Store, err = embedded.Open(embedded.Config{}, embedded.Deps{}, presence.Millis(s.now.Load())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Store.Close() })
	s.Service = presence.NewService(s.Store, presence.DefaultConfig())
	now := func() presence.Millis { return presence.Millis(s.now.Load()) }
	s.Handler, err = leancloud.New(cfg, leancloud.Deps{
		Intake: intake.New(intake.DefaultConfig(), intake.Deps{Service: s.Service, Now: now}),
		Ask:    ask.New(ask.Deps{Rules: s.Service, Store: s.Store, Now: now}), Keys: ring, Kicker: kicker,
		Now: now, Version: "dev", BodyTimeout: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func asClient(more ...string) http.Header {
	return headers(append([]string{"X-LC-Id", appID, "X-LC-Key", appKey, "Content-Type", "application/json"}, more...)...)
}

func asHook() http.Header { return asClient("X-LC-Hook-Key", hookKey) }

func asMaster() http.Header {
	return headers("X-LC-Id", appID, "X-LC-Key", masterKey+",master", "Content-Type", "application/json")
}

// hook sends an online or offline hook. With maybe a refusal is allowed: the original stored what
// we do not.
func (s *testServer) hook(t testing.TB, event, peer string, maybe bool) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"peerId": peer})
	if err != nil {
		t.Fatal(err)
	}
	name := map[string]string{"online": "_clientOnline", "offline": "_clientOffline"}[event]
	resp, got := s.send(t, http.MethodPost, "/1.1/functions/"+name, asHook(), body)
	if resp.StatusCode != http.StatusOK && !maybe {
		t.Fatalf("%s hook of %q: %d %s", event, peer, resp.StatusCode, got)
	}
}
