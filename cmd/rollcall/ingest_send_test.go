package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// send runs "rollcall ingest send" on a call of OpenIM, whose secret is in the path, and returns
// what it printed.
func send(t *testing.T, to string) (code int, out string) {
	t.Helper()
	call := filepath.Join(t.TempDir(), "call.json")
	if err := os.WriteFile(call, []byte(`{"userID":"u1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	code = run(t.Context(), []string{"ingest", "send", "openim", call, to + "/ingest/one/chat"}, []string{"ROLLCALL_SOURCE_SECRET=the-secret"}, &printed, &printed)
	if strings.Contains(printed.String(), "the-secret") {
		t.Errorf("the secret is printed: %s", &printed)
	}
	return code, printed.String()
}

func TestSendFollowsNoRedirect(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.URL.Path != "/ingest/one/chat/the-secret" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		http.Redirect(w, r, "https://elsewhere.example"+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer srv.Close()
	code, out := send(t, srv.URL)
	if code != exitFailed || asked != 1 || !strings.Contains(out, "the answer is a redirect to https://elsewhere.example, which no product follows") {
		t.Errorf("%d, asked %d times: %s", code, asked, out)
	}
}

// A server that is none of ours may answer without an end, or with bytes for a terminal.
func TestSendPrintsTheBeginningOfAnAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		for range 100 {
			_, _ = w.Write(bytes.Repeat([]byte("\x1b[31m"), 1000))
		}
	}))
	defer srv.Close()
	code, out := send(t, srv.URL)
	if code != exitFailed || len(out) > 10_000 || strings.Contains(out, "\x1b") || !strings.Contains(out, "the call was not taken: 418") {
		t.Errorf("%d: %d bytes: %.300s", code, len(out), out)
	}
}

func TestSendHidesASecretThatIsEchoed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "Cannot "+r.Method+" "+r.URL.Path, http.StatusNotFound)
	}))
	defer srv.Close()
	code, out := send(t, srv.URL)
	if code != exitFailed || !strings.Contains(out, "answer   404 Cannot POST /ingest/one/chat/***") {
		t.Errorf("%d: %s", code, out)
	}
}
