package framing_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/framing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server behind the guard that answers with the body it read, and counts requests.
func serve(t testing.TB, protocols *http.Protocols) (addr string, served *atomic.Int64) {
	t.Helper()
	served = new(atomic.Int64)
	srv := &http.Server{
		ConnState: framing.ConnState, Protocols: protocols, MaxHeaderBytes: 16 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ws" {
				echo(t, w)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "broken body", http.StatusBadRequest)
				return
			}
			served.Add(1)
			fmt.Fprintf(w, "%s %s:%s.", r.Method, r.URL.Path, body)
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(framing.Listener{Listener: l})
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return l.Addr().String(), served
}

// echo takes the connection over and sends back what comes, as a WebSocket would.
func echo(t testing.TB, w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

// talk sends text in the pieces that split makes and returns all that comes back until the server
// closes.
func talk(t testing.TB, addr, text string, bytewise bool) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if bytewise {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				break // refused already
			}
		}
	} else if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil && len(got) == 0 {
		t.Fatalf("no answer: %v", err)
	}
	return string(got)
}

const (
	plain = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
	last  = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)

func TestRefusesWhatHasTwoReadings(t *testing.T) {
	const head = "POST /bad HTTP/1.1\r\nHost: a\r\n"
	tests := map[string]string{
		"length beside chunked":            head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked beside length":            head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"length beside chunked, far apart": head + "CONTENT-LENGTH:3\r\nA: b\r\nC: d\r\ntransfer-encoding:\tchunked \r\n\r\n0\r\n\r\n",
		"two lengths":                      head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"two equal lengths":                head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"a list of lengths":                head + "Content-Length: 3, 3\r\n\r\nabc",
		"a length with sign":               head + "Content-Length: +3\r\n\r\nabc",
		"a negative length":                head + "Content-Length: -3\r\n\r\nabc",
		"an empty length":                  head + "Content-Length: \r\n\r\nabc",
		"a hex length":                     head + "Content-Length: 0x3\r\n\r\nabc",
		"a length beyond counting":         head + "Content-Length: 99999999999999999999\r\n\r\nabc",
		"chunked, identity":                head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"identity":                         head + "Transfer-Encoding: identity\r\n\r\n",
		"chunked twice":                    head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked in quotes":                head + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		"chunked after a vertical tab":     head + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"chunked with HTTP/1.0":            "POST /bad HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"space before the colon":           head + "Content-Length : 3\r\n\r\nabc",
		"tab before the colon":             head + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
		"a folded line":                    head + "A: b\r\n Content-Length: 3\r\n\r\nabc",
		"a first line folded":              "POST /bad HTTP/1.1\r\n Host: a\r\n\r\n",
		"a bare LF in the head":            head + "A: b\nContent-Length: 3\r\n\r\nabc",
		"a bare LF that ends the head":     head + "Content-Length: 0\r\n\n",
		"a bare LF behind the first line":  "POST /bad HTTP/1.1\nHost: a\r\n\r\n",
		"a line without colon":             head + "Content-Length\r\n\r\n",
		"no name":                          head + ": 3\r\n\r\n",
		"no version":                       "GET /bad\r\n\r\n",
		"another version":                  "GET /bad HTTP/1.2\r\nHost: a\r\n\r\n",
		"HTTP/2 in the middle":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"two hosts":                        head + "Host: b\r\n\r\n",
	}
	for name, text := range tests {
		for _, bytewise := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bytewise %v", name, bytewise), func(t *testing.T) {
				addr, served := serve(t, nil)
				got := talk(t, addr, plain+text+last, bytewise)
				if !strings.HasPrefix(got, "HTTP/1.1 200 OK") || strings.Count(got, "HTTP/1.1 400 Bad Request") != 1 {
					t.Errorf("got %q", got)
				}
				if n := served.Load(); n != 1 {
					t.Errorf("%d requests were served, want only the first", n)
				}
			})
		}
	}
}

func TestRefusesBrokenChunks(t *testing.T) {
	for name, body := range map[string]string{
		"a bare LF behind a size":  "3\nabc\r\n0\r\n\r\n",
		"a bare LF behind a chunk": "3\r\nabc\n0\r\n\r\n",
		"a longer chunk":           "3\r\nabcd\r\n0\r\n\r\n",
		"a size that is none":      "x\r\nabc\r\n0\r\n\r\n",
		"a size with 0x":           "0x3\r\nabc\r\n0\r\n\r\n",
		"a size with space":        "3 \r\nabc\r\n0\r\n\r\n",
		"no size":                  "\r\nabc\r\n0\r\n\r\n",
		"a size beyond counting":   "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"a folded trailer":         "3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
	} {
		for _, bytewise := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bytewise %v", name, bytewise), func(t *testing.T) {
				addr, served := serve(t, nil)
				got := talk(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body+last, bytewise)
				if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request") || served.Load() != 0 {
					t.Errorf("%d served, got %q", served.Load(), got)
				}
			})
		}
	}
}

func TestLetsThroughWhatIsPlain(t *testing.T) {
	text := plain +
		"POST /len HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nabc\r\n0000A\r\n0\r\n\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n" +
		"POST /empty HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\n" +
		"POST /continue HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi" +
		last
	for _, bytewise := range []bool{false, true} {
		addr, served := serve(t, nil)
		got := talk(t, addr, text, bytewise)
		for _, want := range []string{
			"GET /plain:.", "POST /len:GET / HTTP/1.1\r\nHost: x\r\n\r\n.", "POST /chunks:abc0\r\n\r\nGET /.",
			"POST /empty:.", "HTTP/1.1 100 Continue", "POST /continue:hi.", "GET /last:.",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("bytewise %v: no %q in %q", bytewise, want, got)
			}
		}
		if served.Load() != 6 {
			t.Errorf("%d served, want 6", served.Load())
		}
	}
}

func TestHugeHeadIsNetHTTPsToRefuse(t *testing.T) {
	for name, head := range map[string]string{
		"one line":   "A: " + strings.Repeat("x", 100<<10) + "\r\n",
		"many lines": strings.Repeat("A: "+strings.Repeat("x", 200)+"\r\n", 500),
	} {
		addr, _ := serve(t, nil)
		got := talk(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n"+head+"\r\n", false)
		if !strings.HasPrefix(got, "HTTP/1.1 431") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

const upgrade = " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

func TestUpgradeIsLeftAlone(t *testing.T) {
	addr, _ := serve(t, nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	frames := "early\nContent-Length: 1\r\n\x00\xff"
	fmt.Fprint(c, plain+"GET /ws"+upgrade+frames) // some of it in the same packet as the request
	r := bufio.NewReader(c)
	for _, want := range []int{http.StatusOK, http.StatusSwitchingProtocols} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatal(resp, err)
		}
		if want == http.StatusOK {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	}
	for _, text := range []string{frames, "\r\n\r\n\n late " + strings.Repeat("z", 5000)} {
		if text != frames {
			fmt.Fprint(c, text)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestUpgradeNotTakenEndsTheConnection(t *testing.T) {
	addr, served := serve(t, nil)
	got := talk(t, addr, "GET /no"+upgrade+"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false)
	if served.Load() != 1 || strings.Count(got, "HTTP/1.1 ") != 1 {
		t.Errorf("%d served, got %q", served.Load(), got)
	}
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	addr, served := serve(t, protocols)
	only2 := new(http.Protocols)
	only2.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: only2}
	defer tr.CloseIdleConnections()
	for range 3 {
		r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/two", strings.NewReader("body"))
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 || string(body) != "POST /two:body." {
			t.Errorf("%s %q", resp.Proto, body)
		}
	}
	if served.Load() != 3 {
		t.Error(served.Load())
	}
}

// FuzzAgreesWithNetHTTP: what the guard lets through is cut into the same requests by net/http as
// by the guard, however it arrives, and nothing is added, lost or changed.
func FuzzAgreesWithNetHTTP(f *testing.F) {
	for _, s := range []string{
		plain + last,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + plain,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + plain,
		"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "\r\n\r\n" + plain, "GET / HTTP/1.1\nHost: a\n\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /no" + upgrade + plain,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := through(in, false)
		if split := through(in, true); split != whole {
			t.Fatalf("in one piece %q, byte by byte %q", whole, split)
		}
		clean, poisoned := strings.CutSuffix(whole, "xx\n\n")
		if !strings.HasPrefix(string(in), clean) {
			t.Fatalf("%q became %q", in, whole)
		}
		if !poisoned && strings.HasPrefix(clean, "PRI") {
			return
		}
		for at, r := 0, bufio.NewReader(strings.NewReader(clean)); ; {
			ends := framing.Ends([]byte(clean[at:]))
			if len(ends) == 0 {
				return
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				return // the server closes
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			rest, _ := io.ReadAll(r)
			if got, want := len(clean)-len(rest), at+ends[0]; got != want {
				t.Fatalf("net/http ends a request of %q at %d, the guard at %d", clean, got, want)
			}
			at += ends[0]
			r = bufio.NewReader(strings.NewReader(clean[at:]))
		}
	})
}

// memory is a connection that yields what it holds.
type memory struct {
	net.Conn
	r io.Reader
}

func (m memory) Read(p []byte) (int, error) { return m.r.Read(p) }

// through returns what comes out of a guard, leaving out what it may still hold back.
func through(in []byte, bytewise bool) string {
	var src io.Reader = strings.NewReader(string(in))
	size := 4096
	if bytewise {
		src, size = iotest.OneByteReader(src), 1
	}
	c := framing.NewConn(memory{r: src}, nil, false, nil)
	var out []byte
	p := make([]byte, size)
	for {
		n, err := c.Read(p)
		out = append(out, p[:n]...)
		if err != nil {
			return string(out)
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	request := []byte("POST /1.1/functions/getOnOffStatus HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: LeanCloud-JS-SDK/4.15.2 (Node.js/20)\r\n" +
		"X-LC-Id: rollcallTestAppId000001\r\nX-LC-Sign: cebbb76180c92371759fc0ed82fd1346,1453014943466\r\nX-LC-Prod: 1\r\n" +
		"Content-Type: application/json;charset=UTF-8\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nContent-Length: 300\r\nConnection: keep-alive\r\n\r\n" +
		strings.Repeat("x", 300))
	c := framing.NewConn(memory{r: &again{b: request}}, nil, false, nil)
	p := make([]byte, 4096)
	for b.Loop() {
		if n, err := c.Read(p); n != len(request) || err != nil {
			b.Fatal(n, err)
		}
	}
}

type again struct{ b []byte }

func (a *again) Read(p []byte) (int, error) { return copy(p, a.b), nil }
