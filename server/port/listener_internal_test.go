package port

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/systemd"
	"rollcall/server/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet returns a listener on a free port that does not serve yet.
func quiet(t *testing.T) *Listener {
	t.Helper()
	l, err := Bind(Port{Setting: "listen", Address: "127.0.0.1:0", Max: 100, Write: time.Minute}, config.Default().HTTP, &systemd.Inherited{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop(context.Background()) })
	return l
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

func TestBeforeAHandlerIsMountedRequestsWaitAndAreThenRefused(t *testing.T) {
	l := quiet(t)
	l.patience = time.Millisecond
	l.Serve()
	status, h, body := get(t, l.Address(), "/1.1/functions/getOnOffStatus")
	if status != http.StatusServiceUnavailable || body != `{"code":503,"error":"starting"}`+"\n" || h.Get("Retry-After") == "" || h.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("apps: %d %s %v", status, body, h)
	}
	status, h, body = get(t, l.Address(), "/v1/peers/tom")
	if status != http.StatusServiceUnavailable || body != `{"code":"unavailable","error":"the server is starting"}`+"\n" || h.Get("Retry-After") == "" {
		t.Errorf("native: %d %s %v", status, body, h)
	}
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	l := quiet(t)
	l.Serve()
	_, err := Bind(Port{Setting: "listen", Address: l.Address(), Max: 100, Write: time.Minute}, config.Default().HTTP, &systemd.Inherited{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another program listens on "+l.Address()) || !strings.Contains(config.HintOf(err), "--listen :3100") {
		t.Errorf("got %v, hint %q", err, config.HintOf(err))
	}
}

// A hook that is refused is not sent again: what comes while the server starts waits for it. Beyond
// a bound it is refused at once.
func TestRequestsWaitForTheServerToStart(t *testing.T) {
	l := quiet(t)
	l.patience = time.Minute
	l.Serve()
	answers := make(chan int, maxWaiting)
	ask := func() {
		resp, err := http.Post("http://"+l.Address()+"/1.1/functions/_clientOnline", "application/json", strings.NewReader(`{"peerId":"tom"}`))
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
	for l.waiting.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	l.waiting.Add(maxWaiting)
	if ask(); <-answers != http.StatusServiceUnavailable {
		t.Error("one more than may wait is not refused at once")
	}
	l.waiting.Add(-maxWaiting)
	l.Mount(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
