package limit_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"rollcall/internal/limit"
)

func TestAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name, socket string
		forwarded    []string
		want         string
	}{
		{"nobody between", "198.51.100.4:5", nil, "198.51.100.4"},
		{"a stranger is not believed", "198.51.100.4:5", []string{"203.0.113.9"}, "198.51.100.4"},
		{"a proxy is", "127.0.0.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client wrote stands left", "127.0.0.1:5", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"in two fields", "127.0.0.1:5", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"a private client did not write what stands left of it", "127.0.0.1:5", []string{"203.0.113.9, 192.168.0.7"}, "192.168.0.7"},
		{"a chain of proxies", "127.0.0.1:5", []string{"1.2.3.4, 203.0.113.9, 10.0.0.2, 10.0.0.1"}, "203.0.113.9"},
		{"a caller within the proxies' own net", "127.0.0.1:5", []string{"10.0.0.2, 10.0.0.1"}, "10.0.0.2"},
		{"nonsense ends the chain", "127.0.0.1:5", []string{"1.2.3.4, unknown, 10.0.0.1"}, "10.0.0.1"},
		{"nothing said", "127.0.0.1:5", nil, "127.0.0.1"},
		{"IPv6", "[2001:db8::1]:5", nil, "2001:db8::1"},
		{"IPv6 behind a proxy", "[fd00::1]:5", []string{"2001:db8::17"}, "2001:db8::17"},
		{"IPv6 with a port", "[fd00::1]:5", []string{"[2001:db8::17]:4711"}, "2001:db8::17"},
		{"mapped", "[::ffff:127.0.0.1]:5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"with a zone", "[fe80::1%eth0]:5", nil, "fe80::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.socket
			r.Header["X-Forwarded-For"] = tt.forwarded
			r.Header.Set("X-Real-IP", "192.0.2.1") // most proxies pass these on as they came
			r.Header.Set("Forwarded", "for=192.0.2.2")
			if got := limit.Address(r, trusted).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
