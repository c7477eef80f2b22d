package rest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/watch"
)

// BenchmarkEvents is the CPU of POST /v1/events behind the gate, without a socket: one event, and a
// batch of 100.
func BenchmarkEvents(b *testing.B) {
	h := open(b)
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := make([]string, n)
			for i := range list {
				list[i] = fmt.Sprintf(`{"user":"user-%06d","state":"touch","session":"conn-%06d","platform":"ios","ttl":3600}`, i, i)
			}
			body := `{"events":[` + strings.Join(list, ",") + `]}`
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
				for name, values := range as("hook") {
					req.Header[name] = values
				}
				w := httptest.NewRecorder()
				if h.Config.Handler.ServeHTTP(w, req); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// BenchmarkQuery is the CPU of POST /v1/peers/query behind the gate, without a socket, with a user
// token that is remembered, and how many times that with the app key it is: the least of many turns
// of each, so that other work on the machine does not count.
func BenchmarkQuery(b *testing.B) {
	h := open(b, func(c *api.Config, _ *watch.Config) { c.Limits = limit.Limits{} })
	for _, n := range []int{1, 20, 100} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("%q", fmt.Sprintf("user-%06d", i))
		}
		body := `{"peers":[` + strings.Join(ids, ",") + `]}`
		const turn = 200
		ask := func(head http.Header) (took time.Duration) {
			began := time.Now()
			for range turn {
				req := httptest.NewRequest(http.MethodPost, "/v1/peers/query", strings.NewReader(body))
				req.Header = head
				w := httptest.NewRecorder()
				if h.Config.Handler.ServeHTTP(w, req); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
			return time.Since(began)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key, token := as("app"), as("tom")
			byKey, byToken := ask(key), ask(token)
			for b.Loop() {
				byKey, byToken = min(byKey, ask(key)), min(byToken, ask(token))
			}
			b.ReportMetric(float64(byToken.Nanoseconds())/turn, "ns/query")
			b.ReportMetric(float64(byToken)/float64(byKey), "×")
		})
	}
}
