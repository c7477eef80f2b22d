package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/edge/gateway/rtm"
	"rollcall/internal/api"
	"rollcall/presence"
)

// A speaker is a client of /v1/socket.
type speaker struct {
	t    testing.TB
	conn *websocket.Conn
}

func (w *world) speak(key string) *speaker {
	w.t.Helper()
	s := w.connect()
	if got := s.ask(1, fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q}`, appID, key)); got["op"] != "ok" {
		w.t.Fatalf("hello was answered by %v", got)
	}
	return s
}

// connect returns a client that has said nothing yet.
func (w *world) connect() *speaker {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, w.server.URL+"/v1/socket", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &speaker{w.t, conn}
}

func (s *speaker) send(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatalf("write: %v", err)
	}
}

// next returns the next message.
func (s *speaker) next() (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := s.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal(b, &m)
}

// ask sends a message and returns the next that comes, which must be its answer.
func (s *speaker) ask(id int, text string) map[string]any {
	s.t.Helper()
	s.send(text)
	m, err := s.next()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	if m["id"] != float64(id) {
		s.t.Fatalf("%s was answered by %v", text, m)
	}
	return m
}

// With signatures required no peer is present at any door without one, and a kick voids those from
// before it.
func TestWhoMayBePresentIsOneRuleAtEveryDoor(t *testing.T) {
	w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.Signatures = true }})
	now := w.clock.Load()
	present := func(peer string, at int64, sign string) string {
		return fmt.Sprintf(`{"op":"present","id":2,"peer":%q,"device":"d","time":%d,"nonce":"n","sign":%q}`, peer, at, sign)
	}
	good := api.SignLogin(masterKey, appID, "Tom", now, "n")
	old := now - 7*3600_000
	for _, tt := range []struct{ name, text, code string }{
		{"no signature", `{"op":"present","id":2,"peer":"Tom","device":"d"}`, "unauthorized"},
		{"an empty one", present("Tom", now, ""), "unauthorized"},
		{"that of another peer", present("Ann", now, good), "unauthorized"},
		{"one for another time", present("Tom", now+1, good), "unauthorized"},
		{"one by the app key", present("Tom", now, api.SignLogin(appKey, appID, "Tom", now, "n")), "unauthorized"},
		{
			"that of a peer whose name reads like Tom's signature",
			fmt.Sprintf(`{"op":"present","id":2,"peer":"Tom","time":%d,"nonce":"x::%d:n","sign":%q}`, now, now, api.SignLogin(masterKey, appID, presence.PeerID(fmt.Sprintf("Tom::%d:x", now)), now, "n")),
			"unauthorized",
		},
		{"one that is too old", present("Tom", old, api.SignLogin(masterKey, appID, "Tom", old, "n")), "signature_expired"},
	} {
		if got := w.speak(appKey).ask(2, tt.text); got["code"] != tt.code {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.code)
		}
		if w.status("Tom") == presence.Online || w.status("Ann") == presence.Online {
			t.Fatalf("%s: let in", tt.name)
		}
	}
	if got := w.dial("lc.protobuf2.3").ask(open("Tom", 1, nil)); got.code() != 4102 {
		t.Errorf("the realtime protocol without a signature: %v", got)
	}
	for _, tt := range []struct{ name, key, text string }{
		{"a signature", appKey, present("Tom", now, good)},
		{"in capitals", appKey, present("Tom", now, strings.ToUpper(good))},
		{"in seconds", appKey, present("Tom", now/1000, api.SignLogin(masterKey, appID, "Tom", now/1000, "n"))},
		{"the master key", masterKey, `{"op":"present","id":2,"peer":"Tom","device":"d"}`},
	} {
		s := w.speak(tt.key)
		if got := s.ask(2, tt.text); got["op"] != "ok" {
			t.Errorf("%s: %v, want ok", tt.name, got)
		}
		if got := s.ask(3, `{"op":"absent","id":3}`); got["op"] != "ok" {
			t.Errorf("%s: absent was answered by %v", tt.name, got)
		}
	}
	victim := w.speak(appKey)
	victim.ask(2, present("Tom", now, good))
	w.advance(time.Second)
	if err := w.gw.Kick(context.Background(), appID, "Tom", "because"); err != nil {
		t.Fatal(err)
	}
	if got, err := victim.next(); err != nil || got["op"] != "ended" || got["cause"] != "kicked" {
		t.Errorf("the kicked client is sent %v (%v)", got, err)
	}
	if got := victim.ask(2, present("Tom", now, good)); got["code"] != "signature_expired" || w.status("Tom") == presence.Online {
		t.Errorf("its signature from before the kick: %v", got)
	}
	w.advance(time.Second)
	later := w.clock.Load()
	if got := victim.ask(2, present("Tom", later, api.SignLogin(masterKey, appID, "Tom", later, "n"))); got["op"] != "ok" {
		t.Errorf("a signature from after the kick: %v", got)
	}
}

// A client that was present is sent its end; the end never overtakes the answer to its login.
func TestAnEndComesAfterTheAnswerToItsLogin(t *testing.T) {
	w := newWorld(t, settings{})
	a, b := w.speak(appKey), w.speak(appKey)
	if got := a.ask(2, `{"op":"present","id":2,"peer":"Tom","device":"a","tag":"Web"}`); got["op"] != "ok" {
		t.Fatal(got)
	}
	if got := b.ask(2, `{"op":"present","id":2,"peer":"Tom","device":"b","tag":"Web","auto":true}`); got["code"] != "conflict" {
		t.Errorf("an automatic login beside another device: %v", got)
	}
	if got := b.ask(3, `{"op":"present","id":3,"peer":"Tom","device":"b","tag":"Web"}`); got["op"] != "ok" {
		t.Errorf("one by hand: %v", got)
	}
	if got, err := a.next(); err != nil || got["op"] != "ended" || got["cause"] != "replaced" {
		t.Errorf("the other is sent %v (%v)", got, err)
	}
}

// TestASocketSaysWhatItsUserDoes: with its login and later, twelve times a minute; a session that
// is over says nothing.
func TestASocketSaysWhatItsUserDoes(t *testing.T) {
	w := newWorld(t, settings{})
	s := w.speak(appKey)
	activity := func() string {
		var st presence.State
		if err := w.svc.Load(t.Context(), presence.Key{App: appID, Peer: "Tom"}, &st); err != nil {
			t.Fatal(err)
		}
		a, used := st.Activity(presence.Millis(w.clock.Load()), w.svc.Rules())
		return fmt.Sprint(a, " ", int64(used))
	}
	now := w.clock.Load()
	for _, c := range []struct{ text, want, activity string }{
		{`{"op":"activity","id":2,"activity":"idle"}`, "invalid", "unknown 0"},
		{`{"op":"present","id":2,"peer":"Tom","device":"a","activity":"asleep"}`, "invalid", "unknown 0"},
		{`{"op":"present","id":2,"peer":"Tom","device":"a","active_at":1795866974092}`, "invalid", "unknown 0"},
		{fmt.Sprintf(`{"op":"present","id":2,"peer":"Tom","device":"a","activity":"foreground","active_at":%d}`, now-5), "", fmt.Sprint("foreground ", now-5)},
		{`{"op":"activity","id":2,"activity":"background"}`, "", "background 0"},
		{`{"op":"activity","id":2}`, "invalid", "background 0"},
		{`{"op":"activity","id":2,"activity":"unknown"}`, "invalid", "background 0"},
		{`{"op":"activity","id":2,"activity":"idle","active_at":-1}`, "invalid", "background 0"},
		{`{"op":"activity","id":2,"activity":7}`, "bad_json", "background 0"},
		{fmt.Sprintf(`{"op":"activity","id":2,"activity":"foreground","active_at":%d}`, now+86_400_000), "", ""},
	} {
		w.advance(10 * time.Millisecond)
		if got := s.ask(2, c.text); c.want == "" && got["op"] != "ok" || c.want != "" && got["code"] != c.want {
			t.Errorf("%s: %v, want %q", c.text, got, c.want)
		}
		if got := activity(); got != c.activity && (c.activity != "" || got <= fmt.Sprint("foreground ", now) || got > fmt.Sprint("foreground ", w.clock.Load())) {
			t.Errorf("%s: the activity is %s, want %s", c.text, got, c.activity)
		}
	}
	limited := 0
	for range 20 {
		w.advance(time.Millisecond)
		if got := s.ask(3, `{"op":"activity","id":3,"activity":"idle"}`); got["code"] == "rate_limited" {
			if got["retry_after"] != 5.0 {
				t.Errorf("refused with %v", got)
			}
			limited++
		}
	}
	if limited < 8 || limited > 12 {
		t.Errorf("%d of 20 words at once are refused", limited)
	}
	w.advance(6 * time.Second)
	if got := s.ask(4, `{"op":"activity","id":4,"activity":"background"}`); got["op"] != "ok" {
		t.Errorf("after a while: %v", got)
	}
	if got := s.ask(5, `{"op":"absent","id":5}`); got["op"] != "ok" {
		t.Errorf("absent: %v", got)
	}
	if got := s.ask(6, `{"op":"activity","id":6,"activity":"foreground"}`); got["code"] != "invalid" {
		t.Errorf("after it was logged out: %v", got)
	}
	if got := activity(); got != "unknown 0" {
		t.Errorf("a peer that is offline does %s", got)
	}
}
