package httpx_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"rollcall/internal/httpx"
)

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct {
		name, socket string
		headers      [][2]string
		want         string
	}{
		{"a stranger is not believed", "198.51.100.4:5", [][2]string{{"X-Real-IP", "203.0.113.9"}}, "198.51.100.4"},
		{"a proxy is", "127.0.0.1:5", [][2]string{{"X-Real-IP", "203.0.113.9"}}, "203.0.113.9"},
		{"private hops are skipped", "127.0.0.1:5", [][2]string{{"Forwarded", "for=203.0.113.7;proto=https, for=10.0.0.1"}, {"X-Real-IP", "203.0.113.9"}}, "203.0.113.7"},
		{"what the client wrote stands left", "127.0.0.1:5", [][2]string{{"X-Forwarded-For", "1.2.3.4, 203.0.113.8"}}, "203.0.113.8"},
		{"IPv6 in quotes", "[::1]:5", [][2]string{{"Forwarded", `For="[2001:db8::17]:4711"`}}, "2001:db8::17"},
		{"nonsense", "127.0.0.1:5", [][2]string{{"Forwarded", "for=unknown"}, {"X-Real-IP", "x"}, {"X-Forwarded-For", ",,"}}, "127.0.0.1"},
		{"mapped", "[::ffff:198.51.100.4]:5", nil, "198.51.100.4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.socket
			for _, h := range tt.headers {
				r.Header.Add(h[0], h[1])
			}
			if got := httpx.ClientAddr(r, trusted); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReadBody(t *testing.T) {
	const limit = 1000
	for _, length := range []int{0, 1, limit - 1, limit, limit + 1, 5000} {
		for _, chunked := range []bool{false, true} {
			text := strings.Repeat("x", length)
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			if chunked {
				r.ContentLength = -1
			}
			got, err := httpx.ReadBody(httptest.NewRecorder(), r, limit, 0, nil)
			if length > limit {
				if !errors.Is(err, httpx.ErrTooLarge) {
					t.Errorf("%d bytes, chunked %v: got %v, want ErrTooLarge", length, chunked, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, []byte(text)) {
				t.Errorf("%d bytes, chunked %v: got %d bytes, %v", length, chunked, len(got), err)
			}
		}
	}
}
