package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A server that comes back is there before it answers; who watches waits for it.
func TestWatchWaitsForAServerThatStarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	calls := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls++; calls {
		case 1:
			fmt.Fprintln(w, `{"peer":"tom","status":"online"}`)
		case 2:
			http.NotFound(w, r)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, `{"peer":"tom","status":"offline"}`)
			cancel()
		}
	}))
	defer s.Close()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"watch", "tom", "--json", "--admin", s.URL}, nil, &out, &errs); code != exitDone {
		t.Errorf("it ended with %d: %s", code, errs.String())
	}
	if calls != 4 {
		t.Errorf("%d calls, printed %q", calls, out.String())
	}
}
