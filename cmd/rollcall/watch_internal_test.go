package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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
			fmt.Fprintf(w, "event: change\ndata: {\"peers\":[%s]}\n\n", `{"peer":"tom","status":"online"}`)
		case 2:
			http.NotFound(w, r)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprintf(w, "event: change\ndata: {\"peers\":[%s]}\n\n", `{"peer":"tom","status":"offline"}`)
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

// A server that stands still takes the connection and sends nothing; the command does not wait for
// ever.
func TestAServerThatStandsStillIsGivenUp(t *testing.T) {
	usual := answerWithin
	answerWithin = 50 * time.Millisecond
	t.Cleanup(func() { answerWithin = usual })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, ask := range [][]string{{"status"}, {"status", "--check"}, {"peer", "tom"}, {"watch", "tom"}} {
		var out, errs bytes.Buffer
		code := run(ctx, append(ask, "--admin", l.Addr().String()), nil, &out, &errs)
		if want := fmt.Sprintf("rollcall: http://%s has not answered within 50ms\n", l.Addr()); code != exitFailed || !strings.HasPrefix(errs.String(), want) {
			t.Errorf("%v ended with %d: %s", ask, code, errs.String())
		}
	}
}
