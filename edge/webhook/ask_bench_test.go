//go:build unix

package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/easemob"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/leancloud"
	"rollcall/edge/webhook/mongooseim"
	"rollcall/edge/webhook/openim"
	"rollcall/edge/webhook/tencent"
	"rollcall/edge/webhook/wukongim"
	"rollcall/presence"
)

// canned answers every call with the same body, without a network.
type canned string

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(c)))}, nil
}

// rows returns text for each peer of n, with its id and number filled in, joined by commas.
func rows(n int, text string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = strings.NewReplacer("<id>", fmt.Sprintf("user-%05d", i), "<no>", fmt.Sprint(i)).Replace(text)
	}
	return strings.Join(all, ",")
}

// BenchmarkAsk measures what asking costs here, in one call as large as the product takes, beside
// the reading of its answer by the JSON library alone.
func BenchmarkAsk(b *testing.B) {
	for _, c := range []struct {
		kind webhook.Auditor
		n    int
		body string
	}{
		{tencent.Kind{}, 500, `{"ActionStatus":"OK","ErrorCode":0,"QueryResult":[` + rows(500, `{"To_Account":"<id>","Status":"Online","Detail":[{"Platform":"iPhone","Status":"Online"}]}`) + `]}`},
		{easemob.Kind{}, 100, `{"data":[` + rows(100, `{"<id>":"online"}`) + `]}`},
		{openim.Kind{}, 200, `{"errCode":0,"data":[` + rows(200, `{"userID":"<id>","status":1,"detailPlatformStatus":[{"platformID":2,"connID":"c","token":"`+strings.Repeat("t", 200)+`"}]}`) + `]}`},
		{wukongim.Kind{}, 200, `[` + rows(200, `{"uid":"<id>","device_flag":0,"online":1}`) + `]`},
		{emqx.Kind{}, 100, `{"data":[` + rows(100, `{"clientid":"<id>-phone","username":"<id>","connected":true,"connected_at":"2026-01-01T00:00:00.100+00:00","is_bridge":false}`) + `],"meta":{"hasnext":false}}`},
		{mongooseim.Kind{}, 50, `{"data":{"session":{` + rows(50, `"u<no>":[{"user":"<id>@im.example/phone","uptime":9}]`) + `}}}`},
		{leancloud.Kind{}, 20, `{"results":[` + rows(20, `"<id>"`) + `]}`},
		{generic.Kind{}, 500, `{"at":1767225600123,"peers":{` + rows(500, `"<id>":{"online":true,"sessions":[{"session":"phone","platform":"ios","since":1767225000000}]}`) + `}}`},
	} {
		peers := make([]presence.PeerID, c.n)
		for i := range peers {
			peers[i] = presence.PeerID(fmt.Sprintf("user-%05d", i))
		}
		s := webhook.Source{App: "app", ID: "source", Kind: c.kind, AppID: "1#400", Reconcile: webhook.Reconcile{
			URL: "https://im.example.com", KeyID: "id", Key: "key", User: "admin", Domain: "im.example", Passes: new(webhook.Passes),
		}}
		if _, ok := c.kind.(tencent.Kind); ok {
			s.AppID = "1400000000"
		}
		keep := func(string) (presence.Millis, error) { return 0, nil }
		if _, err := s.Reconcile.Passes.WithPass("key", func() (string, error) { return "token", nil }, keep); err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: canned(c.body)}
		b.Run(c.kind.Name(), func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				if got, err := c.kind.Ask(b.Context(), client, &s, peers); err != nil || len(got.Peers) != c.n {
					b.Fatalf("%d peers, %v", len(got.Peers), err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N*c.n), "cpu-ns/id")
			before = cpu(b)
			for range b.N {
				var v any
				if err := json.Unmarshal([]byte(c.body), &v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N*c.n), "json-cpu-ns/id")
		})
	}
}
