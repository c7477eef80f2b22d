package leancloud_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"rollcall/edge/leancloud"
	"rollcall/internal/fastlane"
	"rollcall/internal/framing"
)

// A raw server is the dialect on a port, with or without the fast lane.
type rawServer struct {
	*testServer
	addr string
	lane *fastlane.Listener
	stop func()
}

func serveRaw(t testing.TB, cfg leancloud.Config, withLane bool) *rawServer {
	t.Helper()
	s := &rawServer{testServer: build(t, cfg, nil)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	srv := &http.Server{
		Handler: s.Handler, ConnState: framing.ConnState, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	var from net.Listener = framing.Listener{Listener: l}
	if withLane {
		s.lane = fastlane.Listen(l, fastlane.Config{HeaderTimeout: 5 * time.Second, BodyTimeout: 10 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 10 * time.Second})
		s.lane.Open(s.Handler.Lane())
		from = s.lane
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(from)
	}()
	s.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if s.lane != nil {
			if err := s.lane.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
		_ = srv.Close()
		<-done
	}
	t.Cleanup(s.stop)
	return s
}

var anyDate = regexp.MustCompile(`Date: [^\r]+`)

// talk sends text, in two pieces when cut is inside it, and returns all that comes back.
func (s *rawServer) talk(t testing.TB, text string, cut int) string {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if cut > 0 && cut < len(text) {
		_, _ = io.WriteString(c, text[:cut])
		text = text[cut:]
	}
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(c) // a reset after the answer is as good as an end
	return anyDate.ReplaceAllString(string(got), "Date: x")
}

const laneHead = "Host: 127.0.0.1:3000\r\nX-LC-Id: " + appID + "\r\nX-LC-Key: " + appKey + "\r\nContent-Type: application/json\r\n"

func post(path, fields, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", path, fields, len(body), body)
}

// laneRequests are requests that the lane answers, some plain and some wrong.
func laneRequests() []string {
	const sign = "Host: a\r\nx-lc-id: " + appID + "\r\nx-lc-sign: cebbb76180c92371759fc0ed82fd1346,1453014943466\r\n"
	return []string{
		post(query, laneHead, `{"peerIds":["Tom","Nobody"]}`),
		post("/1.1/call/getOnOffStatus", laneHead, `{"peerIds":["Tom","Nobody"]}`),
		post("/1/functions/getOnOffStatus", sign+"Origin: https://a.example\r\nUser-Agent: x (y; z)\r\nAccept: */*\r\n", `{"peerIds":["Tom"]}`),
		post("/1/call/getOnOffStatus", laneHead+"Connection: Keep-Alive\r\nX-Request-Id:  7 \r\n", list(1000)),
		post(query, laneHead, list(5000)),
		post(query, laneHead, `{"peerIds":[1.5]}`),
		post(query, laneHead, `{"peerIds":["Tom",7.0,1e21,true,null,{"a":[]},["Tom"],[["Tom"],null],[],"Eve"]}`),
		post("/1.1/call/getOnOffStatus", laneHead, `{"peerIds":[["Tom"]]}`),
		post("/1/call/getOnOffStatus", laneHead, `{"peerIds":5}`),
		post(query, laneHead, `{"peerIds":true}`),
		post(query, laneHead, `{"peerIds":null}`),
		post(query, laneHead, `{"peerIds":`),
		post(query, laneHead, ``),
		post(query, laneHead, "\xef\xbb\xbf"+`{"peerIds":[]}`),
		post(query, laneHead, list(10_001)),
		post(query, "Host: a\r\nX-LC-Id: "+appID+"\r\nX-LC-Key: wrong\r\nOrigin: null\r\n", `{"peerIds":["Tom"]}`),
		post(query, "Host: a\r\nX-LC-Id: nobody\r\nX-LC-Key: wrong\r\n", `{"peerIds":["Tom"]}`),
		post(query, "Host: a\r\nX-LC-Id:\r\n", `{"peerIds":["Tom"]}`),
		post("/1.1/functions/_clientOnline", laneHead+"X-LC-Hook-Key: "+hookKey+"\r\n", `{"peerId":"New"}`),
		post("/1.1/functions/_clientOffline", laneHead+"X-LC-Hook-Key: "+hookKey+"\r\n", `{"peerId":"New","closeCode":1}`),
		post("/1.1/functions/_clientOnline", laneHead+"X-LC-Hook-Key: "+hookKey+"\r\n", `{"peerId":5}`),
	}
}

// otherRequests are requests that look like the lane's and are net/http's.
func otherRequests() []string {
	body := `{"peerIds":["Tom"]}`
	return []string{
		post("/1.1/functions/_clientOnline", laneHead+"X-LC-Hook-Key: wrong\r\n", `{"peerId":"New"}`),
		post(query+"?x", laneHead, body),
		post("/1.1/functions/getOnOffStatuses", laneHead, body),
		post("/parse/functions/getOnOffStatus", laneHead, `{"peerIds":["Tom",7.0,{},["Tom"]]}`),
		post(query, laneHead+"Content-Type: application/json\r\n", body),
		post(query, laneHead+"X-LC-Id: other\r\n", body),
		post(query, laneHead+"Host: b\r\n", body),
		post(query, strings.TrimPrefix(laneHead, "Host: 127.0.0.1:3000\r\n"), body),
		post(query, laneHead+"X-Uluru-Application-Id: other\r\n", body),
		post(query, "Host: a\r\nX-LC-Id: "+appID+"\r\nX-AVOSCloud-Master-Key: "+masterKey+"\r\n", body),
		post(query, laneHead+"Content-Encoding: gzip\r\n", body),
		post(query, laneHead+"Content-Length: 5\r\n", body),
		post(query, laneHead+"Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n0\r\n\r\n"),
		"POST " + query + " HTTP/1.1\r\n" + laneHead + "Transfer-Encoding: chunked\r\n\r\n13\r\n" + body + "\r\n0\r\n\r\n",
		"POST " + query + " HTTP/1.1\r\n" + laneHead + "\r\n",
		"POST " + query + " HTTP/1.0\r\n" + laneHead + "Content-Length: 19\r\n\r\n" + body,
		"GET " + query + " HTTP/1.1\r\n" + laneHead + "Content-Length: 19\r\n\r\n" + body,
		post(query, laneHead+"Expect: 100-continue\r\n", body),
		post(query, laneHead+"Connection: close\r\n", body),
		post(query, laneHead+"X-A: \x01\r\n", body),
		post(query, laneHead+"X-A : b\r\n", body),
		post(query, laneHead+"X-A: b\r\n c\r\n", body),
		post(query, laneHead+"X-A: 汤\r\n", body),
		post(query, laneHead+"X-A: b\nX-B: c\r\n", body),
		post(query, "Host: a b\r\nX-LC-Id: "+appID+"\r\n", body),
		post(query, laneHead+"Content-Type: text/plain\r\n", body),
		post(query, "Host: a\r\nContent-Type: text/plain\r\n", `{"peerIds":["Tom"],"_ApplicationId":"`+appID+`","_ApplicationKey":"`+appKey+`"}`),
		post(query, laneHead+"X-A: "+strings.Repeat("x", 9000)+"\r\n", body),
		post(query, laneHead+"X-A: "+strings.Repeat("x", 30000)+"\r\n", body),
		post(query, laneHead, list(100_000)),
		post(query, laneHead, body)[:200],
		"\r\n" + post(query, laneHead, body),
		"", "x", "POST", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	}
}

// Both lanes answer alike: the same bytes in bring the same bytes out, alone, behind others and in
// pieces.
func TestBothLanesAnswerAlike(t *testing.T) {
	lane, slow := serveRaw(t, leancloud.DefaultConfig(), true), serveRaw(t, leancloud.DefaultConfig(), false)
	for _, s := range []*rawServer{lane, slow} {
		s.record("/1.1/functions/_clientOnline", asHook(), []byte(`{"peerId":"Tom"}`))
	}
	first := laneRequests()[0]
	for i, text := range append(laneRequests(), otherRequests()...) {
		for _, all := range []string{text, text + first, first + text, first + text + first + "\r\n" + first} {
			cut := len(all) / 2
			got, want := lane.talk(t, all, 0), slow.talk(t, all, 0)
			if got != want {
				t.Errorf("request %d, %.300q:\n lane %.600q\n slow %.600q", i, all, got, want)
			}
			if got, want := lane.talk(t, all, cut), slow.talk(t, all, cut); got != want {
				t.Errorf("request %d in two pieces, %.300q:\n lane %.600q\n slow %.600q", i, all, got, want)
			}
		}
	}
	// What the lane is for must be answered in it.
	before, handed := lane.lane.Stats()
	for _, text := range laneRequests() {
		if len(text) < 64<<10 {
			lane.talk(t, text, 0)
		}
	}
	after, more := lane.lane.Stats()
	if want := int64(len(laneRequests())); after-before < want-1 || more != handed+0 && after-before != want {
		t.Errorf("%d of %d requests were answered in the lane, %d connections handed over", after-before, want, more-handed)
	}
}

// FuzzLanes: whatever a client sends, both lanes answer the same.
func FuzzLanes(f *testing.F) {
	for _, text := range append(laneRequests(), otherRequests()...) {
		if len(text) < 2000 {
			f.Add([]byte(text), 0)
		}
	}
	lane, slow := serveRaw(f, leancloud.DefaultConfig(), true), serveRaw(f, leancloud.DefaultConfig(), false)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		for _, text := range []string{string(in), laneRequests()[0] + string(in)} {
			if got, want := lane.talk(t, text, cut), slow.talk(t, text, cut); got != want {
				t.Errorf("%q:\n lane %q\n slow %q", text, got, want)
			}
		}
	})
}

// A question in the lane leaves nothing for the garbage collector.
func TestAllocationsOfAQuestion(t *testing.T) {
	srv := build(t, leancloud.DefaultConfig(), nil)
	routes := srv.Handler.Lane()
	var memory any
	r := &fastlane.Request{
		Fields: [][]byte{[]byte(appID), []byte(appKey), nil, nil, []byte("application/json"), nil, nil, nil},
		Body:   []byte(list(100)), Conn: &memory, Date: []byte("x"),
	}
	out := make([]byte, 0, 4096)
	var ok bool
	n := testing.AllocsPerRun(1000, func() {
		out, _, ok = routes.Answer(r, out[:0])
	})
	if !ok || !strings.HasPrefix(string(out), "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("%.100s", out)
	}
	// None as a rule; under the race detector the pool of scratch space drops one in four.
	if n > 6 {
		t.Errorf("%v allocations for a question of 100 ids", n)
	}
	w, body := &discard{h: http.Header{}}, []byte(list(100))
	q := srv.request(query, asClient(), nil)
	q.ContentLength = int64(len(body))
	reader := strings.NewReader(string(body))
	q.Body = io.NopCloser(reader)
	if n := testing.AllocsPerRun(1000, func() {
		reader.Reset(string(body))
		srv.Handler.ServeHTTP(w, q)
	}); n > 18 {
		t.Errorf("%v allocations behind net/http", n)
	}
}
