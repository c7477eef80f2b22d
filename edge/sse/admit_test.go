package sse_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rollcall/edge/sse"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/watch"
)

const (
	appID  = "rollcallTestAppId000001"
	appKey = "rollcallTestAppKey00001"
)

// A counted body counts what is read of it.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// admitting returns the calls of a door that has room for so many watchers, and what they take of
// it.
func admitting(t *testing.T, watchers int64) (http.Handler, *limit.Shared) {
	t.Helper()
	keys, err := api.NewKeyring([]api.App{{ID: appID, Key: appKey}})
	if err != nil {
		t.Fatal(err)
	}
	room := limit.NewShared(watchers, 0, 1)
	gate := api.NewGate(api.Config{}, api.Deps{Keys: keys, Watchers: room, Now: func() int64 { return 1 }})
	// No call comes as far as the hub.
	door := sse.New(sse.DefaultConfig(), sse.Deps{Hub: new(watch.Hub), Gate: gate})
	return gate.Handler(door.Routes()), room
}

func call(method, target string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr = "192.0.2.1:1"
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("X-LC-Key", appKey)
	return r
}

func ids(n int) string { return `{"peers":["a"` + strings.Repeat(`,"ann"`, n-1) + `]}` }

// A watcher for which there is no room is refused before a byte of its body is read.
func TestARefusedWatcherIsNotRead(t *testing.T) {
	h, room := admitting(t, 0)
	for _, tt := range []struct {
		method, target string
		body           *counted
	}{
		{http.MethodPost, "/v1/watch", &counted{Reader: strings.NewReader(ids(3000))}},
		{http.MethodPost, "/v1/watch", &counted{Reader: strings.NewReader("no JSON")}},
		{http.MethodGet, "/v1/watch?peer=a", &counted{Reader: strings.NewReader("")}},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, call(tt.method, tt.target, tt.body))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"too_many_watchers"`) || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", tt.method, w.Code, w.Body)
		}
		if tt.method == http.MethodPost && tt.body.n != 0 {
			t.Errorf("%d bytes of the body were read", tt.body.n)
		}
	}
	if room.Used() != 0 {
		t.Errorf("%d watchers are held by calls that were refused", room.Used())
	}
	// So it costs the same, however many peers it names.
	cost := func(n int) float64 {
		text := ids(n)
		return testing.AllocsPerRun(100, func() {
			h.ServeHTTP(httptest.NewRecorder(), call(http.MethodPost, "/v1/watch", strings.NewReader(text)))
		})
	}
	if few, many := cost(1), cost(3000); many > few+5 {
		t.Errorf("a refusal costs %v allocations with one peer and %v with 3000", few, many)
	}
}

// The share of a watcher that is refused for another reason is given back, and the reason is the
// same as before.
func TestTheShareOfARefusedWatcherIsGivenBack(t *testing.T) {
	h, room := admitting(t, 10)
	for _, tt := range []struct {
		method, target, header, value, body string
		status                              int
		code                                string
	}{
		{http.MethodPost, "/v1/watch", "", "", "no JSON", 400, "bad_json"},
		{http.MethodPost, "/v1/watch", "", "", `{"peers":[]}`, 400, "invalid"},
		{http.MethodPost, "/v1/watch", "Content-Type", "image/png", ids(1), 415, "unsupported_media"},
		{http.MethodPost, "/v1/watch", "", "", `{"peers":["` + strings.Repeat("x", 1<<20) + `"]}`, 413, "too_large"},
		{http.MethodPost, "/v1/watch", "", "", ids(2), 413, "too_many_peers"},
		{http.MethodPost, "/v1/watch", "Accept", "image/png", ids(1), 406, "not_acceptable"},
		{http.MethodGet, "/v1/watch", "", "", "", 400, "invalid"},
		{http.MethodGet, "/v1/watch?peer=a&peer=b", "", "", "", 413, "too_many_peers"},
		{http.MethodGet, "/v1/watch?peer=a", "Accept", "image/png", "", 406, "not_acceptable"},
	} {
		r := call(tt.method, tt.target, strings.NewReader(tt.body))
		if tt.header != "" {
			r.Header.Set(tt.header, tt.value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), `"`+tt.code+`"`) {
			t.Errorf("%s %s %.40s: %d %s, want %d %s", tt.method, tt.target, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
		if room.Used() != 0 {
			t.Fatalf("%s: %d watchers are held", tt.code, room.Used())
		}
	}
}
