package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/edge/gateway/rtm"
	"rollcall/internal/api"
	"rollcall/presence"
)

// effects is what a caller with a credential of Tom gets at the two doors of sockets: to be present
// as Tom, to be present as Ann, and to ask. By the two switches: both
// open, presence by token, asking by token, both. "" is granted; a word or a number is the refusal.
var effects = []struct {
	door, credential string
	tom, ann, ask    [4]string
}{
	{"v1", "app key", row("", "unauthorized", "forbidden", "forbidden"), row("", "unauthorized", "forbidden", "forbidden"), row("", "", "forbidden", "forbidden")},
	{"v1", "app key and signature", row("", "", "forbidden", "forbidden"), row("", "unauthorized", "forbidden", "forbidden"), row("", "", "forbidden", "forbidden")},
	{"v1", "user token", row("", "", "", ""), same("forbidden"), row("", "", "", "")},
	{"v1", "user token that is Ann's too", row("", "", "", ""), same("forbidden"), row("", "", "", "")},
	{"v1", "master key", row("", "", "", ""), row("", "", "", ""), row("", "", "", "")},
	{"v1", "no key", same("unauthorized"), same("unauthorized"), same("unauthorized")},
	{"v1", "token of yesterday", same("token_expired"), same("token_expired"), same("token_expired")},
	{"rtm", "app id", row("", "4102", "", "4102"), row("", "4102", "", "4102"), row("", "4102", "4102", "4102")},
	{"rtm", "app id and signature", row("", "", "", ""), row("", "4102", "", "4102"), row("", "", "", "")},
	{"rtm", "user token", row("", "", "", ""), same("4112"), row("", "", "", "")},
	{"rtm", "session token of a user token", row("", "", "", ""), same("4112"), row("", "", "", "")},
	{"rtm", "token of yesterday", same("4112"), same("4112"), same("4112")},
}

func row(open, present, ask, both string) [4]string { return [4]string{open, present, ask, both} }

func same(s string) [4]string { return row(s, s, s, s) }

func TestEffectsOfCredentials(t *testing.T) {
	for i, switches := range []struct{ present, ask bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("present by token %v, ask by token %v", switches.present, switches.ask), func(t *testing.T) {
			w := newWorld(t, settings{askByToken: switches.ask, rtm: func(c *rtm.Config) { c.Signatures = switches.present }})
			for _, e := range effects {
				try := w.tryV1
				if e.door == "rtm" {
					try = w.tryRTM
				}
				for _, effect := range []struct{ what, want string }{{"Tom", e.tom[i]}, {"Ann", e.ann[i]}, {"ask", e.ask[i]}} {
					if got := try(e.credential, effect.what); got != effect.want {
						t.Errorf("%s, %s: %s is answered %q, want %q", e.door, e.credential, effect.what, got, effect.want)
					}
					if effect.want != "" && effect.what != "ask" && w.status(effect.what) == presence.Online {
						t.Fatalf("%s, %s: %s is online", e.door, e.credential, effect.what)
					}
				}
			}
		})
	}
}

// tryV1 returns how the native socket refuses what a caller with a credential does.
func (w *world) tryV1(credential, what string) string {
	s := w.connect()
	defer func() { _ = s.conn.CloseNow() }()
	hello := fmt.Sprintf(`{"op":"hello","id":1,"app":%q`, appID)
	switch credential {
	case "app key", "app key and signature":
		hello += fmt.Sprintf(`,"key":%q`, appKey)
	case "master key":
		hello += fmt.Sprintf(`,"key":%q`, masterKey)
	case "user token":
		hello += fmt.Sprintf(`,"user_token":%q`, w.token("Tom", time.Hour))
	case "user token that is Ann's too":
		hello += fmt.Sprintf(`,"user_token":%q,"key":%q`, w.token("Tom", time.Hour), appKey)
	case "token of yesterday":
		hello += fmt.Sprintf(`,"user_token":%q`, w.token("Tom", -24*time.Hour))
	}
	if got := s.ask(1, hello+"}"); got["op"] != "ok" {
		return fmt.Sprint(got["code"])
	}
	message := `{"op":"watch","id":2,"peers":["Tom"]}`
	if what != "ask" {
		now := w.clock.Load()
		message = fmt.Sprintf(`{"op":"present","id":2,"peer":%q`, what)
		if credential == "app key and signature" {
			message += fmt.Sprintf(`,"time":%d,"nonce":"n","sign":%q`, now, api.SignLogin(masterKey, appID, "Tom", now, "n"))
		}
		message += "}"
	}
	s.send(message)
	for {
		got, err := s.next()
		if err != nil {
			w.t.Fatal(err)
		}
		if got["id"] == nil {
			continue // what is watched
		}
		if got["op"] != "ok" {
			return fmt.Sprint(got["code"])
		}
		if what != "ask" {
			s.ask(3, `{"op":"absent","id":3}`)
		}
		return ""
	}
}

// tryRTM returns how the realtime protocol refuses what a caller with a credential does.
func (w *world) tryRTM(credential, what string) string {
	peer := what
	if what == "ask" {
		peer = "Tom"
	}
	session, now := message{}, w.clock.Load()
	switch credential {
	case "app id and signature":
		session = message{sT: now, sN: "n", sS: api.SignLogin(masterKey, appID, "Tom", now, "n")}
	case "user token":
		session = message{sSt: w.token("Tom", time.Hour)}
	case "session token of a user token":
		first := w.dial("lc.protobuf2.3")
		session = message{sSt: first.login("Tom", message{sSt: w.token("Tom", time.Hour)})}
		first.ask(message{fCmd: 0, fOp: opClose, fPeer: "Tom", fI: 2})
		_ = first.conn.CloseNow()
	case "token of yesterday":
		session = message{sSt: w.token("Tom", -24*time.Hour)}
	}
	c := w.dial("lc.protobuf2.3")
	defer func() { _ = c.conn.CloseNow() }()
	got := c.ask(open(peer, 1, session))
	if got.code() == 0 && what == "ask" {
		got = c.ask(query(2, "Tom"))
	}
	code := got.code()
	if code != 0 {
		return fmt.Sprint(code)
	}
	c.ask(message{fCmd: 0, fOp: opClose, fPeer: peer, fI: 3})
	return ""
}
