package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rollcall/internal/api"
	"rollcall/internal/limit"
)

// operators returns what answers operators of a server with apps: who called, and with which
// rights.
func operators(t *testing.T, apps ...api.App) http.Handler {
	t.Helper()
	keys, err := api.NewKeyring(apps)
	if err != nil {
		t.Fatal(err)
	}
	deps := api.Deps{
		Keys: keys, Now: func() int64 { return 0 }, Log: slog.New(slog.DiscardHandler),
		Watchers: limit.NewShared(1, 1, 1), Watched: limit.NewShared(1, 1, 1), Bodies: limit.NewShared(1, 0, 1),
	}
	handler := func(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
		if r.Method == http.MethodPost {
			if _, err := c.ReadBody(w, r, 1<<20); err != nil {
				return err
			}
		}
		share, err := c.Watch()
		if err != nil {
			return err
		}
		defer share.Release()
		if err := share.Add(100); err != nil {
			return err
		}
		if !c.Master() || !c.Detailed() || !c.Rights.Has(api.Hook) {
			t.Errorf("an operator has the rights %b", c.Rights)
		}
		return c.TakeIDs(1 << 30)
	}
	return api.NewGate(api.DefaultConfig(), deps).Operator().Handler([]api.Route{
		{Method: http.MethodGet, Path: "/v1/master", Need: api.NeedMaster, Handler: handler},
		{Method: http.MethodPost, Path: "/v1/report", Need: api.NeedReporter, Raw: true, Handler: handler},
	})
}

func TestOperatorsNeedNoKey(t *testing.T) {
	one := []api.App{{ID: "one", Key: appKey, MasterKey: masterKey}}
	two := append([]api.App{{ID: "two", Key: "key-of-the-second-app"}}, one...)
	long := strings.Repeat("x", 100<<10)
	for _, tt := range []struct {
		name                   string
		apps                   []api.App
		method, target, header string
		body                   string
		want                   int
		text, app              string
	}{
		{"the only app", one, "GET", "/v1/master", "", "", 200, "", "one"},
		{"an app by the query", two, "GET", "/v1/master?app=two", "", "", 200, "", "two"},
		{"an app by its header", two, "GET", "/v1/master", "X-LC-Id: one", "", 200, "", "one"},
		{"one of several", two, "GET", "/v1/master", "", "", 400, "there are 2 apps; say which one", ""},
		{"no such app", one, "GET", "/v1/master?app=nope", "", "", 400, `there is no app \"nope\" here`, ""},
		{"a wrong key is not looked at", one, "GET", "/v1/master", "X-LC-Key: wrong", "", 200, "", "one"},
		{"a report with a long body", one, "POST", "/v1/report", "", long, 200, "", "one"},
		{"a report by a page of this listener", one, "POST", "/v1/report", "Origin: http://127.0.0.1:3001", "{}", 200, "", "one"},
		{"a report by a page elsewhere", one, "POST", "/v1/report", "Origin: https://evil.example", "{}", 403, "another origin", ""},
		{"a report by a page of another port", one, "POST", "/v1/report", "Origin: http://127.0.0.1:8080", "{}", 403, "another origin", ""},
		{"a page that hides where it is", one, "POST", "/v1/report", "Sec-Fetch-Site: cross-site", "{}", 403, "another origin", ""},
	} {
		r := httptest.NewRequest(tt.method, "http://127.0.0.1:3001"+tt.target, strings.NewReader(tt.body))
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		operators(t, tt.apps...).ServeHTTP(w, r)
		if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.text) || w.Header().Get(api.AppHeader) != tt.app {
			t.Errorf("%s: got %d %s for app %q", tt.name, w.Code, w.Body, w.Header().Get(api.AppHeader))
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: pages of %s may read the answer", tt.name, got)
		}
	}
}
