package reconcile_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/reconcile"
	"rollcall/presence"
)

// A redirect is not followed, a body without an end is not read to it, and what is no answer
// changes nothing; the log has neither the key nor the body.
func TestWhatServersSendInPlaceOfAnAnswer(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/planted-address", http.StatusTemporaryRedirect)
		},
		"an endless body": func(w http.ResponseWriter, _ *http.Request) {
			for blank := bytes.Repeat([]byte(" "), 64<<10); ; {
				if _, err := w.Write(blank); err != nil {
					return
				}
			}
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>planted-secret</html>"))
		},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"peers":{"tom":{"online":false}`))
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "planted-secret", http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(answer)
			defer srv.Close()
			w := open(t, false)
			w.source.Kind, w.source.Reconcile.Auditor = generic.Kind{}, generic.Kind{}
			w.source.Reconcile.URL, w.source.Reconcile.Key = srv.URL+"/planted-path", "planted-key"
			w.source.Reconcile.Lag, w.source.Reconcile.Confirm = time.Second, time.Second
			w.event("tom", presence.KindOnline, 0)
			w.start()
			run := w.run(reconcile.Options{Peers: []presence.PeerID{"tom"}})
			if run.Result.Unanswered != 1 || w.status("tom") != presence.Online {
				t.Errorf("%+v", run)
			}
			if log := w.log.String(); !strings.Contains(log, "reconciliation call failed") || strings.Contains(log+run.Error, "planted") {
				t.Errorf("the log: %s\nthe run: %s", log, run.Error)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("the redirect was followed")
	}
}
