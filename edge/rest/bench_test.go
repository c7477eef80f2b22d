package rest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
