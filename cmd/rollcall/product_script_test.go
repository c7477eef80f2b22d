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

// productScript starts a backend that answers who is online, as sources of the kinds generic and
// leancloud ask it.
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
		var in struct {
			Peers   []string
			Clients []string `json:"client_ids"`
		}
		switch {
		case r.Header.Get("X-Lc-Key") == "the-master-key-there,master" && r.URL.Path == "/1.2/rtm/clients/check-online":
			_ = json.NewDecoder(r.Body).Decode(&in)
			results := []string{}
			for _, p := range in.Clients {
				if slices.Contains(online, p) {
					results = append(results, p)
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
			return
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
