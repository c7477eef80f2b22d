//go:build unix

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/redistest"
)

// rest calls the REST interface of p with the master key.
func (p *process) rest(path, body string) map[string]any {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.addr+path, bytes.NewBufferString(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-LC-Id", appID)
	req.Header.Set("X-LC-Key", masterKey+",master")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s was answered %d %v, %v", path, resp.StatusCode, answer, err)
	}
	return answer
}

// Two binaries on one Redis behind one address, and the real SDK: it is moved when its node stops,
// it is never offline, and a kick on either node finds it.
func TestARealSDKIsMovedFromNodeToNode(t *testing.T) {
	redis := redistest.Run(t)
	env := []string{"ROLLCALL_STORE=redis://" + redis.Addr, "ROLLCALL_GATEWAY_GO_AWAY=true"}
	a, b := startProcess(t, env...), startProcess(t, env...)
	var live atomic.Pointer[url.URL]
	live.Store(&url.URL{Scheme: "http", Host: a.addr})
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(live.Load())
		r.SetXForwarded()
	}})
	t.Cleanup(proxy.Close)
	tom := a.stay([]string{"ROLLCALL_URL=" + proxy.URL}, "tom")

	stop := make(chan struct{})
	seen := make(chan string, 1)
	go func() {
		defer close(seen)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if got := fmt.Sprint(b.rest("/1.2/rtm/clients/check-online", `{"client_ids":["tom"]}`)["results"]); got != "[tom]" {
				seen <- got
				return
			}
		}
	}()
	live.Store(&url.URL{Scheme: "http", Host: b.addr})
	a.end(syscall.SIGTERM)
	tom.expect("the SDK is back on the other node", func(l stayed) bool { return l.Event == "reconnect" && l.Client == "tom" })
	if got := tom.ping("tom"); len(got) != 1 {
		t.Errorf("online are %v after the move", got)
	}
	close(stop)
	if got, bad := <-seen; bad {
		t.Errorf("while it moved, check-online said %s", got)
	}

	a.start()
	a.rest("/1.2/rtm/clients/tom/kick", `{"reason":"because"}`)
	l := tom.expect("the kick", func(l stayed) bool { return l.Event == "close" && l.Client == "tom" })
	if l.Payload.Code != 4115 || l.Payload.Reason != "because" {
		t.Errorf("the SDK hears %+v", l.Payload)
	}
}
