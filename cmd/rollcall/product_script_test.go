//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// productScript starts a backend that answers who is online, as a source of kind generic asks it.
// It reads a file at each call: the ids of those who are online, or as its first line a status to
// answer with.
func productScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: product NAME FILE")
	}
	file := ts.MkAbs(args[1])
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		online := strings.Fields(string(b))
		var in struct{ Peers []string }
		switch {
		case r.Header.Get("X-Rollcall-Signature") == "" || slices.Contains(online, "401"):
			http.Error(w, "no", http.StatusUnauthorized)
			return
		case json.NewDecoder(r.Body).Decode(&in) != nil:
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		peers := map[string]any{}
		for _, p := range in.Peers {
			peers[p] = map[string]bool{"online": slices.Contains(online, p)}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"peers": peers})
	}))
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}
