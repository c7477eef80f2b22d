package rest_test

import (
	"net/http"
	"sort"
	"strings"
	"testing"

	"rollcall/internal/api"
	"rollcall/watch"
)

// rights says for every call what each caller gets: no key, a key of another app, the app key, a
// user token, the hook key, the master key. A call without a row fails. 0 stands for anything but a
// refusal.
var rights = map[string][6]int{
	"POST /v1/peers/query":           {401, 401, 0, 0, 403, 0},
	"POST /v1/peers/should-push":     {401, 401, 403, 403, 403, 0},
	"GET /v1/peers":                  {401, 401, 403, 403, 403, 0},
	"GET /v1/peers/{id}":             {401, 401, 0, 0, 403, 0},
	"DELETE /v1/peers/{id}":          {401, 401, 403, 403, 403, 0},
	"GET /v1/peers/{id}/why":         {401, 401, 403, 403, 403, 0},
	"GET /v1/peers/{id}/online-time": {401, 401, 403, 403, 403, 0},
	"GET /v1/peer":                   {401, 401, 0, 0, 403, 0},
	"DELETE /v1/peer":                {401, 401, 403, 403, 403, 0},
	"GET /v1/peer/why":               {401, 401, 403, 403, 403, 0},
	"GET /v1/peer/online-time":       {401, 401, 403, 403, 403, 0},
	"POST /v1/events":                {401, 401, 403, 403, 0, 0},
	"POST /v1/nodes/{node}/beat":     {401, 401, 403, 403, 0, 0},
	"POST /v1/nodes/{node}/drain":    {401, 401, 403, 403, 0, 0},
	"PUT /v1/nodes/{node}/sessions":  {401, 401, 403, 403, 0, 0},
	"POST /v1/ticket":                {401, 401, 0, 0, 403, 0},
	"GET /v1/watch":                  {401, 401, 0, 0, 403, 0},
	"POST /v1/watch":                 {401, 401, 0, 0, 403, 0},
	"GET /v1/changes":                {401, 401, 403, 403, 403, 0},
	"GET /v1/stats":                  {401, 401, 403, 403, 403, 0},
	"GET /v1/info":                   {0, 0, 0, 0, 0, 0},
	"GET /v1/socket":                 {0, 0, 0, 0, 0, 0}, // who it is it says inside
	"GET /openapi.yaml":              {0, 0, 0, 0, 0, 0},
	"GET /openapi/":                  {0, 0, 0, 0, 0, 0},
}

func TestWhoMayCallWhat(t *testing.T) {
	for _, ask := range []string{api.Anyone, api.ByToken} {
		t.Run(ask, func(t *testing.T) { holdToRights(t, ask) })
	}
}

// holdToRights tries every call as every caller. Where callers ask by user tokens, the app key is
// not enough for what it may do else.
func holdToRights(t *testing.T, ask string) {
	h := open(t, func(c *api.Config, _ *watch.Config) { c.Ask = ask })
	callers := []string{"nobody", "foreign", "app", "tom", "hook", "master"}
	for _, rt := range h.routes {
		name := rt.Method + " " + rt.Path
		row, ok := rights[name]
		if !ok {
			t.Errorf("%s has no row", name)
			continue
		}
		path := strings.NewReplacer("{id}", "tom", "{node}", "gw").Replace(rt.Path)
		if ask == api.ByToken && rt.Need == api.NeedAsker {
			row[2] = 403
		}
		for i, who := range callers {
			res := h.do(as(who), rt.Method, path, "")
			_ = res.Body.Close()
			refused := res.StatusCode == 401 || res.StatusCode == 403
			if row[i] == 0 && refused || row[i] != 0 && res.StatusCode != row[i] {
				t.Errorf("%s as %s: %d, want %d", name, who, res.StatusCode, row[i])
			}
		}
	}
	if len(rights) != len(h.routes) {
		t.Errorf("%d rows for %d calls", len(rights), len(h.routes))
	}
}

// An id that is known and one that is not look alike to those who may not ask.
func TestRefusalsRevealNoIDs(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"known","state":"online"}]}`)
	for _, who := range []string{"nobody", "foreign", "hook"} {
		s1, known := h.call(who, "GET", "/v1/peers/known", "")
		s2, unknown := h.call(who, "GET", "/v1/peers/unknown", "")
		if s1 != s2 || known != unknown || strings.Contains(known, "known") {
			t.Errorf("as %s: %d %s and %d %s", who, s1, known, s2, unknown)
		}
	}
}

// Every code the doors may answer is listed once; docs/api.md is held to the same list.
func TestCodesAreListedOnce(t *testing.T) {
	seen := map[string]bool{}
	var codes []string
	for _, c := range api.Codes {
		if seen[c.Code] {
			t.Errorf("%s is listed twice", c.Code)
		}
		seen[c.Code] = true
		codes = append(codes, c.Code)
		if c.Status < 400 || c.Status > 599 || http.StatusText(c.Status) == "" {
			t.Errorf("%s comes with %d", c.Code, c.Status)
		}
	}
	doc := section(readDoc(t), "## Refusals")
	for _, c := range api.Codes {
		row := "| `" + c.Code + "` |"
		if strings.Count(doc, row) != 1 {
			t.Errorf("docs/api.md has %d rows for %s", strings.Count(doc, row), c.Code)
		}
	}
	if got := strings.Count(doc, "\n| `"); got != len(codes) {
		sort.Strings(codes)
		t.Errorf("docs/api.md lists %d codes, there are %d: %v", got, len(codes), codes)
	}
}
