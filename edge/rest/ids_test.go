package rest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// odd are ids that a path does not carry as they are, or that look like a part of a call.
var odd = []string{
	"query", "why", "online-time", ".", "..", "...", "a/b", "/", "//", "../query", "..%2f", "%2F", "%", "%zz", "?", "a?b=c", "#", ";", "a;b", "a&b", "a=b",
	" ", "+", "a+b", "é", "😀", "\u202e", "'", `"`, `\`, "*", "{id}", "peer", "x" + "/why", ":", "@", "null",
}

// Whatever a peer is called it can be read, explained and erased, by the query and, where a path
// carries it, by the path.
func TestEveryIDIsReachable(t *testing.T) {
	h := open(t)
	for _, id := range odd {
		name, _ := json.Marshal(id)
		forms := map[string]func(call string) string{
			"query": func(call string) string { return "/v1/peer" + call + "?id=" + url.QueryEscape(id) },
			"path":  func(call string) string { return "/v1/peers/" + escapeAll(id) + call },
		}
		if id == "/" {
			delete(forms, "path") // a router takes it for the end of a folder
		}
		for form, path := range forms {
			h.events(fmt.Sprintf(`{"events":[{"user":%s,"state":"online","session":"1"}]}`, name))
			for _, call := range []string{"", "/why"} {
				status, body := h.call("master", "GET", path(call), "")
				var out struct{ Peer, Status string }
				if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || out.Peer != id || out.Status != "online" {
					t.Errorf("%q by the %s, %s: %d %s", id, form, path(call), status, body)
				}
			}
			// It is switched off.
			if status, body := h.call("master", "GET", path("/online-time"), ""); status != 409 {
				t.Errorf("the online time of %q by the %s: %d %s", id, form, status, body)
			}
			if status, body := h.call("master", "DELETE", path(""), ""); status != 200 {
				t.Errorf("erase %q by the %s: %d %s", id, form, status, body)
			}
			if _, body := h.call("master", "GET", "/v1/peer?id="+url.QueryEscape(id), ""); !strings.Contains(body, `"unknown"`) {
				t.Errorf("after it was erased by the %s %q is %s", form, id, body)
			}
		}
	}
	for call, status := range map[string]int{
		// An id that only a hook brings: operators reach it.
		"/v1/peer?id=%00": 400, "/v1/peer/why?id=%00": 200,
		"/v1/peer?id=%FF": 400, "/v1/peer/why?id=%FF": 400, "/v1/peer?id=": 400,
	} {
		h.expect("master", "GET", call, "", status, "")
	}
	h.expect("master", "GET", "/v1/peer", "", 400, `{"code":"invalid","error":"the query parameter id is missing"}`)
	h.expect("master", "POST", "/v1/peers/query", `{"peers":[]}`, 200, `{"peers":[]}`)
}

// escapeAll escapes every byte that is no letter or digit, the dot too.
func escapeAll(id string) string {
	s := ""
	for _, c := range []byte(id) {
		if c >= 'a' && c <= 'z' {
			s += string(c)
			continue
		}
		s += fmt.Sprintf("%%%02X", c)
	}
	return s
}

// A path that a router would tidy up is refused: it would be answered for another peer.
func TestPathsAreNotTidiedUp(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"why","state":"online","session":"1"}]}`)
	for _, path := range []string{"/v1/peers/./why", "/v1/peers//why", "/v1/peers/x/../why", "/v1//peers/why", "//v1/peers/why", "/v1/peers/..", "/v1/peers/."} {
		for _, method := range []string{"GET", "DELETE"} {
			if res := h.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-LC-Id: %s\r\nAuthorization: Bearer %s\r\n\r\n", method, path, appID, masterKey)); res.StatusCode != 400 {
				t.Errorf("%s %s: %d to %s", method, path, res.StatusCode, res.Header.Get("Location"))
			}
		}
	}
	h.expect("master", "GET", "/v1/peers/why", "", 200, "")
	h.expect("master", "GET", "/v1/peers/", "", 404, "")
}

func (h *house) raw(request string) *http.Response {
	h.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte(request)); err != nil {
		h.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		h.Fatal(err)
	}
	return res
}

// What a query says and is not understood is refused by its name, at every call.
func TestQueriesThatAreNotUnderstoodAreRefused(t *testing.T) {
	h := open(t)
	for _, rt := range h.routes {
		if rt.Loose {
			continue
		}
		path := strings.NewReplacer("{id}", "tom", "{node}", "gw").Replace(rt.Path)
		for query, name := range map[string]string{"surprise=1": "surprise", "app=" + appID + "&app=" + appID: "app", "a%zz=1": "a%zz", "app=%zz": "app", "app;x=1": ";"} {
			status, body := h.call("master", rt.Method, path+"?"+query, "")
			if status != 400 || !strings.Contains(body, name) || !strings.Contains(body, `"invalid"`) {
				t.Errorf("%s %s?%s: %d %s", rt.Method, path, query, status, body)
			}
		}
	}
	for path, name := range map[string]string{
		"/v1/peers?online&limit=abc": "limit", "/v1/peers?online&limit=": "limit", "/v1/peers?online&limit=0": "limit", "/v1/peers?online&limit=1e3": "limit",
		"/v1/peers?online&limit=7&limit=8": "limit", "/v1/peers?online&cursor=abc": "cursor", "/v1/peers?online&cursor=a&cursor=b": "cursor",
		"/v1/peers?online=no": "online", "/v1/peers": "online", "/v1/peers?online&online": "online", "/v1/peers?onlin": "onlin",
		"/v1/watch?peer=tom&since=a&since=b": "since", "/v1/watch?peer=tom&peers=ann": "peers", "/v1/watch?peer=tom&peer=%e2%82": "peer 1", "/v1/watch?ids=tom": "ids",
		"/v1/peer?id=a&id=b": "id", "/v1/peer?peer=a": "peer", "/v1/peers/tom?id=ann": "id",
	} {
		status, body := h.call("master", "GET", path, "")
		if status != 400 || !strings.Contains(body, name) {
			t.Errorf("GET %s: %d %s; want it refused by the name %s", path, status, body, name)
		}
	}
}

// A cursor is the server's own: one that it did not give out for this app, or that was changed, is
// refused.
func TestCursorsAreSealed(t *testing.T) {
	h := open(t)
	for i := range 20 {
		h.events(fmt.Sprintf(`{"events":[{"user":"p%d","state":"online","session":"1"}]}`, i))
	}
	_, body := h.call("master", "GET", "/v1/peers?online&limit=7", "")
	var page struct {
		Peers  []string
		Cursor string
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Peers) != 7 || page.Cursor == "" {
		t.Fatal(body)
	}
	h.expect("master", "GET", "/v1/peers?online&limit=7&cursor="+page.Cursor, "", 200, "")
	bent := page.Cursor[:len(page.Cursor)-1]
	token := h.tokens.SealCursor("another", "1")
	for name, cursor := range map[string]string{"cut": bent, "longer": page.Cursor + "A", "of another app": token, "a number": "12", "not UTF-8": "%ff"} {
		h.expect("master", "GET", "/v1/peers?online&cursor="+cursor, "", 400, `{"code":"invalid","error":"cursor is not one that this server gave out; start again without it"}`)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
