package hookout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/edge/hookout"
	"rollcall/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An engine is an app's server that receives hooks.
type engine struct {
	*httptest.Server
	mu       sync.Mutex
	received []call
	answer   func(n int) int // status of the n-th call, from 1
	n        int
}

type call struct {
	Path   string
	Header http.Header
	Body   map[string]any
}

func newEngine(t *testing.T) *engine {
	e := &engine{answer: func(int) int { return http.StatusOK }}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c := call{Path: r.URL.Path, Header: r.Header}
		if err := json.Unmarshal(b, &c.Body); err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		e.n++
		status := e.answer(e.n)
		if status == http.StatusOK {
			e.received = append(e.received, c)
		}
		e.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *engine) calls() []call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.received)
}

func keys(app presence.AppID) (hookout.Keys, bool) {
	return hookout.Keys{ID: string(app), Key: "app-key", HookKey: "hook-key"}, app == "app"
}

func open(t *testing.T, cfg hookout.Config) *hookout.Sender {
	t.Helper()
	return openOn(t, cfg, "")
}

func openOn(t *testing.T, cfg hookout.Config, journal string) *hookout.Sender {
	t.Helper()
	s, err := hookout.Open(cfg, hookout.Deps{Keys: keys, Log: slog.New(slog.DiscardHandler), Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func config(e *engine) hookout.Config {
	c := hookout.DefaultConfig()
	c.URL = e.URL
	return c
}

func closeNow(t *testing.T, s *hookout.Sender) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute went by without: %s", what)
		}
	}
}

func event(peer string, n int) hookout.Event {
	return hookout.Event{App: "app", Peer: presence.PeerID(peer), Online: n%2 == 0, Address: fmt.Sprint(n), Cause: presence.CauseLogout, At: presence.MillisOf(time.Now())}
}

func TestHooksHaveLeanCloudsForm(t *testing.T) {
	e := newEngine(t)
	s := open(t, config(e))
	now := presence.MillisOf(time.Now())
	events := []hookout.Event{
		{Online: true, Tag: "Mobile", Address: "192.0.2.1"},
		{Cause: presence.CauseLogout, Tag: "Mobile", Address: "192.0.2.1"},
		{Online: true, Reconnect: true},
		{Cause: presence.CauseLost, ErrorCode: 4107, Address: "192.0.2.1"},
		{Cause: presence.CauseReplaced, Tag: "Mobile", Address: "192.0.2.2"},
		{Cause: presence.CauseKicked, Reason: "because"},
		{Cause: presence.CauseLost, ErrorCode: 1001},
	}
	want := []string{
		`_clientOnline {"peerId":"tom","reconnect":0,"sourceIP":"192.0.2.1","tag":"Mobile"}`,
		`_clientOffline {"closeCode":1,"closeMsg":"LOGOUT","peerId":"tom","sourceIP":"192.0.2.1","tag":"Mobile"}`,
		`_clientOnline {"peerId":"tom","reconnect":1}`,
		`_clientOffline {"closeCode":2,"closeMsg":"CONNECTION_LOST","errorCode":4107,"errorMsg":"READ_TIMEOUT","peerId":"tom"}`,
		`_clientOffline {"closeCode":3,"closeMsg":"SESSION_CONFLICT","peerId":"tom","sourceIP":"192.0.2.2","tag":"Mobile"}`,
		`_clientOffline {"closeCode":4,"closeMsg":"because","peerId":"tom"}`,
		`_clientOffline {"closeCode":2,"closeMsg":"CONNECTION_LOST","peerId":"tom"}`,
	}
	for _, ev := range events {
		ev.App, ev.Peer, ev.At = "app", "tom", now
		s.Add(ev)
	}
	until(t, "all hooks are received", func() bool { return len(e.calls()) == len(want) })
	closeNow(t, s)
	for i, c := range e.calls() {
		b, err := json.Marshal(c.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Base(c.Path) + " " + string(b); got != want[i] {
			t.Errorf("hook %d is %s\nwant      %s", i, got, want[i])
		}
		if filepath.Dir(c.Path) != "/1.1/functions" || c.Header.Get("X-LC-Hook-Key") != "hook-key" || c.Header.Get("X-LC-Id") != "app" || c.Header.Get("X-LC-Key") != "app-key" {
			t.Errorf("hook %d came to %s with %v", i, c.Path, c.Header)
		}
	}
}

func TestThePeersOrderIsKeptThroughFailures(t *testing.T) {
	e := newEngine(t)
	e.answer = func(n int) int {
		if n <= 3 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	s := open(t, config(e))
	const peers, each = 10, 20
	for n := range each {
		for p := range peers {
			s.Add(event(fmt.Sprintf("peer-%d", p), n))
		}
	}
	until(t, "all hooks are delivered", func() bool { return s.Stats().Delivered == peers*each })
	st := s.Stats()
	closeNow(t, s)
	next := map[string]int{}
	for _, c := range e.calls() {
		peer, _ := c.Body["peerId"].(string)
		if got := c.Body["sourceIP"]; got != fmt.Sprint(next[peer]) {
			t.Fatalf("%s receives event %v, want %d", peer, got, next[peer])
		}
		next[peer]++
	}
	if st.Failed != 3 || st.Delivered != peers*each || st.Waiting != 0 {
		t.Errorf("counted %+v", st)
	}
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	e := newEngine(t)
	down := true
	e.answer = func(int) int {
		if down {
			return http.StatusBadGateway
		}
		return http.StatusOK
	}
	cfg := config(e)
	journal := filepath.Join(t.TempDir(), "hooks")
	s := openOn(t, cfg, journal)
	for n := range 5 {
		s.Add(event("tom", n))
	}
	until(t, "a call has failed", func() bool { return s.Stats().Failed > 0 })
	closeNow(t, s)
	e.mu.Lock()
	down = false
	e.mu.Unlock()
	s = openOn(t, cfg, journal)
	s.Add(event("tom", 5))
	// Received is not yet delivered: what is closed before the answer is read is sent again.
	until(t, "all hooks are delivered", func() bool { st := s.Stats(); return len(e.calls()) == 6 && st.Waiting == 0 })
	closeNow(t, s)
	for i, c := range e.calls() {
		if c.Body["sourceIP"] != fmt.Sprint(i) {
			t.Errorf("hook %d is %v", i, c.Body)
		}
	}
	s = openOn(t, cfg, journal)
	if n := s.Stats().Waiting; n != 0 {
		t.Errorf("%d hooks wait after all were delivered", n)
	}
	closeNow(t, s)
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	e := newEngine(t)
	e.answer = func(int) int { return http.StatusInternalServerError }
	cfg := config(e)
	cfg.MaxQueue = 10
	s := open(t, cfg)
	for n := range 25 {
		s.Add(event("tom", n))
	}
	if st := s.Stats(); st.Dropped != 15 || st.Waiting != 10 {
		t.Errorf("counted %+v, want 15 dropped and 10 waiting", st)
	}
	closeNow(t, s)
}

func TestARefusedHookIsNotSentAgainAndAnOldOneIsGivenUp(t *testing.T) {
	e := newEngine(t)
	e.answer = func(int) int { return http.StatusUnauthorized }
	s := open(t, config(e))
	s.Add(event("tom", 0))
	until(t, "the refusal is counted", func() bool { return s.Stats().Refused == 1 && s.Stats().Waiting == 0 })
	old := event("tom", 1)
	old.At = old.At.Add(-25 * time.Hour)
	s.Add(old)
	until(t, "the old one is given up", func() bool { return s.Stats().Expired == 1 && s.Stats().Waiting == 0 })
	closeNow(t, s)
}

func TestAPathOfItsOwn(t *testing.T) {
	e := newEngine(t)
	cfg := config(e)
	cfg.URL += "/im/hooks/"
	s := open(t, cfg)
	s.Add(event("tom", 0))
	until(t, "the hook is received", func() bool { return len(e.calls()) == 1 })
	closeNow(t, s)
	if got := e.calls()[0].Path; got != "/im/hooks/_clientOnline" {
		t.Errorf("it came to %s", got)
	}
}
