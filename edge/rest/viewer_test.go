package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/presence"
	"rollcall/watch"
)

// buyBy returns a ticket that the bearer of token buys, and when it ends.
func (h *house) buyBy(token string) (ticket string, ends int64) {
	h.Helper()
	res := h.do(shows("Authorization", "Bearer "+token), "POST", "/v1/ticket", "")
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Ticket string
		Ends   int64
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != 200 {
		h.Fatalf("a ticket: %d (%v)", res.StatusCode, err)
	}
	return out.Ticket, out.Ends
}

// tokenOf returns a user token of peer, made at the house's clock.
func (h *house) tokenOf(peer string, life time.Duration) string {
	h.Helper()
	text, err := usertoken.Make(tokenSecret, appID, presence.PeerID(peer), time.UnixMilli(int64(h.now())-2000), life)
	if err != nil {
		h.Fatal(err)
	}
	return text
}

func byToken(c *api.Config, _ *watch.Config) { c.Ask = api.ByToken }

// A ticket has the name of the caller that bought it: it opens a stream where the app key opens
// none, ends with the user token, and a kick voids it with its renewals.
func TestTicketsByUserToken(t *testing.T) {
	h := open(t, byToken)
	ticket, ends := h.buyBy(h.tokenOf("tom", time.Hour))
	if left := time.Duration(ends-int64(h.now())) * time.Millisecond; left < 59*time.Minute || left > time.Hour+api.Grace {
		t.Errorf("it ends in %v, want with the token", left)
	}
	path := ticketPath(ticket, "ann")
	s := h.stream(nil, path)
	id := s.expect("snapshot ann=unknown").ID
	s.close()
	renewed := h.stream(lastID(id), path)
	renewed.expect("resume")
	renewed.close()
	h.refused("at another app", nil, strings.Replace(path, appID, otherApp, 1), 401)
	h.ahead.Store((time.Hour + time.Minute).Milliseconds())
	h.refused("a renewal after the end of the token", lastID(id), path, 401)
	h.ahead.Store(0)

	ticket, _ = h.buyBy(h.tokenOf("tom", time.Hour))
	if err := h.gateway().Kick(t.Context(), appID, "tom", ""); err != nil {
		t.Fatal(err)
	}
	h.refused("a ticket from before a kick", nil, ticketPath(ticket, "ann"), 401)
	h.refused("a renewal from before a kick", lastID(id), path, 401)
}

// The name in a ticket is sealed, and no ticket of one kind is one of another.
func TestTicketsByUserTokenCannotBeChanged(t *testing.T) {
	h := open(t, byToken)
	ticket, _ := h.buyBy(h.tokenOf("tom", time.Hour))
	raw, err := base64.RawURLEncoding.DecodeString(ticket)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		h.refused(fmt.Sprint("with byte ", i, " changed"), nil, ticketPath(base64.RawURLEncoding.EncodeToString(changed), "ann"), 401)
	}
	for n := range raw {
		h.refused(fmt.Sprint("cut to ", n), nil, ticketPath(base64.RawURLEncoding.EncodeToString(raw[:n]), "ann"), 401)
	}
	h.refused("as a renewal", lastID("x."+ticket), "/v1/watch?app="+appID+"&peer=ann", 401)
	plain := h.buy("master", "")
	raw, _ = base64.RawURLEncoding.DecodeString(plain)
	raw[0] += 2 // the kind with a name
	h.refused("a plain ticket as one with a name", nil, ticketPath(base64.RawURLEncoding.EncodeToString(raw), "ann"), 401)
}

// Where tokens are asked for, a ticket of an app key is not enough, nor its renewal.
func TestTicketsOfTheAppKeyAreNotVouchedFor(t *testing.T) {
	h := open(t)
	bought := h.buy("app", "")
	s := h.stream(nil, ticketPath(bought, "ann"))
	id := s.next().ID
	s.close()
	strict := open(t, byToken) // with the same keys
	strict.refused("the ticket", nil, ticketPath(bought, "ann"), 403)
	strict.refused("the renewal", lastID(id), ticketPath(bought, "ann"), 403)
	servers := strict.stream(nil, ticketPath(strict.buy("master", ""), "ann"))
	servers.next()
	servers.close()
}

// A resume token is of the viewer that got it: to any other it names nothing, at both doors.
func TestSinceOfAnotherViewer(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"eve","state":"online"}]}`)
	poll := func(who, since string) (complete bool, token string) {
		_, body := h.call(who, "POST", "/v1/peers/query", fmt.Sprintf(`{"peers":["eve"],"since":%q}`, since))
		var out struct {
			Complete bool
			Token    string
		}
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Fatalf("%s: %s", who, body)
		}
		return out.Complete, out.Token
	}
	// kindOf returns the first event of a stream that resumes.
	kindOf := func(who, since string) string {
		s := h.stream(as(who), "/v1/watch?peer=eve&since="+since)
		defer s.close()
		return s.next().Name
	}
	for _, owner := range []string{"app", "tom", "ann"} {
		_, token := poll(owner, "")
		for _, who := range []string{"app", "tom", "ann"} {
			if complete, _ := poll(who, token); complete != (who != owner) {
				t.Errorf("a poll of %s with the token of %s: complete %v", who, owner, complete)
			}
			want := "snapshot"
			if who == owner {
				want = "resume"
			}
			if got := kindOf(who, token); got != want {
				t.Errorf("a stream of %s with the token of %s begins with %s, want %s", who, owner, got, want)
			}
		}
	}
}

// A stream by a bearer ends half a minute after its token.
func TestAStreamEndsWithItsToken(t *testing.T) {
	h := open(t)
	h.ahead.Store(0)
	c, err := h.gate.Admit(requestBy(t, h.tokenOf("tom", time.Hour)), &api.Route{Method: http.MethodGet, Path: "/v1/watch", Need: api.NeedAsker, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Duration(c.Ends()-int64(h.now())) * time.Millisecond; left < 59*time.Minute || left > time.Hour+api.Grace {
		t.Errorf("the stream ends in %v", left)
	}
	h.ahead.Store((time.Hour + 20*time.Second).Milliseconds())
	if left := time.Duration(c.Ends()-int64(h.now())) * time.Millisecond; left < 0 || left > api.Grace {
		t.Errorf("after its token it has %v left", left)
	}
}

func requestBy(t *testing.T, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = shows("Authorization", "Bearer "+token)
	return r
}
