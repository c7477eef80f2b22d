//go:build faults

package rest_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/browsertest"
)

// A browser's EventSource that is cut in the first bytes of the stream, behind them and within its
// first event comes back each time by itself, and watches in the end. (One that is cut in the head
// of an answer gives up by itself: Chromium does not connect again.)
func TestFaultAnEventSourceThatIsCutAgainAndAgainComesBack(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"peer":"tom","state":"online","session":"1"}]}`)
	mux := http.NewServeMux()
	mux.HandleFunc("/rollcall.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "../../client/js/rollcall.js") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/page.html") })
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	behind := func(mark string, more int) func(b []byte) int {
		return func(b []byte) int {
			if i := bytes.Index(b, []byte(mark)); i >= 0 && len(b) >= i+len(mark)+more {
				return i + len(mark) + more
			}
			return -1
		}
	}
	cuts := []func(b []byte) int{behind("\r\n\r\n", 3), behind("\nid: ", 20), behind("\n\n", 0), behind("event: snap", 0), behind("data: {", 10)}
	proxy := cutting(t, strings.TrimPrefix(h.URL, "http://"), cuts)
	q := url.Values{"server": {h.URL}, "stream": {"http://" + proxy.Addr().String()}, "app": {appID}, "key": {appKey}, "ticket": {h.buy("app", "")}}
	said := browsertest.Open[pageLine](t, pages.URL+"/?"+q.Encode())
	for end := time.After(2 * time.Minute); ; {
		select {
		case got := <-said:
			if got.Failed != "" {
				t.Fatal(got.Failed)
			}
			if got == (pageLine{By: "EventSource", Event: "snapshot", Peer: "tom", Status: "online"}) {
				if n := proxy.cut.Load(); n != int64(len(cuts)) {
					t.Errorf("it was cut %d times of %d", n, len(cuts))
				}
				return
			}
		case <-end:
			t.Fatalf("the page has no snapshot after %d cuts", proxy.cut.Load())
		}
	}
}

// A cutter passes connections on to a server and cuts the first of them where it is asked to.
type cutter struct {
	net.Listener
	cut atomic.Int64
}

// cutting returns a cutter to server; each of cuts says of what has come from the server where the
// connection ends, or -1.
func cutting(t *testing.T, server string, cuts []func([]byte) int) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, o := range open {
			_ = o.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				_ = down.Close()
				continue
			}
			mu.Lock()
			open = append(open, up, down)
			mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(up, down); _ = up.Close() })
			wg.Go(func() {
				defer func() { _, _ = down.Close(), up.Close() }()
				n := int(c.cut.Load())
				if n >= len(cuts) {
					_, _ = io.Copy(down, up)
					return
				}
				var all []byte
				for b := make([]byte, 4096); ; {
					k, err := up.Read(b)
					if err != nil {
						return
					}
					sent := len(all)
					all = append(all, b[:k]...)
					if at := cuts[n](all); at >= 0 {
						_, _ = down.Write(all[sent:max(at, sent)])
						c.cut.Add(1)
						return
					}
					_, _ = down.Write(all[sent:])
				}
			})
		}
	})
	return c
}
