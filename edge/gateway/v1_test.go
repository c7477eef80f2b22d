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
