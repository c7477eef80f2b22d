package hookout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/hookout"
)

// A paced counts the lines of a log by their message, and what they say was left out.
type paced struct {
	slog.Handler
	lines, more atomic.Int64
	message     string
}

func (p *paced) Handle(_ context.Context, r slog.Record) error {
	if r.Message != p.message {
		return nil
	}
	p.lines.Add(1)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "more" {
			p.more.Add(a.Value.Int64())
		}
		return true
	})
	return nil
}

func (p *paced) Enabled(context.Context, slog.Level) bool { return true }

// An answering is an app that answers every call with one status.
type answering struct {
	status int
	calls  atomic.Int64
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// TestLinesComeOnceAMinute: however many hooks fail, are refused or dropped, the log has a line a
// minute of each kind, with how many it leaves out.
func TestLinesComeOnceAMinute(t *testing.T) {
	const minutes = 10
	for message, status := range map[string]int{
		"hook failed; will retry":     http.StatusInternalServerError,
		"hook refused by the app":     http.StatusUnauthorized,
		"hook dropped: queue is full": 0,
	} {
		t.Run(message, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, app := &paced{message: message}, &answering{status: status}
				cfg := hookout.DefaultConfig()
				cfg.URL = "http://app.example.com"
				if status == 0 {
					app.status, cfg.MaxQueue = http.StatusInternalServerError, 1
				}
				s, err := hookout.Open(cfg, hookout.Deps{Keys: keys, Log: slog.New(log), Transport: app})
				if err != nil {
					t.Fatal(err)
				}
				for i := range minutes * 60 {
					s.Add(event(fmt.Sprint("p", i), 0))
					time.Sleep(time.Second)
				}
				synctest.Wait()
				happened := app.calls.Load()
				if status == 0 {
					happened = int64(s.Stats().Dropped)
				}
				if lines := log.lines.Load(); lines < minutes-1 || lines > minutes+1 {
					t.Errorf("%d lines in %d minutes, of %d", lines, minutes, happened)
				}
				if said := log.lines.Load() + log.more.Load(); said > happened || said < happened*8/10 {
					t.Errorf("the lines speak of %d, of %d", said, happened)
				}
				closeNow(t, s)
			})
		})
	}
}

// TestATraceGoesOutWithItsHooks: each call has the trace of the socket and a span of its own, also
// after a restart.
func TestATraceGoesOutWithItsHooks(t *testing.T) {
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	e := newEngine(t)
	var down atomic.Bool
	down.Store(true)
	e.answer = func(int) int {
		if down.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}
	journal := t.TempDir() + "/hooks.journal"
	s := openOn(t, config(e), journal)
	for i, trace := range []string{"00-" + id + "-" + span + "-01", "", "00-" + id} {
		ev := event(fmt.Sprint("p", i), 0)
		ev.Trace = trace
		s.Add(ev)
	}
	until(t, "a failed call", func() bool { return s.Stats().Failed >= 3 })
	closeNow(t, s)
	down.Store(false)
	s = openOn(t, config(e), journal)
	defer closeNow(t, s)
	until(t, "the calls", func() bool { return len(e.calls()) == 3 })
	for _, c := range e.calls() {
		got := c.Header["Traceparent"]
		if peer, _ := json.Marshal(c.Body["peerId"]); string(peer) != `"p0"` {
			if got != nil {
				t.Errorf("the hook of %s has the trace %q", peer, got)
			}
			continue
		}
		if len(got) != 1 || !strings.HasPrefix(got[0], "00-"+id+"-") || !strings.HasSuffix(got[0], "-01") || strings.Contains(got[0], span) {
			t.Errorf("the trace is %q", got)
		}
	}
}
