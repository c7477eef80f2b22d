package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// token returns a user token of peer, made at the world's clock and good for life.
func (w *world) token(peer string, life time.Duration) string {
	w.t.Helper()
	text, err := usertoken.Make(tokenSecret, appID, presence.PeerID(peer), time.UnixMilli(w.clock.Load()), life)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// speakAs returns a client that said hello with a user token.
func (w *world) speakAs(token string) *speaker {
	w.t.Helper()
	s := w.connect()
	if got := s.ask(1, helloBy(token)); got["op"] != "ok" {
		w.t.Fatalf("hello was answered by %v", got)
	}
	return s
}

func helloBy(token string) string {
	return fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"user_token":%q}`, appID, token)
}

func presentAs(id int, peer string) string {
	return fmt.Sprintf(`{"op":"present","id":%d,"peer":%q,"device":"d"}`, id, peer)
}

// What a client with a token may be, whether or not the switch is on.
func TestASocketByUserToken(t *testing.T) {
	for _, proof := range []bool{false, true} {
		t.Run(fmt.Sprintf("proof %v", proof), func(t *testing.T) {
			w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.Signatures = proof }})
			s := w.speakAs(w.token("Tom", time.Hour))
			if got := s.ask(2, presentAs(2, "Ann")); got["code"] != "forbidden" || w.status("Ann") == presence.Online {
				t.Errorf("present as another: %v", got)
			}
			now := w.clock.Load()
			signed := fmt.Sprintf(`{"op":"present","id":3,"peer":"Ann","time":%d,"nonce":"n","sign":%q}`, now, api.SignLogin(masterKey, appID, "Ann", now, "n"))
			if got := s.ask(3, signed); got["code"] != "forbidden" {
				t.Errorf("present as another, with its signature: %v", got)
			}
			if got := s.ask(4, presentAs(4, "Tom")); got["op"] != "ok" || w.status("Tom") != presence.Online {
				t.Errorf("present as itself: %v", got)
			}
			if got := s.ask(5, fmt.Sprintf(`{"op":"user_token","id":5,"user_token":%q}`, w.token("Ann", time.Hour))); got["code"] != "forbidden" {
				t.Errorf("renewal by the token of another: %v", got)
			}
			if got := s.ask(6, `{"op":"user_token","id":6,"user_token":"a.b.c"}`); got["code"] != "unauthorized" {
				t.Errorf("renewal by no token: %v", got)
			}
			if got := s.ask(7, presentAs(7, "Tom")); got["op"] != "ok" {
				t.Errorf("present again, after renewals that failed: %v", got)
			}
			if got := s.ask(8, `{"op":"absent","id":8}`); got["op"] != "ok" {
				t.Errorf("absent: %v", got)
			}
			if got := s.ask(9, `{"op":"present","id":9}`); got["op"] != "ok" || w.status("Tom") != presence.Online {
				t.Errorf("present without a peer is that of the token: %v", got)
			}
			if got := w.speak(appKey).ask(5, `{"op":"user_token","id":5,"user_token":"a.b.c"}`); got["code"] != "invalid" {
				t.Errorf("renewal where there is nothing to renew: %v", got)
			}
		})
	}
}

func TestHelloByUserToken(t *testing.T) {
	w := newWorld(t, settings{})
	for _, tt := range []struct{ name, text, want string }{
		{"expired", helloBy(w.token("Tom", -2*time.Minute)), "token_expired"},
		{"too long", helloBy(w.token("Tom", 48*time.Hour)), "unauthorized"},
		{"none", helloBy("a.b.c"), "unauthorized"},
		{"of another app", fmt.Sprintf(`{"op":"hello","id":1,"app":"none","user_token":%q}`, w.token("Tom", time.Hour)), "unauthorized"},
		{"wrong beside the app key", fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q,"user_token":"a.b.c"}`, appID, appKey), "unauthorized"},
	} {
		if got := w.connect().ask(1, tt.text); got["code"] != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

// closedBy returns the close code of a socket that ends now.
func (s *speaker) closedBy() int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, _, err := s.conn.Read(ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return int(closed.Code)
		}
		if err != nil {
			s.t.Fatalf("the socket ended without a code: %v", err)
		}
	}
}

// A socket ends half a minute after its token, unless that was renewed; nothing of the peer changes
// by a renewal.
func TestASocketEndsWithItsToken(t *testing.T) {
	w := newWorld(t, settings{})
	short, long := w.speakAs(w.token("Tom", time.Second)), w.speakAs(w.token("Ann", time.Second))
	short.ask(2, presentAs(2, "Tom"))
	long.ask(2, presentAs(2, "Ann"))
	before := w.story()
	if got := long.ask(3, fmt.Sprintf(`{"op":"user_token","id":3,"user_token":%q}`, w.token("Ann", time.Hour))); got["op"] != "ok" {
		t.Fatal(got)
	}
	if after := w.story(); after != before {
		t.Errorf("the renewal changed %s to %s", before, after)
	}
	w.gw.CheckSockets(29 * time.Second)
	if w.status("Tom") != presence.Online {
		t.Fatal("the socket ended before its time")
	}
	w.gw.CheckSockets(32 * time.Second)
	if got := short.closedBy(); got != 4111 {
		t.Errorf("closed with %d, want 4111", got)
	}
	w.until("Tom is offline", func() bool { return w.status("Tom") == presence.Offline })
	var st presence.State
	if err := w.svc.Load(t.Context(), presence.Key{App: appID, Peer: "Tom"}, &st); err != nil {
		t.Fatal(err)
	}
	if st.Cause != presence.CauseLost {
		t.Errorf("Tom went by %v, want lost: the hold is for him", st.Cause)
	}
	if got := long.ask(4, presentAs(4, "Ann")); got["op"] != "ok" || w.status("Ann") != presence.Online {
		t.Errorf("the socket that renewed: %v", got)
	}
}

// A kick ends what is open and voids tokens from before it, at both doors, also remembered ones.
func TestAKickVoidsUserTokensOfSockets(t *testing.T) {
	w := newWorld(t, settings{})
	old := w.token("Tom", time.Hour)
	s := w.speakAs(old)
	s.ask(2, presentAs(2, "Tom"))
	w.advance(2 * time.Second)
	if err := w.gw.Kick(t.Context(), appID, "Tom", ""); err != nil {
		t.Fatal(err)
	}
	if got, err := s.next(); err != nil || got["op"] != "ended" || got["cause"] != "kicked" {
		t.Fatalf("the kicked client is sent %v (%v)", got, err)
	}
	if got := s.ask(3, presentAs(3, "Tom")); got["code"] != "token_expired" || w.status("Tom") == presence.Online {
		t.Errorf("present with the token of before: %v", got)
	}
	if got := w.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sSt: old})); got.code() != 4112 {
		t.Errorf("a login of the realtime protocol with it: %v", got)
	}
	w.advance(2 * time.Second)
	if got := s.ask(4, fmt.Sprintf(`{"op":"user_token","id":4,"user_token":%q}`, w.token("Tom", time.Hour))); got["op"] != "ok" {
		t.Errorf("renewal with a token of after: %v", got)
	}
	if got := s.ask(5, presentAs(5, "Tom")); got["op"] != "ok" || w.status("Tom") != presence.Online {
		t.Errorf("present with it: %v", got)
	}
}

// In LeanCloud's protocol a user token stands where SDKs have a session token.
func TestALoginByUserToken(t *testing.T) {
	for _, proof := range []bool{false, true} {
		t.Run(fmt.Sprintf("proof %v", proof), func(t *testing.T) {
			w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.Signatures = proof }})
			for _, tt := range []struct {
				name, peer, token string
				want              int64
			}{
				{"of another", "Ann", w.token("Tom", time.Hour), 4112},
				{"expired", "Tom", w.token("Tom", -2*time.Minute), 4112},
				{"none", "Tom", "a.b.c", 4112},
				{"right", "Tom", w.token("Tom", time.Hour), 0},
			} {
				got := w.dial("lc.protobuf2.3").ask(open(tt.peer, 1, message{sSt: tt.token}))
				if got.code() != tt.want {
					t.Errorf("%s: %v, want code %d", tt.name, got, tt.want)
				}
				if tt.want != 0 {
					continue
				}
				// What it is given brings it back, for as long as the user token and its grace.
				session := got.sub(fSession)
				if ttl := session.number(sTTL); ttl < 3600 || ttl > 3630 {
					t.Errorf("the session token is good for %d s", ttl)
				}
				if got := w.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sSt: session.text(sSt)})); got.code() != 0 {
					t.Errorf("by the session token: %v", got)
				}
				w.advance(time.Hour + time.Minute)
				if got := w.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sSt: session.text(sSt)})); got.code() != 4112 {
					t.Errorf("by the session token, later: %v", got)
				}
			}
		})
	}
}

// A session token of a login that proved nothing proves nothing once the switch is on.
func TestSessionTokensOfUnprovenLogins(t *testing.T) {
	store := newStore(t)
	first := newWorld(t, settings{store: store})
	c := first.dial("lc.protobuf2.3")
	st := c.login("Tom", nil)
	now := presence.Millis(first.clock.Load())
	first.close()
	second := newWorld(t, settings{store: store, clock: now.Add(time.Second), node: "node-2", rtm: func(c *rtm.Config) { c.Signatures = true }})
	if got := second.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sSt: st})); got.code() != 4112 {
		t.Errorf("by a session token of before the switch: %v", got)
	}
}

// With gate.ask: token a query takes a login that proved its peer, and a watch a hello that did.
func TestAskingTakesAToken(t *testing.T) {
	w := newWorld(t, settings{askByToken: true})
	unproven := w.dial("lc.protobuf2.3")
	st := unproven.login("Tom", nil)
	if got := unproven.ask(query(2, "Tom")); got.code() != 4102 {
		t.Errorf("a query after a login without proof: %v", got)
	}
	again := w.dial("lc.protobuf2.3")
	again.login("Tom", message{sSt: st})
	if got := again.ask(query(2, "Tom")); got.code() != 4102 {
		t.Errorf("a query after a login by the session token of such a login: %v", got)
	}
	proven := w.dial("lc.protobuf2.3")
	proven.login("Ann", message{sSt: w.token("Ann", time.Hour)})
	if got := proven.ask(query(2, "Tom")); got.code() != 0 {
		t.Errorf("a query after a login by a user token: %v", got)
	}
	if got := w.connect().ask(1, fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q}`, appID, appKey)); got["code"] != "forbidden" {
		t.Errorf("hello with the app key: %v", got)
	}
	if got := w.connect().ask(1, fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q}`, appID, masterKey)); got["op"] != "ok" {
		t.Errorf("hello with the master key: %v", got)
	}
	s := w.speakAs(w.token("Ann", time.Hour))
	s.send(`{"op":"watch","id":2,"peers":["Tom"]}`)
	for range 2 { // the answer and the snapshot, in any order
		if got, err := s.next(); err != nil || got["op"] != "ok" && got["op"] != "snapshot" {
			t.Errorf("a watch after a hello by a user token: %v (%v)", got, err)
		}
	}
}

// Logins with a token are held to their rates by peer.
func TestLoginsByUserTokenCountByPeer(t *testing.T) {
	w := newWorld(t, settings{gateway: limitedLogins})
	for i := range 6 { // five logins from one address, and one more
		got := w.speak(appKey).ask(2, presentAs(2, "Eve"))
		if want := i == 5; (got["code"] == "rate_limited") != want {
			t.Errorf("login %d of the address: %v", i, got)
		}
	}
	if got := w.speakAs(w.token("Tom", time.Hour)).ask(2, presentAs(2, "Tom")); got["op"] != "ok" {
		t.Errorf("a login by token from there: %v", got)
	}
	for i := range 5 {
		got := w.speakAs(w.token("Tom", time.Hour)).ask(2, presentAs(2, "Tom"))
		if want := i == 4; (got["code"] == "rate_limited") != want {
			t.Errorf("login %d of the peer: %v", i+1, got)
		}
	}
}

// limitedLogins lets an address log in once a minute, with bursts of five.
func limitedLogins(c *gateway.Config) { c.ConnectRate, c.LoginRate = 1_000_000, 1 }
