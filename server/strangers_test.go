package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"rollcall/internal/limit"
	"rollcall/server"
	"rollcall/server/config"
)

// from returns a connection to address from a loopback address of its own: to the server it is
// another client.
func from(t *testing.T, source, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 20 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send writes text, which the server may stop reading.
func send(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

// over waits until the server has ended c and returns what it said.
func over(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a minute the server has not ended the connection; it said %.200q", b)
	}
	return string(b)
}

// answered returns the status that c is answered with, and what stands in the body.
func answered(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

const (
	idHead   = "Host: a\r\nX-LC-Id: " + appID + "\r\n"
	appHead  = idHead + "X-LC-Key: " + appKey + "\r\nContent-Type: application/json\r\n"
	openHead = "Host: a\r\n"
)

// bodyDoors are the doors that read a body, as a stranger may knock on them. %d is the length.
var bodyDoors = []struct{ name, head string }{
	{"a resync with a wrong signature", "PUT /v1/nodes/x/sessions HTTP/1.1\r\n" + idHead + "X-Rollcall-Time: 1\r\nX-Rollcall-Signature: v2=00\r\n"},
	{"events with a wrong signature", "POST /v1/events HTTP/1.1\r\n" + idHead + "X-Rollcall-Time: 1\r\nX-Rollcall-Signature: v1=00\r\n"},
	{"text without an id", "POST /1.1/functions/getOnOffStatus HTTP/1.1\r\n" + openHead + "Content-Type: text/plain\r\n"},
	{"a REST call of the dialect", "POST /1.2/rtm/clients/check-online HTTP/1.1\r\n" + openHead + "Content-Type: text/plain\r\n"},
	{"a function with the app key", "POST /1.1/functions/getOnOffStatus?x HTTP/1.1\r\n" + appHead},
	{"the fast lane", "POST /1.1/functions/getOnOffStatus HTTP/1.1\r\n" + appHead},
	{"a query", "POST /v1/peers/query HTTP/1.1\r\n" + appHead},
	{"a stream", "POST /v1/watch HTTP/1.1\r\n" + appHead},
}

// lengths are the ways to announce a body.
var lengths = []struct {
	name string
	head func(n int) string
}{
	{"named", func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n", n) }},
	{"chunked", func(n int) string { return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", n) }},
}

func heap() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// C1: what a body takes grows with the bytes that came, at every door, however large it says that
// it will be.
func TestABodyThatIsOnlyAnnouncedTakesNoMemory(t *testing.T) {
	cfg := settings()
	// It is not time that is tried.
	cfg.HTTP.BodyTimeout, cfg.HTTP.AnswerTimeout = 5*time.Minute, 10*time.Minute
	s := start(t, cfg)
	const each = 20
	conns, before := 0, heap()
	for _, door := range bodyDoors {
		for _, length := range lengths {
			for _, n := range []int{60 << 10, 1 << 20, 16 << 20} {
				for range each {
					send(from(t, "127.0.0.1", s.Listen()), door.head+length.head(n)+"{")
					conns++
				}
			}
		}
	}
	time.Sleep(300 * time.Millisecond) // for what the server would take
	if grown := heap() - before; grown > int64(conns)*(48<<10) {
		t.Errorf("%d connections that sent nothing but heads take %d KiB each", conns, grown/int64(conns)>>10)
	}
}

// C1: bodies under way share a bound, of which one address has half; small ones and secret keys are
// not held to it.
func TestBodiesUnderWayShareABound(t *testing.T) {
	cfg := settings()
	cfg.HTTP.BodyMemory, cfg.HTTP.BodyTimeout, cfg.HTTP.AnswerTimeout = 4<<20, 5*time.Minute, 10*time.Minute
	s := start(t, cfg)
	const size = 1 << 20
	part := strings.Repeat(" ", size-1)
	refused := make(chan string, len(bodyDoors))
	for _, door := range bodyDoors {
		if door.name == "the fast lane" {
			continue // takes no body as large
		}
		c := from(t, "127.0.0.1", s.Listen())
		send(c, door.head+lengths[0].head(size)+part)
		go func() { // those that are not refused wait until the test ends
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				refused <- line
			}
		}()
	}
	for range len(bodyDoors) - 1 - 3 { // an address may hold two of them, and a part of a third
		select {
		case line := <-refused:
			if !strings.Contains(line, " 503 ") {
				t.Error(line)
			}
		case <-time.After(time.Minute):
			t.Fatal("an address holds more bodies than its half")
		}
	}
	small := "POST /v1/peers/query HTTP/1.1\r\n" + appHead + lengths[0].head(15) + `{"peers":["a"]}`
	c := from(t, "127.0.0.1", s.Listen())
	send(c, small)
	if status, body := answered(t, c); status != http.StatusOK {
		t.Errorf("a small body of the same address: %d %s", status, body)
	}
	c = from(t, "127.0.0.2", s.Listen())
	large := `{"peers":["a"],"x":"` + strings.Repeat("x", 500<<10) + `"}`
	send(c, "POST /v1/peers/query HTTP/1.1\r\n"+appHead+lengths[0].head(len(large))+large)
	if status, body := answered(t, c); status != http.StatusOK {
		t.Errorf("a large body of another address: %d %s", status, body)
	}
	if status, body := ask(t, "PUT", "http://"+s.Listen()+"/v1/nodes/x/sessions", padded(`{"sessions":[]}`, 10<<20), "X-LC-Id", appID, "X-LC-Hook-Key", hookKey); status != http.StatusOK {
		t.Errorf("ten mebibytes with the hook key: %d %s", status, body)
	}
	if _, metrics := ask(t, "GET", "http://"+s.Admin()+"/metrics", ""); strings.Contains(metrics, `rollcall_shared_refused_total{of="body_bytes"} 0`+"\n") {
		t.Error("the refusals are not counted")
	}
}

// C2: a request that does not end is ended, at every door and whatever it waits for, before it may
// live long.
func TestNoRequestOutlivesItsDeadlines(t *testing.T) {
	cfg := settings()
	cfg.HTTP.HeaderTimeout, cfg.HTTP.BodyTimeout, cfg.HTTP.AnswerTimeout = time.Second, 2*time.Second, 3*time.Second
	s := start(t, cfg)
	const missing = "Content-Length: 100\r\n\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	requests := map[string]string{
		"nothing":                        "",
		"half a request line":            "GET /v1/inf",
		"half a head":                    "GET /v1/info HTTP/1.1\r\nHost: a\r\nX-A: ",
		"half a head in the lane":        "POST /1.1/functions/getOnOffStatus HTTP/1.1\r\nHost: a\r\nX-LC-Id: ",
		"the preface of HTTP/2":          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"half the preface of HTTP/2":     "PRI * HTTP/2.0\r\n",
		"a socket with a body":           "GET /v1/socket HTTP/1.1\r\n" + openHead + upgrade + missing,
		"a socket without an upgrade":    "GET /v1/socket HTTP/1.1\r\n" + openHead + missing,
		"an RTM socket with a body":      "GET /rtm HTTP/1.1\r\n" + openHead + upgrade + "Sec-WebSocket-Protocol: lc.json.3\r\n" + missing,
		"a stream with a body":           "GET /v1/watch?peer=a HTTP/1.1\r\n" + appHead + missing,
		"a stream with chunks":           "GET /v1/watch?peer=a HTTP/1.1\r\n" + appHead + "Transfer-Encoding: chunked\r\n\r\n",
		"a stream without a key":         "GET /v1/watch?peer=a HTTP/1.1\r\n" + openHead + missing,
		"a route":                        "GET /v1/route HTTP/1.1\r\n" + openHead + missing,
		"information":                    "GET /v1/info HTTP/1.1\r\n" + openHead + missing,
		"a preflight":                    "OPTIONS /v1/peers/query HTTP/1.1\r\n" + openHead + missing,
		"no such call":                   "GET /nothing HTTP/1.1\r\n" + openHead + missing,
		"a ping of the engine":           "GET /__engine/1/ping HTTP/1.1\r\n" + openHead + missing,
		"a function of the wrong method": "GET /1.1/functions/getOnOffStatus HTTP/1.1\r\n" + appHead + missing,
	}
	for _, door := range bodyDoors {
		requests[door.name] = door.head + missing + "{"
		requests[door.name+", chunked"] = door.head + "Transfer-Encoding: chunked\r\n\r\n"
	}
	open := map[string]net.Conn{}
	for name, text := range requests {
		open[name] = from(t, "127.0.0.1", s.Listen())
		send(open[name], text)
	}
	operator := from(t, "127.0.0.1", s.Admin())
	send(operator, "GET /v1/watch?peer=a HTTP/1.1\r\nHost: localhost\r\n"+missing)
	for name, c := range open {
		t.Run(name, func(t *testing.T) { over(t, c) })
	}
}

// C2: connections of all kinds are bounded; the longest idle makes room, one address has half, and
// operators keep theirs.
func TestOpenConnectionsAreBounded(t *testing.T) {
	cfg := settings()
	cfg.HTTP.MaxConnections, cfg.HTTP.IdleTimeout = 20, 10*time.Minute
	s := start(t, cfg)
	info := "GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n"
	// An answer is read before the server has marked its connection idle.
	rested := func(n int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			_, status := ask(t, "GET", "http://"+s.Admin()+"/status", "")
			if strings.Contains(status, fmt.Sprintf(`"idle_connections": %d,`, n)) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("after a minute %d connections are not idle: %s", n, status)
			}
		}
	}
	idle := func(source string) net.Conn {
		c := from(t, source, s.Listen())
		send(c, info)
		if status, body := answered(t, c); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return c
	}
	var first []net.Conn
	for i := range 10 {
		first = append(first, idle("127.0.0.2"))
		rested(i + 1)
	}
	stream := from(t, "127.0.0.3", s.Listen())
	send(stream, "GET /v1/watch?peer=a HTTP/1.1\r\n"+appHead+"\r\n")
	_ = stream.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := http.ReadResponse(bufio.NewReader(stream), nil); err != nil {
		t.Fatal(err)
	}
	// An address that has its half pays for more of them with its own.
	for i := range 5 {
		idle("127.0.0.2")
		rested(10)
		if got := over(t, first[i]); got != "" {
			t.Errorf("connection %d was closed with %q", i, got)
		}
	}
	// Another address finds room, up to its own half of the rest, and the longest idle one of all
	// is the next that goes.
	for range 4 {
		idle("127.0.0.4")
	}
	c := first[9]
	send(c, info)
	if status, _ := answered(t, c); status != http.StatusOK {
		t.Error("a connection that was idle for less than others is closed")
	}
	// When none is idle, a new one is refused in words.
	s2cfg := settings()
	s2cfg.HTTP.MaxConnections = 4
	s2 := start(t, s2cfg)
	for range 2 {
		busy := from(t, "127.0.0.2", s2.Listen())
		send(busy, "GET /v1/watch?peer=a HTTP/1.1\r\n"+appHead+"\r\n")
		_ = busy.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := http.ReadResponse(bufio.NewReader(busy), nil); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := answered(t, from(t, "127.0.0.2", s2.Listen())); status != http.StatusServiceUnavailable || !strings.Contains(body, `"full"`) {
		t.Errorf("beyond the bound: %d %s", status, body)
	}
	for _, address := range []string{s.Admin(), s2.Admin()} {
		if status, body := ask(t, "GET", "http://"+address+"/livez", ""); status != http.StatusOK {
			t.Errorf("operators: %d %s", status, body)
		}
	}
	if _, metrics := ask(t, "GET", "http://"+s2.Admin()+"/metrics", ""); !strings.Contains(metrics, `rollcall_shared_refused_total{of="connections"} 1`+"\n") {
		t.Error("the refusal is not counted")
	}
}

// C7: before the keys are known little is unpacked, and a refusal is charged.
func TestALittleGzipCostsAStrangerLittle(t *testing.T) {
	cfg := settings()
	cfg.Gate.Limits.Refused = limit.Rate{PerSecond: 0.001, Burst: 3}
	s := start(t, cfg)
	pack := func(plain string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, plain)
		_ = w.Close()
		return b.String()
	}
	keys := `"_ApplicationId":"` + appID + `","_ApplicationKey":"` + appKey + `"`
	call := func(body string, head ...string) int {
		t.Helper()
		status, _ := ask(t, "POST", "http://"+s.Listen()+"/1.1/functions/getOnOffStatus", pack(body),
			append([]string{"Content-Type", "text/plain", "Content-Encoding", "gzip"}, head...)...)
		return status
	}
	bomb := `{"peerIds":["` + strings.Repeat("a", 900<<10) + `"],` + keys + `}`
	small := `{"peerIds":["` + strings.Repeat("a", 5<<10) + `"],` + keys + `}`
	for _, tt := range []struct {
		name string
		got  int
		want int
	}{
		{"a little with the keys inside", call(small), 200},
		{"much with the keys in the head", call(bomb, "X-LC-Id", appID, "X-LC-Key", appKey), 200},
		{"much with the keys inside", call(bomb), 401},
		{"much without any", call(`{"peerIds":["` + strings.Repeat("a", 900<<10) + `"]}`), 401},
		{"much with wrong ones", call(bomb, "X-LC-Id", appID, "X-LC-Key", "wrong"), 401},
		{"when the rate is spent", call(bomb), 429},
		{"a right key all the same", call(small), 200},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

// A knock is a way to ask with the app key; it returns the status, and 429 also for what sockets
// say in its place.
type knock struct {
	door string
	ask  func(t *testing.T, s *server.Server) int
}

func post(path, body string, head ...string) func(*testing.T, *server.Server) int {
	return func(t *testing.T, s *server.Server) int {
		t.Helper()
		status, _ := ask(t, "POST", "http://"+s.Listen()+path, body, append([]string{"X-LC-Id", appID}, head...)...)
		return status
	}
}

// C8: limits belong to the key and the address: what is spent at one door is spent at every other.
func TestLimitsBelongToTheCallerAndNotToTheDoor(t *testing.T) {
	three := `["a","b","c"]`
	asks := []knock{
		{"a function in the lane", post("/1.1/functions/getOnOffStatus", `{"peerIds":`+three+`}`, "X-LC-Key", appKey)},
		{"a function behind net/http", post("/1.1/functions/getOnOffStatus?x", `{"peerIds":`+three+`}`, "X-LC-Key", appKey)},
		{"a call", post("/1.1/call/getOnOffStatus", `{"peerIds":`+three+`}`, "X-LC-Key", appKey)},
		{"text", post("/1.1/functions/getOnOffStatus", `{"peerIds":`+three+`,"_ApplicationId":"`+appID+`","_ApplicationKey":"`+appKey+`"}`, "Content-Type", "text/plain")},
		{"a native query", post("/v1/peers/query", `{"peers":`+three+`}`, "X-LC-Key", appKey)},
		{"a poll", post("/v1/peers/query", `{"peers":`+three+`,"since":""}`, "X-LC-Key", appKey)},
		{"RTM", askOverRTM},
	}
	for name, change := range map[string]func(*limit.Limits){
		"calls": func(l *limit.Limits) { l.Ask = limit.Rate{PerSecond: 0.001, Burst: 2} },
		"peers": func(l *limit.Limits) { l.AskPeers = limit.Rate{PerSecond: 0.001, Burst: 6} },
	} {
		for i, first := range asks {
			t.Run(name+" of "+first.door, func(t *testing.T) {
				cfg := settings()
				change(&cfg.Gate.Limits)
				s := start(t, cfg)
				for range 2 {
					if got := first.ask(t, s); got != http.StatusOK {
						t.Fatalf("within the rate: %d", got)
					}
				}
				for _, second := range append(asks[i:], asks[:i]...) {
					if got := second.ask(t, s); got != http.StatusTooManyRequests {
						t.Errorf("then %s: %d", second.door, got)
					}
				}
				if got := post("/v1/peers/query", `{"peers":`+three+`}`, "Authorization", "Bearer "+masterKey)(t, s); got != http.StatusOK {
					t.Errorf("the master key is refused for it: %d", got)
				}
			})
		}
	}
	wrong := []knock{
		{"a function in the lane", post("/1.1/functions/getOnOffStatus", `{}`, "X-LC-Key", "wrong")},
		{"a function behind net/http", post("/1.1/functions/getOnOffStatus?x", `{}`, "X-LC-Key", "wrong")},
		{"text", post("/1.1/functions/getOnOffStatus", `{}`, "Content-Type", "text/plain")},
		{"a hook with a wrong hook key", post("/1.1/functions/_clientOnline", `{"peerId":"a"}`, "X-LC-Key", appKey, "X-LC-Hook-Key", "wrong")},
		{"a call for servers", post("/1.2/rtm/clients/check-online", `{"client_ids":["a"]}`, "X-LC-Key", appKey)},
		{"a query", post("/v1/peers/query", `{}`, "X-LC-Key", "wrong")},
		{"a ticket", post("/v1/ticket", ``, "X-LC-Key", "wrong")},
		{"events", post("/v1/events", `{}`, "X-LC-Hook-Key", "wrong")},
		{"a signature", post("/v1/events", `{}`, "X-Rollcall-Signature", "v2=00", "X-Rollcall-Time", "1")},
	}
	for i, first := range wrong {
		t.Run("wrong keys at "+first.door, func(t *testing.T) {
			cfg := settings()
			cfg.Gate.Limits.Refused = limit.Rate{PerSecond: 0.001, Burst: 1}
			s := start(t, cfg)
			if got := first.ask(t, s); got != http.StatusUnauthorized {
				t.Fatalf("at first: %d", got)
			}
			for _, second := range append(wrong[i:], wrong[:i]...) {
				if got := second.ask(t, s); got != http.StatusTooManyRequests {
					t.Errorf("then %s: %d", second.door, got)
				}
			}
			if got := asks[0].ask(t, s); got != http.StatusOK {
				t.Errorf("a right key is refused for it: %d", got)
			}
		})
	}
}

// askOverRTM logs in and asks for three peers.
func askOverRTM(t *testing.T, s *server.Server) int {
	t.Helper()
	w, err := dialRTM(t, s)
	if err != nil {
		t.Fatal(err)
	}
	w.rtm(`{"cmd":"session","op":"open","appId":"` + appID + `","peerId":"asker","i":1}`)
	got := w.rtm(`{"cmd":"session","op":"query","appId":"` + appID + `","peerId":"asker","i":2,"sessionPeerIds":["a","b","c"]}`)
	if strings.Contains(got, `4116`) {
		return http.StatusTooManyRequests
	}
	if !strings.Contains(got, `query_result`) {
		t.Fatal(got)
	}
	return http.StatusOK
}

// The defaults hold up who walks over all ids, and let through who asks for a large app.
func TestTheDefaultsFitHonestUseAndNoWalk(t *testing.T) {
	c := limit.NewCallers(limit.DefaultLimits())
	address := netip.MustParseAddr("10.0.0.1")
	taken := 0
	for range 60 { // 600,000 ids at once
		if _, ok := c.Take(limit.AskPeers, "a", address, 10_000); ok {
			taken += 10_000
		}
	}
	if taken > 250_000 {
		t.Errorf("%d ids are taken at once", taken)
	}
	if taken < 100_000 {
		t.Errorf("an app that polls ten thousand ids is refused after %d", taken)
	}
}

// C10: of watchers and watched peers one address has half, with the app key; so has one of several
// apps, with any key.
func TestNoCallerTakesAllWatches(t *testing.T) {
	const otherID, otherKey = "rollcallTestAppId000002", "otherAppKey000000000002"
	cfg := settings()
	cfg.Apps = append(cfg.Apps, config.App{ID: otherID, AppKey: otherKey})
	cfg.Watch.Peers, cfg.Watch.Watched, cfg.Watch.Watchers = 100, 400, 12
	s := start(t, cfg)
	watch := func(source, app, key string, n int) string {
		t.Helper()
		c := from(t, source, s.Listen())
		body := `{"peers":[` + ids(n) + `]}`
		send(c, "POST /v1/watch HTTP/1.1\r\nHost: a\r\nX-LC-Id: "+app+"\r\nX-LC-Key: "+key+"\r\n"+lengths[0].head(len(body))+body)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusOK {
			return ""
		}
		var e struct{ Code string }
		_ = json.NewDecoder(res.Body).Decode(&e)
		return e.Code
	}
	for i, tt := range []struct {
		source, app, key string
		peers            int
		want             string
	}{
		{"127.0.0.2", appID, appKey, 100, ""},
		{"127.0.0.2", appID, appKey, 100, ""},
		{"127.0.0.2", appID, appKey, 1, "too_many_watched"}, // half of 400
		{"127.0.0.3", appID, appKey, 1, "too_many_watched"}, // by the app's half
		{"127.0.0.3", appID, masterKey + ",master", 1, "too_many_watched"},
		{"127.0.0.3", otherID, otherKey, 100, ""},
		{"127.0.0.3", otherID, otherKey, 1, "too_many_watched"}, // half of the 200 that are left
		{"127.0.0.4", otherID, otherKey, 1, "too_many_watched"},
	} {
		if got := watch(tt.source, tt.app, tt.key, tt.peers); got != tt.want {
			t.Errorf("%d, %s for %.22s: %q, want %q", i, tt.source, tt.app, got, tt.want)
		}
	}
	status, stats := ask(t, "GET", "http://"+s.Listen()+"/v1/stats", "", "X-LC-Id", appID, "Authorization", "Bearer "+masterKey)
	if status != http.StatusOK || !strings.Contains(stats, `"watchers":2,"watched":100`) {
		t.Errorf("C14: an app's stats tell of another's watchers: %s", stats)
	}
}

// C17: a proxy that no setting names is reported once, in the log and the status.
func TestAProxyThatIsNotNamedIsLogged(t *testing.T) {
	for _, path := range []string{"/1.1/functions/getOnOffStatus", "/v1/info", "/v1/route"} {
		s := start(t, settings())
		for range 3 {
			ask(t, "POST", "http://"+s.Listen()+path, `{"peerIds":[]}`, "X-LC-Id", appID, "X-LC-Key", appKey, "X-Forwarded-For", "203.0.113.1")
		}
		if got := statusOf(t, s).UnnamedProxies; len(got) != 1 || got[0] != "127.0.0.1" {
			t.Errorf("%s: the status names %v", path, got)
		}
		cfg := settings()
		cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		s = start(t, cfg)
		ask(t, "POST", "http://"+s.Listen()+path, `{"peerIds":[]}`, "X-LC-Id", appID, "X-LC-Key", appKey, "X-Forwarded-For", "203.0.113.1")
		if got := statusOf(t, s).UnnamedProxies; len(got) != 0 {
			t.Errorf("%s: the status names %v, which the settings do", path, got)
		}
	}
}
