package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/server"
)

const (
	traceID   = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceSpan = "00f067aa0ba902b7"
	parent    = "00-" + traceID + "-" + traceSpan + "-01"
)

// lines is a log that a test reads while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// await returns the line that has every part.
func (l *lines) await(t *testing.T, parts ...string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		text := l.buf.String()
		l.mu.Unlock()
	each:
		for line := range strings.Lines(text) {
			for _, p := range parts {
				if !strings.Contains(line, p) {
					continue each
				}
			}
			return line
		}
		if time.Now().After(end) {
			t.Fatalf("no line has %q:\n%s", parts, text)
		}
	}
}

// TestATraceGoesThrough: the trace of a request is in the line of its refusal at every door, in the
// exemplar of its duration, and in the hooks that follow from it.
func TestATraceGoesThrough(t *testing.T) {
	hooks := make(chan http.Header, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hooks <- r.Header }))
	defer app.Close()
	cfg, log := settings(), &lines{}
	cfg.Hooks.URL = app.URL
	s, err := server.New(cfg, slog.New(slog.NewTextHandler(log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	base := "http://" + s.Listen()

	refused := map[string]string{ // by door: a trace of its own, and a call with a wrong key
		"leancloud": "POST /1.1/functions/getOnOffStatus", // in the lane
		"rest":      "POST /v1/events",
		"watch":     "POST /v1/watch",
		"rtm":       "GET /?subprotocol=lc.json.3",
	}
	for door, call := range refused {
		time.Sleep(150 * time.Millisecond) // there are ten lines a second
		method, path, _ := strings.Cut(call, " ")
		headers := []string{"X-LC-Id", appID, "X-LC-Key", "wrong", "Traceparent", parent}
		if door == "rtm" {
			headers = append(headers, "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "12")
		}
		if status, body := ask(t, method, base+path, `{"peerIds":["tom"]}`, headers...); status < 400 {
			t.Fatalf("%s: %d %s", call, status, body)
		}
		log.await(t, "request refused", "trace="+traceID, "span="+traceSpan, "door="+door)
	}

	if status, body := ask(t, "POST", base+"/v1/peers/query", `{"peers":["tom"]}`, "X-LC-Id", appID, "X-LC-Key", appKey, "Traceparent", parent); status != http.StatusOK {
		t.Fatalf("a query is answered %d %s", status, body)
	}
	_, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.Contains(metrics, `# {trace_id="`+traceID+`"}`) || !strings.HasSuffix(metrics, "# EOF\n") {
		t.Errorf("no exemplar has the trace:\n%s", metrics)
	}
	if _, plain := ask(t, "GET", "http://"+s.Admin()+"/metrics", ""); strings.Contains(plain, "trace_id") {
		t.Error("the plain format has exemplars, which it does not know")
	}

	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(base, "http")+"/v1/socket", &websocket.DialOptions{HTTPHeader: http.Header{"Traceparent": {parent}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{`{"op":"hello","app":"` + appID + `","key":"` + appKey + `"}`, `{"op":"present","id":1,"peer":"tom"}`} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	spans := map[string]bool{traceSpan: true}
	for _, what := range []string{"online", "offline"} {
		h := <-hooks
		got := h.Get("Traceparent")
		span := strings.TrimSuffix(strings.TrimPrefix(got, "00-"+traceID+"-"), "-01")
		if len(span) != 16 || spans[span] {
			t.Errorf("the hook of the %s has the trace %q", what, got)
		}
		spans[span] = true
		_ = c.CloseNow()
	}
}

// TestPrometheusReadsTheMetrics: promtool finds no fault in them.
func TestPrometheusReadsTheMetrics(t *testing.T) {
	s := start(t, settings())
	hook(t, s, "_clientOnline", "tom")
	_, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", "")
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin, cmd.Stderr = strings.NewReader(metrics), os.Stderr
	if out, err := cmd.Output(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
