package changes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/ask/token"
	"rollcall/edge/changes"
	"rollcall/feed"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/store/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID, otherApp = "the-app", "other-app"
	appKey          = "app-key-000000000000"
	masterKey       = "master-key-000000000"
)

// A house is the door on a server, over a store in memory.
type house struct {
	testing.TB
	*httptest.Server
	service *presence.Service
	feed    *feed.Feed
	tokens  *token.Sealer
	readers *limit.Shared
}

func now() presence.Millis { return presence.MillisOf(time.Now()) }

func open(t testing.TB, change ...func(*changes.Config)) *house {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := api.NewKeyring([]api.App{
		{ID: appID, Key: appKey, MasterKey: masterKey},
		{ID: otherApp, Key: appKey, MasterKey: masterKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{TB: t, service: presence.NewService(st, presence.DefaultConfig())}
	h.tokens = token.NewSealer(func(app presence.AppID) (string, string) { return "secret of " + string(app), "" })
	gate := api.NewGate(api.DefaultConfig(), api.Deps{
		Keys: ring, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() int64 { return int64(now()) },
	})
	cfg, fed := changes.DefaultConfig(), feed.DefaultConfig()
	fed.Tick = 10 * time.Millisecond
	for _, f := range change {
		f(&cfg)
	}
	h.feed = feed.New(fed, feed.Deps{Service: h.service, Source: st})
	h.readers = limit.NewShared(int64(cfg.Readers), 0, 2)
	door := changes.New(cfg, changes.Deps{Feed: h.feed, Tokens: h.tokens, Readers: h.readers})
	h.Server = httptest.NewServer(gate.Handler(door.Routes()))
	t.Cleanup(func() {
		door.Close()
		h.Close()
		h.feed.Close()
		http.DefaultClient.CloseIdleConnections()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) report(kind presence.Kind, peers ...string) {
	h.Helper()
	for _, p := range peers {
		r := presence.Report{App: appID, Peer: presence.PeerID(p), Source: presence.SourceAPI, Session: "1", Kind: kind, At: now(), Cause: presence.CauseLogout}
		if err := h.service.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
			h.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // the next report of the peer is later
	}
}

func (h *house) request(ctx context.Context, app, key, query, accept string) *http.Response {
	h.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", h.URL+"/v1/changes?"+query, nil)
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("X-LC-Id", app)
	if key == appKey {
		r.Header.Set("X-LC-Key", key)
	} else {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	return res
}

type page struct {
	Changes []struct {
		Peer, Status, Cause string
		Since, Version      int64
	}
	Cursor    string
	ListAgain bool `json:"list_again"`
	More      bool
}

func (p *page) String() string {
	s := ""
	for _, c := range p.Changes {
		s += fmt.Sprintf("%s=%s ", c.Peer, c.Status)
	}
	if p.ListAgain {
		s += "list "
	}
	if p.More {
		s += "more "
	}
	return strings.TrimSpace(s)
}

// read reads a page and returns the cursor that goes on.
func (h *house) read(query, want string) (cursor string) {
	h.Helper()
	res := h.request(context.Background(), appID, masterKey, query, "")
	defer res.Body.Close()
	var p page
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || res.StatusCode != 200 {
		h.Fatalf("%s: %d, %v", query, res.StatusCode, err)
	}
	if got := p.String(); got != want {
		h.Errorf("%s: %q, want %q", query, got, want)
	}
	return "cursor=" + url.QueryEscape(p.Cursor)
}

// refused expects a refusal.
func (h *house) refused(app, key, query, accept string, status int, code string) {
	h.Helper()
	res := h.request(context.Background(), app, key, query, accept)
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != status || !strings.Contains(string(b), `"code":"`+code+`"`) {
		h.Errorf("%.60s as %s: %d %s, want %d %s", query, key, res.StatusCode, b, status, code)
	}
}

func TestPagesGoOnByTheirCursors(t *testing.T) {
	h := open(t)
	c := h.read("", "list")
	h.report(presence.KindOnline, "tom")
	c = h.read(c+"&wait=30", "tom=online")
	for _, p := range []string{"ann", "joe", "kim"} {
		h.report(presence.KindOnline, p)
		time.Sleep(100 * time.Millisecond) // within a tick the order is any
	}
	h.report(presence.KindOffline, "ann")
	time.Sleep(100 * time.Millisecond)
	c = h.read(c+"&limit=2", "joe=online kim=online more")
	c = h.read(c, "ann=offline")
	h.read(c+"&wait=1", "")
}

func TestCallsThatAreRefused(t *testing.T) {
	h := open(t)
	c := h.read("", "list")
	h.refused(appID, appKey, c, "", 403, "forbidden")
	h.refused(appID, "wrong", c, "", 401, "unauthorized")
	h.refused(otherApp, masterKey, c, "", 400, "invalid") // sealed for another app
	list := "cursor=" + url.QueryEscape(h.tokens.SealCursor(appID, "bucket 7"))
	for _, query := range []string{
		"cursor=x", "cursor=" + strings.Repeat("A", 4000), c + "A", list, "limit=0", "limit=10001", "limit=-1", "limit=x", "wait=61", "wait=-1", "wait=1s", "peer=tom",
	} {
		h.refused(appID, masterKey, query, "", 400, "invalid")
	}
	h.refused(appID, masterKey, c, "text/html", 406, "not_acceptable")
	if n := h.readers.Used(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
}

func TestAStreamSaysWhatPagesSay(t *testing.T) {
	h := open(t, func(c *changes.Config) { c.Mark = time.Second })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res := h.request(ctx, appID, masterKey, "", "text/event-stream")
	defer res.Body.Close()
	scan := bufio.NewScanner(res.Body)
	last := ""
	next := func() string {
		name := ""
		for scan.Scan() {
			field, value, _ := strings.Cut(scan.Text(), ": ")
			switch field {
			case "event":
				name = value
			case "id":
				last = value
			case "data":
				var p page
				if err := json.Unmarshal([]byte(value), &p); err != nil {
					t.Fatal(err)
				}
				if name == "changes" && p.Cursor != last {
					t.Errorf("the id is %q, the cursor %q", last, p.Cursor)
				}
				return strings.TrimSpace(name + " " + p.String())
			}
		}
		return ""
	}
	if got := next(); got != "changes list" {
		t.Errorf("the first event is %q", got)
	}
	h.report(presence.KindOnline, "tom")
	if got := next(); got != "changes tom=online" {
		t.Errorf("the second event is %q", got)
	}
	if got := next(); got != "changes" {
		t.Errorf("after a silence comes %q", got)
	}
	id := "cursor=" + url.QueryEscape(last)
	h.report(presence.KindOffline, "tom")
	h.read(id+"&wait=30", "tom=offline")
	h.feed.Drop(appID)
	for got := next(); got != "bye"; got = next() {
		if got == "" {
			t.Error("the stream ended without a bye")
			break
		}
	}
}

func TestReadersAreBoundedAndLeaveNothing(t *testing.T) {
	h := open(t, func(c *changes.Config) { c.Readers = 8 })
	c := h.read("", "list")
	ctx, cancel := context.WithCancel(context.Background())
	var open []*http.Response
	for range 4 { // of two apps one has at most half of what the others leave
		open = append(open, h.request(ctx, appID, masterKey, c, "text/event-stream"))
	}
	h.refused(appID, masterKey, c+"&wait=1", "", 503, "too_many_watchers")
	res := h.request(ctx, otherApp, masterKey, "wait=1", "")
	if res.StatusCode != 200 {
		t.Errorf("another app is refused: %d", res.StatusCode)
	}
	_ = res.Body.Close()
	cancel()
	for _, res := range open {
		_ = res.Body.Close()
	}
	for h.readers.Used() > 0 {
		time.Sleep(time.Millisecond)
	}
	h.read(c, "")
}

// A reader that takes nothing ends after the stall, and costs the others nothing.
func TestAReaderThatTakesNothingEnds(t *testing.T) {
	h := open(t, func(c *changes.Config) { c.Stall, c.Mark = time.Second, time.Second })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res := h.request(ctx, appID, masterKey, "", "text/event-stream")
	defer res.Body.Close()
	c := h.read("", "list")
	many := make([]presence.Report, 1000)
	for round := 0; h.readers.Used() > 0; round++ {
		for i := range many {
			many[i] = presence.Report{
				App: appID, Peer: presence.PeerID(fmt.Sprintf("%d-%s-%d", round, strings.Repeat("x", 200), i)), Source: presence.SourceAPI, Session: "1",
				Kind: presence.KindOnline, At: now(),
			}
		}
		if err := h.service.Report(context.Background(), many, now(), make([]presence.Outcome, len(many))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.report(presence.KindOnline, "tom")
	page := h.request(context.Background(), appID, masterKey, c+"&limit=1", "")
	defer page.Body.Close()
	if page.StatusCode != 200 {
		t.Errorf("another reader is answered %d", page.StatusCode)
	}
}
