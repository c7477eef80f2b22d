package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

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

func TestOperatorsSeeAServerThatStarts(t *testing.T) {
	s := quiet(t)
	s.admin.Serve()
	s.onStop(func(ctx context.Context) { s.admin.Stop(ctx) })
	s.app.Serve()
	s.admin.Mount(operator.Health(s.phaseName), false)
	if status, _, body := get(t, s.Admin(), "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	if status, _, body := get(t, s.Admin(), "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
		t.Errorf("/readyz: %d %s", status, body)
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
	s.app.Drain(t.Context())
	if resp := ask(lane); !resp.Close {
		t.Error("an answer of a stopping server keeps its connection")
	}
	s.app.Linger(t.Context())
	if n := s.app.Conns.Open(); n != 0 {
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
