package rest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"rollcall/presence"
)

// A control character is none of an id's characters, whichever door it comes to and however it is
// written.
func TestControlCharactersAreRefused(t *testing.T) {
	h := open(t)
	c := h.dial()
	c.say(`{"op":"hello","app":%q,"key":%q,"id":1}`, appID, appKey)
	c.expect("ok 1")
	for _, char := range []rune{0, 1, '\t', '\n', '\r', 0x1b, 0x1f, 0x7f} {
		id := "a" + string(char) + "b"
		b, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		text, path := string(b), url.PathEscape(id)
		refused := fmt.Sprintf("invalid: the peer id holds the control character U+%04X", char)
		whole := `{"code":"invalid","error":"` + refused + `"}`
		first := `{"code":"invalid","error":"peer 0: ` + refused + `"}`
		t.Run(fmt.Sprintf("%U", char), func(t *testing.T) {
			h.TB, c.TB = t, t
			h.expect("app", "POST", "/v1/peers/query", `{"peers":[`+text+`]}`, 400, first)
			h.expect("app", "POST", "/v1/peers/query", `{"peers":[`+text+`],"since":""}`, 400, first)
			h.expect("app", "GET", "/v1/peers/"+path, "", 400, whole)
			h.expect("master", "GET", "/v1/peers/"+path+"/online-time", "", 400, whole)
			h.expect("hook", "POST", "/v1/events", `{"events":[{"user":"ok","state":"online","session":"1"},{"user":`+text+`,"state":"online"}]}`, 200, "")
			_, body := h.call("hook", "POST", "/v1/events", `{"events":[{"peer":`+text+`,"state":"online","session":"1"}]}`)
			if want := `"ignored":1,"full":0,"errors":[{"index":0,"code":"invalid","error":"` + refused + `","field":"user"}]}`; !strings.HasSuffix(body, want) {
				t.Errorf("an event is answered by %s", body)
			}
			_, body = h.call("hook", "PUT", "/v1/nodes/gw/sessions", `{"sessions":[{"user":`+text+`,"session":"1"}]}`)
			if want := `"errors":[{"index":0,"code":"invalid","error":"` + refused + `","field":"user"}],"ended":0}`; !strings.HasSuffix(body, want) {
				t.Errorf("a resync is answered by %s", body)
			}
			h.expect("app", "GET", "/v1/watch?peer="+url.QueryEscape(id), "", 400, first)
			h.expect("app", "POST", "/v1/watch", `{"peers":[`+text+`]}`, 400, first)
			for _, say := range []string{`"op":"present","peer":` + text, `"op":"watch","peers":[` + text + `]`, `"op":"unwatch","peers":[` + text + `]`} {
				c.say(`{%s,"id":2}`, say)
				c.expect("error 2 invalid")
			}
		})
	}
}

// A hook may bring ids that no other door takes. Operators can see why such a peer is shown as it
// is, and erase it.
func TestWhatAHookBroughtCanBeErased(t *testing.T) {
	h := open(t)
	for _, id := range []string{"a\tb", "a\x00b", strings.Repeat("p", presence.MaxHookPeer)} {
		r := presence.Report{App: appID, Peer: presence.PeerID(id), Source: presence.SourceLeanCloud, Kind: presence.KindOnline, At: h.now()}
		if err := h.service.Report(t.Context(), []presence.Report{r}, h.now(), make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
		path := "/v1/peers/" + url.PathEscape(id)
		if status, body := h.call("master", "GET", path+"/why", ""); status != 200 || !strings.Contains(body, `"status":"online"`) {
			t.Errorf("why: %d %.200s", status, body)
		}
		h.expect("master", "DELETE", path, "", 200, "")
		if status, body := h.call("master", "GET", path+"/why", ""); status != 200 || !strings.Contains(body, `"status":"unknown"`) {
			t.Errorf("why, once erased: %d %.200s", status, body)
		}
	}
	long := "/v1/peers/" + strings.Repeat("p", presence.MaxHookPeer+1)
	h.expect("master", "DELETE", long, "", 400, `{"code":"invalid","error":"invalid: the peer id has 4097 bytes, more than 4096"}`)
}
