package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rollcall/edge/rest"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/openim"
	"rollcall/edge/webhook/zim"
	"rollcall/internal/api"
	"rollcall/presence"
)

// BenchmarkCall is the CPU of one call of a product behind the gate, without a socket, beside that
// of POST /v1/events with one event.
func BenchmarkCall(b *testing.B) {
	d := openDoor(b, source("one", "emqx", emqx.Kind{}), source("one", "openim", openim.Kind{}), source("one", "zim", zim.Kind{}), source("one", "generic", generic.Kind{}))
	events := rest.New(rest.DefaultConfig(), rest.Deps{Intake: d.intake, Gate: d.gate, Now: func() presence.Millis { return now }})
	h := d.gate.Handler(d.door.Routes(), events.Routes())
	const event = `{"events":[{"user":"u1","state":"online","session":"c1","platform":"ios","time":1767225600123,"ttl":3600}]}`
	stamp := fmt.Sprint(int64(now) / 1000)
	v2 := map[string]string{
		api.TimeHeader: stamp, api.SignatureHeader: fmt.Sprintf("v2=%x", api.Sign(secret, stamp, http.MethodPost, "/ingest/one/generic", []byte(event))),
	}
	// The first version is not remembered, so one call can be repeated.
	mac := hmac.New(sha256.New, []byte(hookKey))
	mac.Write([]byte(stamp + "." + event))
	v1 := map[string]string{"X-LC-Id": "one", api.TimeHeader: stamp, api.SignatureHeader: fmt.Sprintf("v1=%x", mac.Sum(nil))}
	parts := []string{secret, stamp, "14314"}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	for _, c := range []struct {
		name, path, body string
		header           map[string]string
	}{
		{"events", "/v1/events", event, map[string]string{"X-LC-Id": "one", "X-LC-Hook-Key": hookKey}},
		{"events-signed", "/v1/events", event, v1},
		{"emqx", "/ingest/one/emqx", online, map[string]string{"Authorization": "Bearer " + secret}},
		{"openim", "/ingest/one/openim/" + secret + "/callbackAfterUserOnlineCommand", `{"callbackCommand":"callbackAfterUserOnlineCommand","userID":"u1","platformID":1,"platform":"IOS","seq":1767225600123}`, nil},
		{"zim", "/ingest/one/zim", fmt.Sprintf(`{"appid":"1","event":"user_action","timestamp":%s,"nonce":"14314","signature":"%x","user_id":"u1","os":"iOS","action":0}`, stamp, sum), nil},
		{"generic", "/ingest/one/generic", event, v2},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
				for name, value := range c.header {
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
