//go:build unix

package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/edge/rest"
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/internal/api"
	"rollcall/presence"
)

// A product is one call of a kind. Its peer u1 gets a name of its own in the benchmark: no kind
// pays for the sessions of another.
type product struct {
	kind, rest, query, body string
	source                  webhook.Source
}

const theEvent = `{"user":"u1","state":"online","session":"c1","platform":"ios","time":1767225600123,"ttl":3600}`

var products = []product{
	{kind: "centrifugo", rest: "refresh", body: `{"client":"9f0c6c9e","transport":"websocket","protocol":"json","encoding":"json","user":"u1"}`},
	{kind: "easemob", body: `{"callId":"demo#app_6f1c2a10","timestamp":1767225600123,"chat_type":"user","appkey":"demo#app","user":"demo#app_u1@easemob.com/ios_7f3e","reason":"login","status":"online","os":"ios"}`},
	{kind: "ejabberd", body: `{"lease":150,"sessions":[{"jid":"u1@im.example/phone","online":true,"at":1767225600123,"since":1767225600100}]}`},
	{kind: "emqx", body: `{"event":"client.connected","username":"u1","clientid":"c1","timestamp":1767225600123,"connected_at":1767225600123}`},
	{kind: "generic", body: `{"events":[` + theEvent + `]}`},
	{kind: "jq", body: theEvent, source: webhook.Source{Map: `{peer: .user, state, session, platform, time, ttl}`}},
	{kind: "mongooseim", body: `{"user_id":"u1@im.example/phone","present":true,"ts":1767225600123}`},
	{kind: "openim", rest: "SECRET/callbackAfterUserOnlineCommand", body: `{"callbackCommand":"callbackAfterUserOnlineCommand","userID":"u1","platformID":1,"platform":"IOS","seq":1767225600123}`},
	{kind: "rongcloud", body: `{"userid":"u1","status":"0","os":"iOS","time":1767225600123,"clientIp":"203.0.113.7:5001","sessionId":"c0ffee01"}`},
	{kind: "tencent", query: "CallbackCommand=State.StateChange&contenttype=json&ClientIP=203.0.113.7&OptPlatform=IOS", source: webhook.Source{AppID: "1400000000"}, body: `{"CallbackCommand":"State.StateChange","EventTime":1767225600123,"Info":{"Action":"Login","To_Account":"u1","Reason":"Register"}}`},
	{kind: "wukongim", rest: "SECRET", query: "event=user.onlinestatus", body: `["u1-0-1-9001-1-1"]`},
	{kind: "yunxin", body: `{"accid":"u1","clientIp":"203.0.113.7","clientType":"IOS","code":"200","eventType":"2","sdkVersion":"155","timestamp":"1767225600123"}`},
	{kind: "zim", body: `{"appid":"1","event":"user_action","timestamp":1767225600,"user_id":"u1","os":"iOS","action":0}`},
}

// signed returns the source of p and the call, signed by its kind.
func (p *product) signed(b *testing.B) (webhook.Source, *http.Request, string) {
	b.Helper()
	kind := webhook.Find(all.Kinds, p.kind)
	s := source("one", presence.Source(p.kind), kind)
	s.AppID, s.Map = p.source.AppID, p.source.Map
	if maker, ok := kind.(webhook.Maker); ok {
		made, err := maker.Make(&s)
		if err != nil {
			b.Fatal(err)
		}
		s.Kind = made
	}
	query, err := url.ParseQuery(p.query)
	if err != nil {
		b.Fatal(err)
	}
	r := &webhook.Request{
		Method: http.MethodPost, Path: webhook.Prefix + "one/" + p.kind, Rest: p.rest, Query: query, Header: http.Header{}, Body: []byte(strings.ReplaceAll(p.body, "u1", "u1"+p.kind)),
	}
	if err := s.Kind.Sign(r, &s, now); err != nil {
		b.Fatal(err)
	}
	call := httptest.NewRequest(r.Method, r.Target(), nil)
	call.Header = r.Header
	return s, call, string(r.Body)
}

// BenchmarkCall is the CPU of one call of each product behind the gate, without a socket, beside
// that of POST /v1/events with one event: cpu-ns/op is that of the process, collections of the
// garbage in it, and x-events how many times as much as the first of all takes.
func BenchmarkCall(b *testing.B) {
	var sources []webhook.Source
	type call struct {
		name, body string
		r          *http.Request
	}
	const events = `{"events":[` + theEvent + `]}`
	stamp := fmt.Sprint(int64(now) / 1000)
	mac := hmac.New(sha256.New, []byte(hookKey))
	// The first version is not remembered, so one call can be repeated.
	mac.Write([]byte(stamp + "." + events))
	calls := []call{
		{"events", events, headed("/v1/events", "X-LC-Id", "one", "X-LC-Hook-Key", hookKey)},
		{"events-signed", events, headed("/v1/events", "X-LC-Id", "one", api.TimeHeader, stamp, api.SignatureHeader, fmt.Sprintf("v1=%x", mac.Sum(nil)))},
	}
	for i := range products {
		s, r, body := products[i].signed(b)
		sources = append(sources, s)
		calls = append(calls, call{products[i].kind, body, r})
	}
	d := openDoor(b, sources...)
	door := rest.New(rest.DefaultConfig(), rest.Deps{Intake: d.intake, Gate: d.gate, Now: func() presence.Millis { return now }})
	h := d.gate.Handler(d.door.Routes(), door.Routes())
	first := 0.0
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				r := httptest.NewRequest(c.r.Method, c.r.URL.RequestURI(), strings.NewReader(c.body))
				r.Header = c.r.Header
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
			each := float64(cpu(b)-before) / float64(b.N)
			if first == 0 {
				first = each
			}
			b.ReportMetric(each, "cpu-ns/op")
			b.ReportMetric(each/first, "x-events")
		})
	}
}

func headed(path string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, nil)
	for ; len(headers) > 0; headers = headers[2:] {
		r.Header.Set(headers[0], headers[1])
	}
	return r
}

// cpu returns the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
