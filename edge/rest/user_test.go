package rest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/watch"
)

// shows returns the headers of a caller of the app with pairs more.
func shows(pairs ...string) http.Header {
	h := http.Header{"X-Lc-Id": {appID}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// refusalOf asks for a status with head and returns the code of the refusal, "" for none.
func (h *house) refusalOf(head http.Header) string {
	h.Helper()
	res := h.do(head, "GET", "/v1/peers/tom", "")
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == 200 {
		return ""
	}
	return codeIn(h, res.Body)
}

func TestUserTokens(t *testing.T) {
	h := open(t)
	tom := userToken("tom")
	made := func(ago, life time.Duration) string {
		text, err := usertoken.Make(tokenSecret, "", "tom", time.Now().Add(-ago), life)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tt := range []struct {
		name string
		head http.Header
		want string
	}{
		{"as a bearer", shows("Authorization", "Bearer "+tom), ""},
		{"where SDKs send a session", shows("X-LC-Session", tom), ""},
		{"beside the app key", shows("X-LC-Key", appKey, "Authorization", "Bearer "+tom), ""},
		{"beside the master key", shows("X-LC-Key", masterKey+",master", "Authorization", "Bearer a.b.c"), ""},
		{"a session of LeanCloud beside the app key", shows("X-LC-Key", appKey, "X-LC-Session", "qmdj8pdidnmyzp0c7yqil91oc"), ""},
		{"a session of LeanCloud alone", shows("X-LC-Session", "qmdj8pdidnmyzp0c7yqil91oc"), "unauthorized"},
		{"wrong", shows("Authorization", "Bearer a.b.c"), "unauthorized"},
		{"wrong beside the app key", shows("X-LC-Key", appKey, "Authorization", "Bearer a.b.c"), "unauthorized"},
		{"expired", shows("Authorization", "Bearer "+made(2*time.Hour, time.Hour)), "token_expired"},
		{"expired beside the app key", shows("X-LC-Key", appKey, "X-LC-Session", made(2*time.Hour, time.Hour)), "token_expired"},
		{"too long", shows("Authorization", "Bearer "+made(0, 48*time.Hour)), "unauthorized"},
		{"of another app", http.Header{"X-Lc-Id": {otherApp}, "Authorization": {"Bearer " + tom}}, "unauthorized"},
		{"of no app", http.Header{"X-Lc-Id": {"none"}, "Authorization": {"Bearer " + tom}}, "unauthorized"},
		{"a foreign session beside the key of an app without tokens", http.Header{"X-Lc-Id": {otherApp}, "X-Lc-Key": {otherKey}, "X-Lc-Session": {"a.b.c"}}, ""},
	} {
		if got := h.refusalOf(tt.head); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A key goes first, also one that looks like a token.
func TestKeysWithDots(t *testing.T) {
	ring, err := api.NewKeyring([]api.App{{ID: appID, MasterKey: "master.key.00000000", HookKey: "hook.key.000000000", Tokens: &usertoken.Keys{Secret: tokenSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	g := api.NewGate(api.DefaultConfig(), api.Deps{Keys: ring, Now: func() int64 { return time.Now().UnixMilli() }})
	for key, want := range map[string]api.Rights{"master.key.00000000": api.Master, "hook.key.000000000": api.Hook} {
		r, _ := http.NewRequest(http.MethodPost, "/v1/events", nil)
		r.Header = shows("Authorization", "Bearer "+key)
		c, err := g.Admit(r, &api.Route{Method: http.MethodPost, Path: "/v1/events", Need: api.NeedReporter})
		if err != nil || !c.Rights.Has(want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A kick voids the tokens from before it, also one that is remembered, within seconds.
func TestAKickVoidsUserTokens(t *testing.T) {
	h := open(t)
	old := userToken("tom")
	if got := h.refusalOf(shows("Authorization", "Bearer "+old)); got != "" {
		t.Fatal(got)
	}
	if err := h.gateway().Kick(t.Context(), appID, "tom", ""); err != nil {
		t.Fatal(err)
	}
	h.ahead.Add(6_000)
	if got := h.refusalOf(shows("Authorization", "Bearer "+old)); got != "token_expired" {
		t.Errorf("a token from before the kick: %q", got)
	}
	if got := h.refusalOf(shows("Authorization", "Bearer "+userToken("ann"))); got != "" {
		t.Errorf("another peer: %q", got)
	}
	text, err := usertoken.Make(tokenSecret, appID, "tom", time.Now().Add(3*time.Second), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.refusalOf(shows("Authorization", "Bearer "+text)); got != "" {
		t.Errorf("a token from after the kick: %q", got)
	}
}

// Who has a name is held to a rate by it: neither another's calls from its address count, nor does
// another address help.
func TestRatesCountByPeer(t *testing.T) {
	h := open(t, func(c *api.Config, _ *watch.Config) {
		c.Limits.Ask = limit.Rate{PerSecond: 0.001, Burst: 1}
	})
	for _, step := range []struct{ who, want string }{{"app", ""}, {"app", "rate_limited"}, {"tom", ""}, {"tom", "rate_limited"}, {"ann", ""}} {
		if got := h.refusalOf(as(step.who)); got != step.want {
			t.Errorf("%s: %q, want %q", step.who, got, step.want)
		}
	}
}

// Wrong tokens are charged to the address, as wrong keys are.
func TestWrongTokensAreCharged(t *testing.T) {
	h := open(t, func(c *api.Config, _ *watch.Config) {
		c.Limits.Refused = limit.Rate{PerSecond: 0.001, Burst: 2}
	})
	var got []string
	for range 3 {
		got = append(got, h.refusalOf(shows("Authorization", "Bearer a.b.c")))
	}
	if s := strings.Join(got, " "); s != "unauthorized unauthorized rate_limited" {
		t.Error(s)
	}
}

// codeIn returns the code of a refusal.
func codeIn(t testing.TB, body io.Reader) string {
	t.Helper()
	var in struct{ Code string }
	if err := json.NewDecoder(body).Decode(&in); err != nil {
		t.Fatal(err)
	}
	return in.Code
}
