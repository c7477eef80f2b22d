package rest_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"rollcall/edge/rest"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(rest.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryCallIsDescribed(t *testing.T) {
	h, doc := open(t), description(t)
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	for _, rt := range h.routes {
		name := rt.Method + " " + rt.Path
		if !described[name] {
			t.Errorf("%s is not in openapi.yaml", name)
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("openapi.yaml describes %s, which does not exist", name)
	}
}

func TestAnswersAreAsDescribed(t *testing.T) {
	h, doc := openTimed(t), description(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1","platform":"ios"},{"user":"ann","state":"online"},{"user":"ann","state":"offline","why":"logout"}]}`)
	calls := []struct{ who, method, template, path, body string }{
		{"app", "POST", "/v1/peers/query", "/v1/peers/query", `{"peers":["tom","zed"]}`},
		{"master", "POST", "/v1/peers/query", "/v1/peers/query", `{"peers":["tom","zed"],"since":"","fields":["since","last_seen","cause","devices"]}`},
		{"app", "POST", "/v1/peers/query", "/v1/peers/query", `{"peers":7}`},
		{"hook", "POST", "/v1/events", "/v1/events", `{"events":[{"user":"active","state":"touch","session":"1","platform":"ios","activity":"idle","active_at":1795866974092}]}`},
		{"master", "POST", "/v1/peers/query", "/v1/peers/query", `{"peers":["active"],"fields":["activity","active_at","reachable","sessions"]}`},
		{"master", "POST", "/v1/peers/should-push", "/v1/peers/should-push", `{"peers":["active","zed"]}`},
		{"master", "GET", "/v1/peers", "/v1/peers?online", ``},
		{"app", "GET", "/v1/peers", "/v1/peers?online", ``},
		{"app", "GET", "/v1/peers/{id}", "/v1/peers/tom", ``},
		{"master", "GET", "/v1/peers/{id}", "/v1/peers/ann", ``},
		{"master", "GET", "/v1/peers/{id}/why", "/v1/peers/tom/why", ``},
		{"master", "GET", "/v1/peers/{id}/why", "/v1/peers/zed/why", ``},
		{"master", "GET", "/v1/peers/{id}/online-time", "/v1/peers/tom/online-time", ``},
		{"app", "GET", "/v1/peer", "/v1/peer?id=.", ``},
		{"master", "GET", "/v1/peer/why", "/v1/peer/why?id=..", ``},
		{"master", "GET", "/v1/peer/online-time", "/v1/peer/online-time?id=a%2Fb", ``},
		{"master", "DELETE", "/v1/peer", "/v1/peer?id=query", ``},
		{"hook", "POST", "/v1/events", "/v1/events", `{"events":[{"user":"tom","state":"touch","session":"1"},{"user":"x"}]}`},
		{"hook", "POST", "/v1/nodes/{node}/beat", "/v1/nodes/gw/beat", `{"lease":30}`},
		{"hook", "PUT", "/v1/nodes/{node}/sessions", "/v1/nodes/gw/sessions", `{"sessions":[]}`},
		{"hook", "POST", "/v1/nodes/{node}/drain", "/v1/nodes/gw/drain", ``},
		{"app", "POST", "/v1/ticket", "/v1/ticket", ``},
		{"master", "GET", "/v1/changes", "/v1/changes", ``},
		{"master", "GET", "/v1/changes", "/v1/changes?cursor=x", ``},
		{"app", "GET", "/v1/changes", "/v1/changes", ``},
		{"master", "GET", "/v1/stats", "/v1/stats", ``},
		{"nobody", "GET", "/v1/info", "/v1/info", ``},
		{"nobody", "GET", "/openapi.yaml", "/openapi.yaml", ``},
		{"nobody", "GET", "/openapi/", "/openapi/", ``},
		{"nobody", "GET", "/v1/watch", "/v1/watch?peer=a", ``},
		{"nobody", "POST", "/v1/watch", "/v1/watch", `{"peers":["a"]}`},
		{"nobody", "GET", "/v1/socket", "/v1/socket", ``},
		{"master", "DELETE", "/v1/peers/{id}", "/v1/peers/tom", ``},
	}
	tried := map[string]bool{}
	for _, c := range calls {
		tried[c.method+" "+c.template] = true
		t.Run(c.method+" "+c.path+" as "+c.who, func(t *testing.T) {
			h.TB = t
			res := h.do(as(c.who), c.method, c.path, c.body)
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			item := doc.Paths.Value(c.template)
			req, _ := http.NewRequestWithContext(t.Context(), c.method, h.URL+c.path, strings.NewReader(c.body))
			in := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{
					Request: req, Route: &routers.Route{Spec: doc, Path: c.template, PathItem: item, Method: c.method, Operation: item.GetOperation(c.method)},
				},
				Status: res.StatusCode, Header: res.Header,
				Options: &openapi3filter.Options{ExcludeResponseBody: !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json")},
			}
			in.SetBodyBytes(body)
			if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
				t.Errorf("%d %s: %v", res.StatusCode, body, err)
			}
		})
	}
	for name := range rights {
		if !tried[name] {
			t.Errorf("%s is not tried", name)
		}
	}
}

// What is shown as an example is what users try first.
func TestExamplesWorkAsWritten(t *testing.T) {
	h, doc := open(t), description(t)
	tried := 0
	// In the same order each time: they share peers.
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		for method, op := range doc.Paths.Value(path).Operations() {
			if op.RequestBody == nil || op.RequestBody.Value.Content.Get("application/json").Example == nil {
				continue
			}
			tried++
			body, err := json.Marshal(op.RequestBody.Value.Content.Get("application/json").Example)
			if err != nil {
				t.Fatal(err)
			}
			res := h.do(as("master"), method, strings.ReplaceAll(path, "{node}", "gw"), string(body))
			if res.StatusCode != 200 {
				t.Errorf("%s %s %s: %s", method, path, body, res.Status)
			}
			if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
				answer, err := io.ReadAll(res.Body)
				if err != nil || strings.Contains(string(answer), `"accepted":0`) {
					t.Errorf("%s %s %s: %s, %v", method, path, body, answer, err)
				}
			}
			_ = res.Body.Close()
		}
	}
	if tried < 4 {
		t.Errorf("%d examples were found", tried)
	}
}

// The page reads its parts from this server alone.
func TestThePageCallsNoOtherServer(t *testing.T) {
	h := open(t)
	res := h.do(nil, "GET", "/openapi/", "")
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res.StatusCode, err)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self'") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	parts := 0
	for _, attribute := range []string{`src="`, `href="`} {
		for i, rest := range strings.Split(string(body), attribute) {
			if i == 0 {
				continue
			}
			target, _, _ := strings.Cut(rest, `"`)
			if strings.Contains(target, "://") || strings.HasPrefix(target, "//") {
				t.Errorf("the page loads %s", target)
				continue
			}
			if !strings.HasPrefix(target, "/") {
				continue
			}
			parts++
			if status, _ := h.call("nobody", "GET", target, ""); status != 200 {
				t.Errorf("%s of the page: %d", target, status)
			}
		}
	}
	if parts == 0 {
		t.Error("the page has no parts: " + string(body))
	}
}

func readDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns the part of doc under heading.
func section(doc, heading string) string {
	_, rest, ok := strings.Cut(doc, "\n"+heading+"\n")
	if !ok {
		return ""
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return "\n" + part
}
