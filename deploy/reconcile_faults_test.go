//go:build faults && linux

package deploy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// asked starts a server whose source is asked of a backend that has every peer online, until what
// it returns is set to a status: with 200 none is.
func (s *scene) asked() (*server, *atomic.Int64) {
	var lie atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Peers []string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		peers := map[string]any{}
		for _, p := range in.Peers {
			peers[p] = map[string]bool{"online": lie.Load() == 0}
		}
		if status := int(lie.Load()); status != 0 {
			w.WriteHeader(status)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"peers": peers})
	}))
	s.Cleanup(backend.Close)
	s.config = filepath.Join(s.TempDir(), "rollcall.yaml")
	source := "sources:\n- {id: im, kind: generic, secret: secret-of-the-source, reconcile: {every: 1m, lag: 1s, confirm: 1s, url: '" + backend.URL +
		"', key: key-of-the-questions}}\n"
	if err := os.WriteFile(s.config, []byte(source), 0o600); err != nil {
		s.Fatal(err)
	}
	v := s.serve()
	s.until("the server asks", func() bool { return v.value(`rollcall_reconcile{app="app",of="asks"`) == 1 })
	return v, &lie
}

// round has an operator begin a run about peers, all when there are none, and waits for its end.
func (v *server) round(peers ...string) {
	v.Helper()
	resp, err := client.Post(v.admin+"/reconcile/app/im", "text/plain", strings.NewReader(strings.Join(peers, "\n")))
	if err != nil {
		v.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		v.Fatalf("a run is answered %d", resp.StatusCode)
	}
	v.until("the run ends", func() bool {
		resp, err := client.Get(v.admin + "/reconcile")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var st struct {
			Sources []struct{ Run struct{ Ended int64 } }
		}
		return json.NewDecoder(resp.Body).Decode(&st) == nil && len(st.Sources) == 1 && st.Sources[0].Run.Ended != 0
	})
}

func emptyList(s *scene) {
	v, lie := s.asked()
	var peers []string
	for i := range 20 {
		peers = append(peers, fmt.Sprint("eve", i))
	}
	v.round(peers...)
	v.begin(10)
	time.Sleep(1100 * time.Millisecond) // the answers before are older than the lag
	lie.Store(http.StatusOK)
	v.round()
	v.record(8, nothing)
}

// keyRefused lasts longer than two rounds of a minute; a scrape is every two seconds.
func keyRefused(s *scene) {
	v, lie := s.asked()
	v.round("eve")
	v.begin(10)
	lie.Store(http.StatusUnauthorized)
	v.round()
	for v.value(`rollcall_reconcile{app="app",of="round_age_seconds"`) < 125 {
		v.record(1, func(int) { time.Sleep(2 * time.Second) })
	}
	v.record(held, nothing)
}
