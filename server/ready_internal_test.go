package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/edge/operator"
	"rollcall/server/config"
)

// quiet returns a server on free ports, in memory.
func quiet(t *testing.T) *Server {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	s, err := New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func get(t *testing.T, address, path string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestBeforeTheStoreIsOpenRequestsWaitAndAreThenRefused(t *testing.T) {
	s := quiet(t)
	s.app.patience = time.Millisecond
	s.app.serve()
	s.admin.serve()
	s.onStop(func(ctx context.Context) { s.admin.stop(ctx) })
	s.admin.mount(operator.Health(s.phaseName), false)
	status, h, body := get(t, s.Listen(), "/1.1/functions/getOnOffStatus")
	if status != http.StatusServiceUnavailable || body != `{"code":503,"error":"starting"}`+"\n" || h.Get("Retry-After") == "" || h.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("apps: %d %s %v", status, body, h)
	}
	status, h, body = get(t, s.Listen(), "/v1/peers/tom")
	if status != http.StatusServiceUnavailable || body != `{"code":"unavailable","error":"the server is starting"}`+"\n" || h.Get("Retry-After") == "" {
		t.Errorf("native: %d %s %v", status, body, h)
	}
	if status, _, body := get(t, s.Admin(), "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	if status, _, body := get(t, s.Admin(), "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// A hook that is refused is not sent again: what comes while the server starts waits for it. Beyond
// a bound it is refused at once.
func TestRequestsWaitForTheServerToStart(t *testing.T) {
	s := quiet(t)
	s.app.patience = time.Minute
	s.app.serve()
	s.admin.serve()
	s.onStop(func(ctx context.Context) { s.admin.stop(ctx) })
	answers := make(chan int, maxWaiting)
	ask := func() {
		resp, err := http.Post("http://"+s.Listen()+"/1.1/functions/_clientOnline", "application/json", strings.NewReader(`{"peerId":"tom"}`))
		if err != nil {
			answers <- 0
			return
		}
		_ = resp.Body.Close()
		answers <- resp.StatusCode
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for range 3 {
		go ask()
	}
	for s.app.waiting.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	s.app.waiting.Add(maxWaiting)
	if ask(); <-answers != http.StatusServiceUnavailable {
		t.Error("one more than may wait is not refused at once")
	}
	s.app.waiting.Add(-maxWaiting)
	s.app.mount(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != `{"peerId":"tom"}` {
			w.WriteHeader(http.StatusTeapot)
		}
	}), true)
	for range 3 {
		if got := <-answers; got != http.StatusOK {
			t.Errorf("a request that waited is answered %d", got)
		}
	}
}

// What comes on a connection while the server stops is answered and ends it; the port is closed
// already.
func TestAStoppingServerAnswersWhatIsOpen(t *testing.T) {
	s := quiet(t)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(path string) *http.Response {
		resp, err := http.Post("http://"+s.Listen()+path, "application/json", strings.NewReader(`{"peerIds":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	const lane = "/1.1/functions/getOnOffStatus"
	if resp := ask(lane); resp.Close {
		t.Error("a connection is ended before the server stops")
	}
	s.app.drain(t.Context())
	if resp := ask(lane); !resp.Close {
		t.Error("an answer of a stopping server keeps its connection")
	}
	s.app.linger(t.Context())
	if n := s.app.conns.Open(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	if _, err := http.Get("http://" + s.Listen() + lane); err == nil {
		t.Error("a new connection is accepted")
	}
}

func TestAStoreInTroubleIsNotReady(t *testing.T) {
	s := quiet(t)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.store.trouble = func() string { return "the disk is full" }
	if status, _, body := get(t, s.Admin(), "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the disk is full") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _, body := get(t, s.Admin(), "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	if _, _, body := get(t, s.Admin(), "/metrics"); !strings.Contains(body, "rollcall_store_trouble 1") {
		t.Error("the metrics do not tell")
	}
	if _, _, body := get(t, s.Admin(), "/status"); !strings.Contains(body, `"trouble": "the disk is full"`) {
		t.Errorf("the status does not tell: %s", body)
	}
}
