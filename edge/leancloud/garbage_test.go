package leancloud_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"rollcall/edge/leancloud"
)

// Questions about many peers leave next to no garbage: their buffers are used again. Callers that
// walk over all ids had the collector at work most of the time otherwise, and everybody waited for
// it.
func TestQuestionsAboutManyPeersLeaveLittleGarbage(t *testing.T) {
	s := build(t, leancloud.DefaultConfig(), nil)
	var ids []string
	for i := range 10_000 {
		ids = append(ids, fmt.Sprintf("%q", fmt.Sprint("x", i)))
	}
	body := `{"peerIds":[` + strings.Join(ids, ",") + `]}`
	ask := func() {
		r := httptest.NewRequest(http.MethodPost, "/1.1/functions/getOnOffStatus", strings.NewReader(body))
		r.Header.Set("X-LC-Id", appID)
		r.Header.Set("X-LC-Key", masterKey+",master") // no rate
		w := counted{http.Header{}, 0}
		s.Handler.ServeHTTP(&w, r)
		if want := len(`{"result":[]}`) + len(ids)*len(`null,`) - 1; w.n != want {
			t.Fatalf("the answer has %d bytes, want %d", w.n, want)
		}
	}
	ask()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties what is kept
	const rounds = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		ask()
	}
	runtime.ReadMemStats(&after)
	// One body and one list of ids have 350 KB. The race detector has a pool lose a quarter of what
	// it is given.
	if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > 300<<10 {
		t.Errorf("a question about %d peers in %d bytes leaves %d bytes", len(ids), len(body), each)
	}
}

// counted counts what is written.
type counted struct {
	header http.Header
	n      int
}

func (c *counted) Header() http.Header { return c.header }
func (c *counted) WriteHeader(int)     {}
func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}
