package server_test

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // LeanCloud signs with it
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/limit"
	"rollcall/server/config"
)

// talk sends raw bytes on a connection of its own and returns what is answered to them.
func talk(t *testing.T, address, request string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, request) }() // the server may answer before it has all
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// What net/http refuses before any door sees it bears a word on native paths and LeanCloud's number
// elsewhere.
func TestRefusalsBelowTheDoorsSpeakAsTheDoorsDo(t *testing.T) {
	s := start(t, settings())
	long := strings.Repeat("y", 40<<10)
	for _, tt := range []struct {
		name, request string // %s is a path
		status        int
		code          string
	}{
		{"a large field", "GET %s HTTP/1.1\r\nHost: a\r\nX-A: " + long + "\r\n\r\n", 431, "head_too_large"},
		{"a long address", "GET %s?" + long + " HTTP/1.1\r\nHost: a\r\n\r\n", 431, "head_too_large"},
		{"an address without end", "GET %s?" + long + long, 431, "head_too_large"},
		{"two lengths", "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "bad_request"},
		{"a length and chunks", "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"},
		{"a bare line end", "GET %s HTTP/1.1\nHost: a\n\n", 400, "bad_request"},
		{"no host", "GET %s HTTP/1.1\r\n\r\n", 400, "bad_request"},
		{"a version of the past", "GET %s\r\n\r\n", 400, "bad_request"},
		{"a version of the future", "GET %s HTTP/9.9\r\nHost: a\r\n\r\n", 400, "bad_request"},
		{"a space in the address", "GET %s/a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"},
		{"an escape that is none", "GET %s/%%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"},
		{"an expectation", "GET %s HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417, "bad_request"},
		{"the whole address", "GET http://a%s HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400, "bad_request"},
	} {
		for path, own := range map[string]bool{"/v1/peers/query": true, "/v1/watch": true, "/openapi.yaml": true, "/v1/route": false, "/1.1/functions/getOnOffStatus": false} {
			t.Run(tt.name+" to "+path, func(t *testing.T) {
				res := talk(t, s.Listen(), fmt.Sprintf(tt.request, path))
				defer res.Body.Close()
				var got struct {
					Code  any
					Error string
				}
				var want any = float64(1)
				if own {
					want = tt.code
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || json.Unmarshal(body, &got) != nil || res.StatusCode != tt.status || got.Code != want || got.Error == "" {
					t.Errorf("got %d %s, %v; want %d, code %v", res.StatusCode, body, err, tt.status, want)
				}
			})
		}
	}
	_, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", "")
	for _, want := range []string{`rollcall_native_refused_total{code="head_too_large"} 9`, `rollcall_native_refused_total{code="bad_request"} 30`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

const handshake = "GET /v1/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: %d\r\n" +
	"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s\r\n"

// A request that makes no socket is refused as any other call is.
func TestSocketsAreRefusedInWords(t *testing.T) {
	for _, tt := range []struct {
		name    string
		set     func(*config.Config)
		version int
		head    string
		status  int
		code    string
		wait    bool
	}{
		{"too many from one address", func(c *config.Config) { c.Gateway.ConnectRate = 2 }, 13, "", 429, "rate_limited", true},
		{"too many in all", func(c *config.Config) { c.Gateway.MaxSockets = 1 }, 13, "", 503, "full", true},
		{"another origin", func(c *config.Config) { c.Gateway.Origins = []string{"https://a.example"} }, 13, "Origin: https://b.example\r\n", 403, "forbidden", false},
		{"another version", func(*config.Config) {}, 8, "", 400, "invalid", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings()
			tt.set(&cfg)
			s := start(t, cfg)
			if tt.wait {
				if res := talk(t, s.Listen(), fmt.Sprintf(handshake, 13, "")); res.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("the first: %s", res.Status)
				}
			}
			res := talk(t, s.Listen(), fmt.Sprintf(handshake, tt.version, tt.head))
			defer res.Body.Close()
			var got struct{ Code, Error string }
			body, err := io.ReadAll(res.Body)
			if err != nil || json.Unmarshal(body, &got) != nil || res.StatusCode != tt.status || got.Code != tt.code || got.Error == "" {
				t.Errorf("got %d %s, %v; want %d %s", res.StatusCode, body, err, tt.status, tt.code)
			}
			if wait := res.Header.Get("Retry-After"); (wait == "10") != tt.wait {
				t.Errorf("Retry-After is %q", wait)
			}
			if _, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", ""); !strings.Contains(metrics, `rollcall_native_refused_total{code="`+tt.code+`"} 1`+"\n") {
				t.Error("it is not counted")
			}
		})
	}
}

// over2 returns a client that speaks HTTP/2 without TLS, as a proxy may.
func over2(t *testing.T) *http.Client {
	t.Helper()
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &h2c, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// do makes a call with the master key.
func do(t *testing.T, c *http.Client, method, url, body string, head ...string) *http.Response {
	t.Helper()
	return doFrom(t, c, method, url, strings.NewReader(body), len(body), head...)
}

// doFrom is do with a body of n bytes that is read from body.
func doFrom(t *testing.T, c *http.Client, method, url string, body io.Reader, n int, head ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(n)
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("Authorization", "Bearer "+masterKey)
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func read(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestHTTP2(t *testing.T) {
	s := start(t, settings())
	c, base := over2(t), "http://"+s.Listen()
	watch := do(t, c, "GET", base+"/v1/watch?peer=tom", "")
	if watch.ProtoMajor != 2 || watch.StatusCode != 200 {
		t.Fatalf("watch: %s %s", watch.Proto, watch.Status)
	}
	events := bufio.NewScanner(watch.Body)
	received := func(want string) {
		t.Helper()
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				if !strings.Contains(data, want) {
					t.Errorf("received %s, want %s", data, want)
				}
				return
			}
		}
		t.Errorf("the stream ended before %s: %v", want, events.Err())
	}
	received(`"peer":"tom","status":"unknown"`)
	for _, call := range []struct{ method, path, body, want string }{
		{"POST", "/v1/events", `{"events":[{"peer":"tom","state":"online","session":"1"}]}`, `"accepted":1`},
		{"POST", "/v1/peers/query", `{"peers":["tom"]}`, `{"peers":[{"peer":"tom","status":"online"}]}`},
		{"POST", "/1.1/functions/getOnOffStatus", `{"peerIds":["tom"]}`, `{"result":["1"]}`},
		{"GET", "/v1/peers/tom/why", "", `"status":"online"`},
		{"PUT", "/v1/events", "{}", `"method_not_allowed"`},
		{"POST", "/v1/peers/query", `{"peers":["` + strings.Repeat("x", 1<<20) + `"]}`, `"too_large"`},
		{"GET", "/v1/socket", "", `"invalid"`},
	} {
		res := do(t, c, call.method, base+call.path, call.body, "Content-Type", "application/json", "X-LC-Key", appKey)
		if body := read(t, res); res.ProtoMajor != 2 || !strings.Contains(body, call.want) {
			t.Errorf("%s %s: %s %s %s", call.method, call.path, res.Proto, res.Status, body)
		}
	}
	received(`"peer":"tom","status":"online"`)
	// An upgrade that older clients ask for is let be.
	old := talk(t, s.Listen(), "GET /v1/info HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if old.StatusCode != 200 || old.ProtoMajor != 1 {
		t.Errorf("an upgrade to h2c: %s", old.Status)
	}
	s.Stop(t.Context())
	received(`"reason":"shutdown"`)
}

// Callers behind a proxy that is named differ by what it says of them, and by nothing that they say
// themselves.
func TestCallersBehindAProxy(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proxies []string
		first   []string // headers of the caller who spends the budget
		second  []string // of the next
		let     bool
	}{
		{"a proxy that nobody named", nil, []string{"X-Forwarded-For", "203.0.113.1"}, []string{"X-Forwarded-For", "203.0.113.2"}, false},
		{"two callers", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "203.0.113.1"}, []string{"X-Forwarded-For", "203.0.113.2"}, true},
		{"one caller who claims to be another", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "203.0.113.1"}, []string{"X-Forwarded-For", "198.51.100.7, 203.0.113.1"}, false},
		{"one caller who names himself otherwise", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "203.0.113.1"}, []string{"X-Forwarded-For", "203.0.113.1", "X-Real-IP", "198.51.100.7", "Forwarded", "for=198.51.100.7"}, false},
		{"one private caller who claims to be another", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "192.168.0.7"}, []string{"X-Forwarded-For", "198.51.100.7, 192.168.0.7"}, false},
		{"another network of IPv6", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "2001:db8:1:1::1"}, []string{"X-Forwarded-For", "2001:db8:1:2::1"}, true},
		{"another address in one network of IPv6", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "2001:db8:1:1::1"}, []string{"X-Forwarded-For", "2001:db8:1:1:ffff::2"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings()
			for _, p := range tt.proxies {
				cfg.Proxies = append(cfg.Proxies, netip.MustParsePrefix(p))
			}
			cfg.Gate.Limits.Ask = limit.Rate{PerSecond: 0.001, Burst: 1}
			cfg.Gateway.ConnectRate = 2 // one at once
			s := start(t, cfg)
			call := func(head []string) int {
				status, _ := ask(t, "GET", "http://"+s.Listen()+"/v1/peers/tom", "", append(head, "X-LC-Id", appID, "X-LC-Key", appKey)...)
				return status
			}
			socket := func(head []string) int {
				var fields strings.Builder
				for i := 0; i < len(head); i += 2 {
					fmt.Fprintf(&fields, "%s: %s\r\n", head[i], head[i+1])
				}
				return talk(t, s.Listen(), fmt.Sprintf(handshake, 13, fields.String())).StatusCode
			}
			want := []int{200, 429, 101, 429}
			if tt.let {
				want = []int{200, 200, 101, 101}
			}
			if got := []int{call(tt.first), call(tt.second), socket(tt.first), socket(tt.second)}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// A reverse proxy that speaks HTTP/2 to us, or HTTP/1, passes calls, streams and sockets.
func TestBehindAReverseProxy(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			cfg := settings()
			cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			s := start(t, cfg)
			target := &url.URL{Scheme: "http", Host: s.Listen()}
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }}
			if version == 2 {
				proxy.Transport = over2(t).Transport
			}
			front := httptest.NewServer(proxy)
			t.Cleanup(front.Close)
			watch := do(t, http.DefaultClient, "GET", front.URL+"/v1/watch?peer=tom", "")
			t.Cleanup(http.DefaultClient.CloseIdleConnections)
			events := bufio.NewScanner(watch.Body)
			for _, want := range []string{`"status":"unknown"`, `"status":"online"`} {
				received := ""
				for received == "" && events.Scan() {
					received, _ = strings.CutPrefix(events.Text(), "data: ")
					if received == events.Text() {
						received = ""
					}
				}
				if !strings.Contains(received, want) {
					t.Fatalf("received %q, want %s", received, want)
				}
				res := do(t, http.DefaultClient, "POST", front.URL+"/v1/events", `{"events":[{"peer":"tom","state":"online","session":"1"}]}`)
				if body := read(t, res); res.StatusCode != 200 {
					t.Errorf("a report: %s %s", res.Status, body)
				}
			}
			_ = watch.Body.Close()
			if version == 1 {
				if res := talk(t, front.Listener.Addr().String(), fmt.Sprintf(handshake, 13, "")); res.StatusCode != http.StatusSwitchingProtocols {
					t.Errorf("a socket: %s", res.Status)
				}
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	cfg := settings()
	cfg.Listen, cfg.Admin = "[::1]:0", "[::1]:0"
	cfg.Gate.Limits.Ask = limit.Rate{PerSecond: 0.001, Burst: 2}
	s := start(t, cfg)
	if status, body := ask(t, "GET", "http://"+s.Admin()+"/readyz", ""); status != 200 {
		t.Errorf("/readyz: %d %s", status, body)
	}
	for _, want := range []int{200, 200, 429} {
		if status, body := ask(t, "GET", "http://"+s.Listen()+"/v1/peers/tom", "", "X-LC-Id", appID, "X-LC-Key", appKey); status != want {
			t.Errorf("got %d %s, want %d", status, body, want)
		}
	}
}

// The setting for bodies is that of native calls too.
func TestABodyThatDoesNotCome(t *testing.T) {
	cfg := settings()
	cfg.HTTP.BodyTimeout = time.Second
	s := start(t, cfg)
	for _, path := range []string{"/v1/peers/query", "/v1/events", "/v1/watch"} {
		begun := time.Now()
		res := talk(t, s.Listen(), "POST "+path+" HTTP/1.1\r\nHost: a\r\nX-LC-Id: "+appID+"\r\nAuthorization: Bearer "+masterKey+"\r\nContent-Length: 100\r\n\r\n{")
		if body := read(t, res); res.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, `"code":"timeout"`) {
			t.Errorf("%s: %s %s", path, res.Status, body)
		}
		if took := time.Since(begun); took > 8*time.Second { // ten without the setting
			t.Errorf("%s: refused after %v", path, took)
		}
	}
}

// A key has several ways to come, and a query is none of them.
func TestWaysToPresentAKey(t *testing.T) {
	s := start(t, settings())
	stamp := fmt.Sprint(time.Now().UnixMilli())
	sign := func(key string) string { return fmt.Sprintf("%x,%s", md5.Sum([]byte(stamp+key)), stamp) }
	for _, tt := range []struct {
		name, path string
		head       []string
		want       int
	}{
		{"the app key", "/v1/peers/tom", []string{"X-LC-Id", appID, "X-LC-Key", appKey}, 200},
		{"its signature", "/v1/peers/tom", []string{"X-LC-Id", appID, "X-LC-Sign", sign(appKey)}, 200},
		{"the app in the query", "/v1/peers/tom?app=" + appID, []string{"X-LC-Key", appKey}, 200},
		{"the key in the query", "/v1/peers/tom?app=" + appID + "&key=" + appKey + "&X-LC-Key=" + appKey, nil, 401},
		{"the bearer", "/v1/stats", []string{"X-LC-Id", appID, "Authorization", "Bearer " + masterKey}, 200},
		{"LeanCloud's way to write the master key", "/v1/stats", []string{"X-LC-Id", appID, "X-LC-Key", masterKey + ",master"}, 200},
		{"the app key as bearer", "/v1/stats", []string{"X-LC-Id", appID, "Authorization", "Bearer " + appKey}, 401},
		{"the hook key where it may not ask", "/v1/stats", []string{"X-LC-Id", appID, "Authorization", "Bearer " + hookKey}, 403},
	} {
		if status, body := ask(t, "GET", "http://"+s.Listen()+tt.path, "", tt.head...); status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, status, body, tt.want)
		}
	}
}

func TestAStopClosesSocketsAsGoingAway(t *testing.T) {
	s := start(t, settings())
	w := greeted(t, s)
	if refused := w.say(`{"op":"present","peer":"tom","id":2}`); refused != "" {
		t.Fatal(refused)
	}
	closed := make(chan websocket.StatusCode, 1)
	go func() {
		_, _, err := w.Read(context.Background())
		closed <- websocket.CloseStatus(err)
	}()
	s.Stop(t.Context())
	if code := <-closed; code != websocket.StatusGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
}

// Over HTTP/2 the kernel cannot be asked about one stream; a reader that stops is closed all the
// same, and its connection goes on.
func TestAReaderThatStopsOverHTTP2(t *testing.T) {
	cfg := settings()
	cfg.SSE.Stall, cfg.Watch.Tick = time.Second, 10*time.Millisecond
	s := start(t, cfg)
	c, base := over2(t), "http://"+s.Listen()
	c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20}
	long := strings.Repeat("x", 200)
	all := make([]string, 1000)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", long, i)
	}
	// Without a reader of its 300 KiB.
	watch := do(t, c, "POST", base+"/v1/watch", `{"peers":["`+strings.Join(all, `","`)+`"]}`)
	if watch.StatusCode != 200 {
		t.Fatal(watch.Status)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res := do(t, c, "GET", base+"/v1/stats", "")
		if body := read(t, res); res.ProtoMajor != 2 || !strings.Contains(body, `"watchers":1`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not closed")
		}
	}
	if _, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", ""); !strings.Contains(metrics, `rollcall_watchers_closed_total{reason="slow"} 1`+"\n") {
		t.Error("it is not counted as slow")
	}
}
