package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/api"
	"rollcall/watch"
)

func TestStream(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"}]}`)
	s := h.stream(as("app"), "/v1/watch?peer=tom&peer=ann&peer=tom")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
	} {
		if got := s.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	e := s.expect("snapshot tom=online ann=unknown")
	if strings.Contains(e.Data, "version") || strings.Contains(e.Data, "since") {
		t.Errorf("the app key sees %s", e.Data)
	}
	h.events(`{"events":[{"user":"ann","state":"online","session":"1"}]}`)
	e = s.expect("change ann=online")
	if _, ok := h.tokens.Open(appID, e.ID); !ok {
		t.Errorf("the id %q is no token", e.ID)
	}
	full := h.stream(as("master"), "/v1/watch?peer=tom")
	if e := full.expect("snapshot tom=online"); !strings.Contains(e.Data, `"since":`) || !strings.Contains(e.Data, `"version":`) {
		t.Errorf("the master sees %s", e.Data)
	}
}

func TestStreamResumes(t *testing.T) {
	for _, who := range []string{"app", "master"} {
		t.Run(who, func(t *testing.T) { streamResumes(t, who) })
	}
}

func streamResumes(t *testing.T, who string) {
	h := open(t, func(_ *api.Config, w *watch.Config) { w.Lag = time.Millisecond })
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"},{"user":"ann","state":"online","session":"1"}]}`)
	const path = "/v1/watch?peer=tom&peer=ann"
	session, online := 1, true
	turn := func() { // tom goes, or comes
		h.ahead.Add(1000)
		state := "offline"
		if online = !online; online {
			state = "online"
			session++
		}
		h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":%q,"session":"%d","why":"logout"}]}`, state, session))
	}
	s := h.stream(as(who), path)
	s.expect("snapshot tom=online ann=online")
	var id string
	// To those who see all the first seconds' tokens name no horizon yet; a later one does.
	for {
		turn()
		e := s.next()
		if k, ok := h.tokens.Open(appID, e.ID); ok && online && (who == "app" || k.Horizon > 0) {
			id = e.ID
			break
		}
	}
	turn()
	s.next()
	s.close()
	head := as(who)
	head.Set("Last-Event-ID", id)
	if e := h.stream(head, path).next(); e.Name != "resume" || !strings.Contains(e.Data, "tom") || who == "app" && strings.Contains(e.Data, "ann") {
		t.Errorf("with its id: %+v", e)
	}
	for name, bad := range map[string]string{
		"garbage": "x", "huge": strings.Repeat("A", 4000), "cut": id[1:], "cut at the end": id[:len(id)-1],
		"of the first release": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		head.Set("Last-Event-ID", bad)
		if e := h.stream(head, path).next(); e.text() != "snapshot tom=offline ann=online" {
			t.Errorf("with a token that is %s: %+v", name, e)
		}
	}
	head.Set("Last-Event-ID", id)
	if e := h.stream(head, "/v1/watch?peer=tom").next(); e.text() != "snapshot tom=offline" {
		t.Errorf("with another list: %+v", e)
	}
}

func TestStreamByPost(t *testing.T) {
	h := open(t)
	res := h.do(as("app"), "POST", "/v1/watch", `{"peers":["tom"]}`)
	defer func() { _ = res.Body.Close() }()
	var b [64]byte
	n, err := res.Body.Read(b[:])
	if res.StatusCode != 200 || err != nil || !strings.HasPrefix(string(b[:n]), "retry: ") {
		t.Errorf("%d %q %v", res.StatusCode, b[:n], err)
	}
}

func TestStreamRefusals(t *testing.T) {
	h := open(t, func(_ *api.Config, w *watch.Config) { w.Peers, w.Watchers = 2, 1 })
	h.expect("app", "GET", "/v1/watch", "", 400, `{"code":"invalid","error":"no peer is named"}`)
	h.expect("app", "GET", "/v1/watch?peer=", "", 400, "")
	h.expect("app", "GET", "/v1/watch?peer=a&peer=b&peer=c", "", 413, `{"code":"too_many_peers","error":"one watcher may follow 2 peers","limit":2}`)
	head := as("app")
	head.Set("Accept", "application/json")
	res := h.do(head, "GET", "/v1/watch?peer=a", "")
	_ = res.Body.Close()
	if res.StatusCode != 406 {
		t.Errorf("Accept: application/json: %d", res.StatusCode)
	}
	h.stream(as("app"), "/v1/watch?peer=a").expect("snapshot a=unknown")
	h.expect("app", "GET", "/v1/watch?peer=a", "", 503, `{"code":"too_many_watchers","error":"limit reached: 1 watchers are open"}`)
}

func TestByeSaysWhy(t *testing.T) {
	h := open(t)
	s := h.stream(as("app"), "/v1/watch?peer=tom")
	s.expect("snapshot tom=unknown")
	h.hub.Close(watch.ReasonShutdown)
	if e := s.next(); e.Name != "bye" || e.Data != `{"reason":"shutdown"}` {
		t.Errorf("the last event is %+v", e)
	}
	// One that is opened while the server stops is not refused: a browser would ask no more.
	s = h.stream(as("app"), "/v1/watch?peer=tom")
	if e := s.next(); e.Name != "bye" || e.Data != `{"reason":"shutdown"}` {
		t.Errorf("a stream that is opened meanwhile begins with %+v", e)
	}
}

// A client is a socket on the house.
type client struct {
	testing.TB
	*websocket.Conn
}

func (h *house) dial() *client {
	h.Helper()
	c, res, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(h.URL, "http")+"/v1/socket", nil)
	if err != nil {
		h.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	h.Cleanup(func() { _ = c.CloseNow() })
	return &client{h.TB, c}
}

func (c *client) say(format string, args ...any) {
	c.Helper()
	if err := c.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		c.Fatal(err)
	}
}

// receive returns the next message as "op peer=status …", with code, cause and id when it has them.
func (c *client) receive() string {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		return "closed"
	}
	var in struct {
		Op, Code, Cause string
		ID              int64
		Peers           []struct{ Peer, Status string }
	}
	if err := json.Unmarshal(b, &in); err != nil {
		c.Fatalf("%s: %v", b, err)
	}
	s := in.Op
	for _, p := range in.Peers {
		s += " " + p.Peer + "=" + p.Status
	}
	if in.ID != 0 {
		s += fmt.Sprint(" ", in.ID)
	}
	return strings.TrimSpace(strings.Join([]string{s, in.Code, in.Cause}, " "))
}

func (c *client) expect(want string) {
	c.Helper()
	if got := strings.Join(strings.Fields(c.receive()), " "); got != want {
		c.Errorf("heard %q, want %q", got, want)
	}
}

func TestSocket(t *testing.T) {
	h := open(t)
	c := h.dial()
	c.say(`{"op":"hello","app":%q,"key":%q,"id":1}`, appID, appKey)
	c.expect("ok 1")
	c.say(`{"op":"watch","peers":["tom","ann"],"id":2}`)
	first, second := c.receive(), c.receive() // the answer and the snapshot may cross
	if got := first + "|" + second; got != "ok 2|snapshot tom=unknown ann=unknown" && got != "snapshot tom=unknown ann=unknown|ok 2" {
		t.Errorf("heard %q", got)
	}
	tom := h.dial()
	tom.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	tom.say(`{"op":"present","peer":"tom","platform":"web","id":3}`)
	tom.expect("ok 3")
	c.expect("change tom=online")
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"online"}`)
	tom.say(`{"op":"present","peer":"ann"}`)
	tom.expect("error invalid")
	tom.say(`{"op":"absent","id":4}`)
	tom.expect("ok 4")
	c.expect("change tom=offline")
	c.say(`{"op":"watch","peers":["bob"]}`)
	c.expect("snapshot bob=unknown")
	c.say(`{"op":"unwatch","peers":["ann"],"id":5}`)
	c.expect("ok 5")
	tom.say(`{"op":"present","peer":"ann","id":6}`)
	tom.expect("ok 6")
	tom.say(`{"op":"absent"}`)
	tom.say(`{"op":"present","peer":"bob","id":7}`)
	tom.expect("ok 7")
	c.expect("change bob=online")
	c.say(`{"op":"ping"}`)
	c.expect("pong")
	c.say(`{"op":"dance","id":8}`)
	c.expect("error 8 invalid")
}

func TestSocketRefusesStrangers(t *testing.T) {
	h := open(t)
	for name, hello := range map[string]string{
		"another key": fmt.Sprintf(`{"op":"hello","app":%q,"key":%q}`, appID, otherKey),
		"the hook's":  fmt.Sprintf(`{"op":"hello","app":%q,"key":%q}`, appID, hookKey),
		"no hello":    `{"op":"watch","peers":["tom"]}`,
		"a ticket":    fmt.Sprintf(`{"op":"hello","app":%q,"ticket":"nonsense"}`, appID),
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial()
			c.TB = t
			c.say("%s", hello)
			c.expect("error unauthorized")
			c.expect("closed")
		})
	}
	h.expect("app", "GET", "/v1/socket", "", 400, `{"code":"invalid","error":"this call is a WebSocket; ask for the upgrade"}`)
}

// Beyond the rate a message is refused, and the refusal carries its id.
func TestAFloodIsAnsweredByID(t *testing.T) {
	h := open(t)
	c := h.dial()
	c.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	const sent = 200 // of 50 a second and 100 at once
	for i := range sent {
		c.say(`{"op":"unwatch","peers":[],"id":%d}`, i+1)
	}
	c.say(`{"op":"unwatch"`) // no id can be read of it
	ok, refused := 0, 0
	for i := range sent {
		switch got := c.receive(); got {
		case fmt.Sprint("ok ", i+1):
			ok++
		case fmt.Sprintf("error %d rate_limited", i+1):
			refused++
		default:
			t.Fatalf("answer %d is %q", i+1, got)
		}
	}
	c.expect("error rate_limited")
	if ok < 99 || refused < 50 {
		t.Errorf("%d served and %d refused, of %d at once", ok, refused, sent)
	}
	if n := h.gate.Stats().Refused["rate_limited"]; n != int64(refused)+1 {
		t.Errorf("%d counted, %d refused", n, refused+1)
	}
}

// What a socket is refused is counted by its code, as calls are.
func TestRefusalsOnSocketsAreCounted(t *testing.T) {
	h := open(t)
	c := h.dial()
	c.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	c.say(`{"op":"dance"}`)
	c.expect("error invalid")
	c.say(`{"op":`)
	c.expect("error bad_json")
	other := h.dial()
	other.say(`{"op":"ping"}`)
	other.expect("error unauthorized")
	for code, want := range map[string]int64{"invalid": 1, "bad_json": 1, "unauthorized": 1} {
		if n := h.gate.Stats().Refused[code]; n != want {
			t.Errorf("%s is counted %d times, want %d", code, n, want)
		}
	}
}

func TestSocketBeyondTheWatchersOfANode(t *testing.T) {
	h := open(t, func(_ *api.Config, w *watch.Config) { w.Peers, w.Watchers = 2, 1 })
	first, second := h.dial(), h.dial()
	first.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	first.say(`{"op":"watch","peers":["tom"]}`)
	first.expect("snapshot tom=unknown")
	second.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	second.say(`{"op":"watch","peers":["tom"]}`)
	second.expect("error too_many_watchers")
	first.say(`{"op":"watch","peers":["ann","bob"]}`)
	first.expect("error too_many_peers")
}

func TestALostSocketIsHeldBackFromWatchers(t *testing.T) {
	h := open(t)
	tom := h.dial()
	tom.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	tom.say(`{"op":"present","peer":"tom","device":"phone","id":1}`)
	tom.expect("ok 1")
	s := h.stream(as("app"), "/v1/watch?peer=tom&peer=flag")
	s.expect("snapshot tom=online flag=unknown")
	_ = tom.CloseNow()
	for range 200 { // the query knows at once
		if _, body := h.call("app", "GET", "/v1/peers/tom", ""); strings.Contains(body, "offline") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	again := h.dial()
	again.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	again.say(`{"op":"present","peer":"tom","device":"phone","id":2}`)
	again.expect("ok 2")
	h.events(`{"events":[{"user":"flag","state":"online"}]}`)
	s.expect("change flag=online")
}

// A stream is whole whether the server or the hub writes it, in chunks or without.
func TestStreamOverOldHTTP(t *testing.T) {
	for _, version := range []string{"1.0", "1.1"} {
		t.Run(version, func(t *testing.T) {
			h := open(t)
			c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := fmt.Fprintf(c, "GET /v1/watch?peer=tom HTTP/%s\r\nHost: x\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n", version, appID, appKey); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if chunked := len(res.TransferEncoding) > 0; chunked != (version == "1.1") {
				t.Errorf("chunked: %v", chunked)
			}
			s := &stream{h.TB, res, bufio.NewScanner(res.Body)}
			s.expect("snapshot tom=unknown")
			for i := range 5 {
				h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":"online","session":"%d"}]}`, i))
				s.expect("change tom=online")
				h.ahead.Add(5) // at one time an online wins
				h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":"offline","why":"logout","session":"%d"}]}`, i))
				s.expect("change tom=offline")
			}
			h.hub.Close(watch.ReasonShutdown)
			if e := s.next(); e.Name != "bye" {
				t.Errorf("the last event is %+v", e)
			}
			if e := s.next(); e.Name != "" || s.scan.Err() != nil {
				t.Errorf("behind the last: %+v, %v", e, s.scan.Err())
			}
		})
	}
}
