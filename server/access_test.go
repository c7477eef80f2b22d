package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/server/config"
)

const tokenSecret = "testTokenSecret00000000000000001"

// withTokens returns settings whose app takes user tokens.
func withTokens() config.Config {
	cfg := settings()
	cfg.Apps[0].TokenSecret = tokenSecret
	return cfg
}

// userToken returns a token of tom.
func userToken(t *testing.T) string {
	t.Helper()
	text, err := usertoken.Make(tokenSecret, appID, "tom", time.Now().Add(-time.Second), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// gate.ask is one switch for every door that answers questions: each by each credential.
func TestGateAsk(t *testing.T) {
	tom := userToken(t)
	appHead, keyed := []string{"X-LC-Id", appID}, []string{"X-LC-Id", appID, "X-LC-Key", appKey}
	with := func(head []string, more ...string) []string { return append(append([]string{}, head...), more...) }
	credentials := []struct {
		name string
		head []string
	}{
		{"app key", keyed},
		{"user token", with(appHead, "Authorization", "Bearer "+tom)},
		{"user token beside the app key", with(keyed, "X-LC-Session", tom)},
		{"wrong token beside the app key", with(keyed, "X-LC-Session", "a.b.c")},
		{"user token as SDKs before sent a session", with(keyed, "X-AVOSCloud-Session-Token", tom)},
		{"master key", with(appHead, "X-LC-Key", masterKey+",master")},
	}
	type door struct{ name, method, path, body string }
	native := []door{
		{"query", "POST", "/v1/peers/query", `{"peers":["tom"]}`},
		{"peer", "GET", "/v1/peers/tom", ""},
		{"ticket", "POST", "/v1/ticket", "{}"},
	}
	dialect := []door{
		{"function", "POST", "/1.1/functions/getOnOffStatus", `{"peerIds":["tom"]}`},
		{"typed call", "POST", "/1.1/call/getOnOffStatus", `{"peerIds":["tom"]}`},
	}
	want := map[string]map[string][6]int{ // by setting, kind of door and credential
		"anyone": {"native": {200, 200, 200, 401, 200, 200}, "dialect": {200, 401, 200, 200, 200, 200}},
		"token":  {"native": {403, 200, 200, 401, 200, 200}, "dialect": {401, 401, 200, 401, 200, 200}},
	}
	for setting, kinds := range want {
		t.Run(setting, func(t *testing.T) {
			cfg := withTokens()
			cfg.Gate.Ask = setting
			s := start(t, cfg)
			for kind, doors := range map[string][]door{"native": native, "dialect": dialect} {
				for _, d := range doors {
					for i, c := range credentials {
						if status, body := ask(t, d.method, "http://"+s.Listen()+d.path, d.body, c.head...); status != kinds[kind][i] {
							t.Errorf("%s %s by %s: %d %s, want %d", kind, d.name, c.name, status, body, kinds[kind][i])
						}
					}
				}
			}
			// Hooks are reports: the switch is not for them.
			if status, body := ask(t, "POST", "http://"+s.Listen()+"/1.1/functions/_clientOnline", `{"peerId":"ann"}`, with(keyed, "X-LC-Hook-Key", hookKey)...); status != http.StatusOK {
				t.Errorf("a hook: %d %s", status, body)
			}
		})
	}
}

// A ticket that the app's server bought opens a stream where tokens are asked for.
func TestTicketsOfServersWithGateAsk(t *testing.T) {
	cfg := withTokens()
	cfg.Gate.Ask = "token"
	s := start(t, cfg)
	_, body := ask(t, "POST", "http://"+s.Listen()+"/v1/ticket", "{}", "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	var bought struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &bought); err != nil {
		t.Fatal(err)
	}
	w, err := dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.say(fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"ticket":%q}`, appID, bought.Ticket)); got != "" {
		t.Errorf("hello with the ticket: %s", got)
	}
}

// gate.present holds for both kinds of sockets, and info says what is on.
func TestGatePresent(t *testing.T) {
	cfg := withTokens()
	cfg.Gate.Present = "token"
	s := start(t, cfg)
	_, body := ask(t, "GET", "http://"+s.Listen()+"/v1/info", "")
	var info struct{ Access struct{ Ask, Present string } }
	if err := json.Unmarshal([]byte(body), &info); err != nil || info.Access.Ask != "anyone" || info.Access.Present != "token" {
		t.Errorf("info says %+v (%v)", info, err)
	}
	for _, tt := range []struct{ hello, want string }{
		{fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q}`, appID, appKey), "unauthorized"},
		{fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"user_token":%q}`, appID, userToken(t)), ""},
	} {
		w, err := dial(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.say(tt.hello); got != "" {
			t.Fatalf("hello is refused: %s", got)
		}
		if got := w.say(`{"op":"present","id":2,"peer":"tom"}`); got != tt.want {
			t.Errorf("present after %s: %q, want %q", tt.hello, got, tt.want)
		}
	}
}

// An SDK that logs in with a user object has its user token, which stands for the session token of
// the user, turned into a login signature; that lets it in where presence takes a proof.
func TestSignaturesByUserToken(t *testing.T) {
	cfg := withTokens()
	cfg.Gate.Ask, cfg.Gate.Present = "token", "token"
	s := start(t, cfg)
	base, tom := "http://"+s.Listen(), userToken(t)
	for _, tt := range []struct {
		name, method, path, body string
		head                     []string
		want                     int
	}{
		{"in the body", "POST", "/1.1/rtm/sign", fmt.Sprintf(`{"session_token":%q}`, tom), nil, 200},
		{"in the query", "GET", "/1.2/rtm/clients/sign?session_token=" + tom, "", nil, 200},
		{"in a header", "GET", "/1.2/rtm/clients/sign", "", []string{"X-LC-Session", tom}, 200},
		{"of LeanCloud", "POST", "/1.1/rtm/sign", `{"session_token":"qmdj8pdidnmyzp0c7yqil91oc"}`, nil, 401},
		{"wrong", "POST", "/1.1/rtm/sign", `{"session_token":"a.b.c"}`, nil, 401},
	} {
		status, body := ask(t, tt.method, base+tt.path, tt.body, append([]string{"X-LC-Id", appID, "X-LC-Key", appKey}, tt.head...)...)
		if status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, status, body, tt.want)
		}
		if status != http.StatusOK {
			continue
		}
		var got struct {
			Client    string `json:"client_id"`
			Nonce     string
			Timestamp int64
			Signature string
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Client != "tom" {
			t.Fatalf("%s: %s (%v)", tt.name, body, err)
		}
		w, err := dialRTM(t, s)
		if err != nil {
			t.Fatal(err)
		}
		login := fmt.Sprintf(`{"cmd":"session","op":"open","appId":%q,"peerId":"tom","i":1,"t":%d,"n":%q,"s":%q}`, appID, got.Timestamp, got.Nonce, got.Signature)
		if answer := w.rtm(login); !strings.Contains(answer, "opened") {
			t.Errorf("%s: the login is answered %s", tt.name, answer)
		}
	}
}
