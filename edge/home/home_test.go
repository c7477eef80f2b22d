package home_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"rollcall/edge/home"
)

func page(t *testing.T, cfg home.Config, method string) (http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	home.New(cfg).ServeHTTP(w, httptest.NewRequest(method, "/", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s / is answered %d", method, w.Code)
	}
	return w.Header(), w.Body.String()
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	h, body := page(t, home.Config{Release: "1.2.3"}, "GET")
	if m := regexp.MustCompile(`(?i)<script|<img|<link|https?://|//[a-z]`).FindString(body); m != "" {
		t.Errorf("the page has %q", m)
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(h.Get("Content-Security-Policy"), want) {
		t.Errorf("the policy %q does not allow the page's own style, %s", h.Get("Content-Security-Policy"), want)
	}
	for _, want := range []string{"/openapi/", "README.md", "在线状态", "1.2.3"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not name %s", want)
		}
	}
	if strings.Contains(body, "/demo/") {
		t.Error("the page leads to a demo that does not run")
	}
}

func TestThePageLeadsToTheDemo(t *testing.T) {
	if _, body := page(t, home.Config{Demo: true}, "GET"); strings.Count(body, `href="/demo/"`) != 2 {
		t.Errorf("not one link in each language:\n%s", body)
	}
}

func TestAHeadHasNoBody(t *testing.T) {
	if h, body := page(t, home.Config{}, "HEAD"); body != "" || h.Get("Content-Length") == "0" {
		t.Errorf("length %s, body %q", h.Get("Content-Length"), body)
	}
}

func TestOnlyTheRootIsThePage(t *testing.T) {
	for target, want := range map[string]bool{"GET /": true, "HEAD /": true, "GET /?x=1": true, "POST /": false, "OPTIONS /": false, "GET /x": false, "GET //": false} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, "/", nil)
		r.URL.Path, _, _ = strings.Cut(path, "?")
		if got := home.Wants(r); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}
