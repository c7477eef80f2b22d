package rest_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
)

// signV2 signs as docs/api.md says.
func signV2(stamp, method, target, body, secret string) string {
	return "v2=" + hex.EncodeToString(api.Sign(secret, stamp, method, target, []byte(body)))
}

// signed makes a call with a signature and returns the status and the code of its refusal.
func (h *house) signed(method, path, stamp, signature, body string) (int, string) {
	h.Helper()
	head := http.Header{"X-Lc-Id": {appID}, api.TimeHeader: {stamp}, api.SignatureHeader: {signature}}
	res := h.do(head, method, path, body)
	defer func() { _ = res.Body.Close() }()
	var e api.Error
	_ = json.NewDecoder(res.Body).Decode(&e)
	return res.StatusCode, e.Code
}

// A signature is good for the one call that it names, once.
func TestASignatureNamesItsCall(t *testing.T) {
	if got := signV2("1767225600", "POST", "/v1/nodes/gw-1/beat", `{"lease":30}`, "rcSecret"); got != "v2=ac90765a60ad6af91333227e5597215c3b2cd094559834f1d2704c2d2097542f" {
		t.Fatalf("the vector gives %s", got)
	}
	h := open(t)
	now := fmt.Sprint(time.Now().Unix())
	const beat, drain, events = "/v1/nodes/gw/beat", "/v1/nodes/gw/drain", "/v1/events"
	report := `{"events":[{"peer":"u1","session":"1","state":"online","node":"gw"}]}`
	for _, tt := range []struct {
		name, method, path, stamp, signature, body string
		status                                     int
		code                                       string
	}{
		{"a beat", "POST", beat, now, signV2(now, "POST", beat, "", hookKey), "", 200, ""},
		{"the same again", "POST", beat, now, signV2(now, "POST", beat, "", hookKey), "", 401, "signature_replayed"},
		{"again beside a wrong one", "POST", beat, now, "v2=00," + signV2(now, "POST", beat, "", hookKey), "", 401, "signature_replayed"},
		{"another of the same second", "POST", beat, now + ".25", signV2(now+".25", "POST", beat, "", hookKey), "", 200, ""},
		{"sent to another call", "POST", drain, now, signV2(now, "POST", beat, "", hookKey), "", 401, "unauthorized"},
		{"for another node", "POST", "/v1/nodes/gw2/beat", now, signV2(now, "POST", beat, "", hookKey), "", 401, "unauthorized"},
		{"with a query", "POST", beat + "?app=" + appID, now, signV2(now, "POST", beat, "", hookKey), "", 401, "unauthorized"},
		{"with a query that is signed", "POST", beat + "?app=" + appID, now, signV2(now, "POST", beat+"?app="+appID, "", hookKey), "", 200, ""},
		{"another method", "PUT", "/v1/nodes/gw/sessions", now, signV2(now, "POST", "/v1/nodes/gw/sessions", `{"sessions":[]}`, hookKey), `{"sessions":[]}`, 401, "unauthorized"},
		{"another body", "POST", beat, now, signV2(now, "POST", beat, "", hookKey), "{}", 401, "unauthorized"},
		{"another key", "POST", beat, now, signV2(now, "POST", beat, "", appKey), "", 401, "unauthorized"},
		{"events", "POST", events, now, signV2(now, "POST", events, report, hookKey), report, 200, ""},
		{"events again", "POST", events, now, signV2(now, "POST", events, report, hookKey), report, 401, "signature_replayed"},
		{"events by v1", "POST", events, now, sign(now, report, hookKey), report, 200, ""},
		{"events by v1 again", "POST", events, now, sign(now, report, hookKey), report, 200, ""},
		{"a drain by v1 of events", "POST", drain, now, sign(now, report, hookKey), report, 401, "unauthorized"},
		{"a beat by v1", "POST", beat, now, sign(now, "", hookKey), "", 401, "unauthorized"},
		{"a resync by v1", "PUT", "/v1/nodes/gw/sessions", now, sign(now, `{"sessions":[]}`, hookKey), `{"sessions":[]}`, 401, "unauthorized"},
	} {
		if status, code := h.signed(tt.method, tt.path, tt.stamp, tt.signature, tt.body); status != tt.status || code != tt.code {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, status, code, tt.status, tt.code)
		}
	}
	h.expect("app", "GET", "/v1/peers/u1", "", 200, `{"peer":"u1","status":"online"}`)

	// Its time and its place in the book end together.
	old := fmt.Sprint(time.Now().Unix() - 290)
	late := signV2(old, "POST", beat, "", hookKey)
	if status, _ := h.signed("POST", beat, old, late, ""); status != 200 {
		t.Errorf("a signature of 290 s ago: %d", status)
	}
	for _, ahead := range []time.Duration{0, 9 * time.Second, 20 * time.Second, 299 * time.Second, 400 * time.Second, 700 * time.Second} {
		h.ahead.Store(ahead.Milliseconds())
		if status, code := h.signed("POST", beat, old, late, ""); status != 401 {
			t.Errorf("after %v it is taken again: %d %s", ahead, status, code)
		}
	}
}

// What a signature proves is known when the whole body has come: a stranger must not have sixteen
// mebibytes kept for it.
func TestASignedBodyIsNoLargerThanAny(t *testing.T) {
	h := open(t)
	body := `{"sessions":[]}` + strings.Repeat(" ", 1<<20)
	now, path := fmt.Sprint(time.Now().Unix()), "/v1/nodes/gw/sessions"
	if status, code := h.signed("PUT", path, now, signV2(now, "PUT", path, body, hookKey), body); status != 413 || code != "too_large" {
		t.Errorf("a signed resync of more than a mebibyte: %d %s", status, code)
	}
	h.expect("hook", "PUT", path, body, 200, "")
}
