package httpx_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
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

func TestCaller(t *testing.T) {
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
			if got := httpx.Caller(r, trusted).String(); got != tt.want {
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
			got, err := httpx.ReadBody(httptest.NewRecorder(), r, limit, 0, nil, nil)
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

// memory is a body of which more comes than is good, and keeps what the reader has made room for.
type memory struct {
	come, most int
}

func (m *memory) Read(p []byte) (int, error) {
	m.most = max(m.most, len(p))
	if m.come == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(p), m.come)
	m.come -= n
	return n, nil
}

// Memory is taken for the bytes that came, whatever the head announces.
func TestMemoryGrowsWithTheBytesThatCame(t *testing.T) {
	for _, length := range []int64{16 << 20, -1} {
		for _, came := range []int{0, 1, 5000, 100_000, 1 << 20} {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.ContentLength, r.Body = length, io.NopCloser(&memory{come: came})
			taken := 0
			got, err := httpx.ReadBody(httptest.NewRecorder(), r, 16<<20, 0, nil, func(n int) bool {
				taken += n
				return true
			})
			if !errors.Is(err, httpx.ErrTooSlow) || len(got) != came {
				t.Errorf("length %d, %d bytes came: got %d bytes, %v", length, came, len(got), err)
			}
			if limit := 2*came + httpx.FreeBody; cap(got) > limit || taken > limit {
				t.Errorf("length %d, %d bytes came: %d bytes of memory, %d accounted for", length, came, cap(got), taken)
			}
			if taken < cap(got)-httpx.FreeBody {
				t.Errorf("length %d, %d bytes came: %d bytes of memory, only %d accounted for", length, came, cap(got), taken)
			}
		}
	}
}

func TestABodyWithoutRoomIsRefused(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 100_000)))
		if chunked {
			r.ContentLength = -1
		}
		left := 20_000
		got, err := httpx.ReadBody(httptest.NewRecorder(), r, 1<<20, 0, nil, func(n int) bool {
			left -= n
			return left >= 0
		})
		if !errors.Is(err, httpx.ErrNoRoom) || len(got) < 10_000 || len(got) > 30_000 {
			t.Errorf("chunked %v: %d bytes, %v", chunked, len(got), err)
		}
	}
}
