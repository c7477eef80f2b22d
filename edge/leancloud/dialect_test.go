package leancloud_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/edge/leancloud"
	"rollcall/presence"
)

const query = "/1.1/functions/getOnOffStatus"

// want checks an answer: a status and, when not empty, the body or "code N".
func want(t *testing.T, resp *http.Response, body []byte, status int, text string) {
	t.Helper()
	if resp.StatusCode != status {
		t.Errorf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	if n, ok := strings.CutPrefix(text, "code "); ok {
		var e struct {
			Code  json.Number
			Error string
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Code.String() != n || e.Error == "" {
			t.Errorf("got %s, want %s", body, text)
		}
	} else if text != "" && string(body) != text {
		t.Errorf("got %s, want %s", body, text)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("no allow-origin header")
	}
}

func TestParameters(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	for _, id := range []string{"a", "1", "42", "-7", "汤", "\uFFFD", "x\uFFFDy", `q"\`, "\x00", "Tom,Jerry"} {
		srv.hook(t, "online", id, false)
	}
	tests := []struct {
		name, body string
		status     int
		text       string
	}{
		{"plain", `{"peerIds":["a","b"]}`, 200, `{"result":["1",null]}`},
		{"repeated ids", `{"peerIds":["a","a","b","a"]}`, 200, `{"result":["1","1",null,"1"]}`},
		{"white space everywhere", " \t\r\n{ \"peerIds\" :\n[ \"a\" , \"b\" ] }\r\n", 200, `{"result":["1",null]}`},
		{"an empty id", `{"peerIds":[""]}`, 200, `{"result":[null]}`},
		{"none", `{"peerIds":[]}`, 200, `{"result":[]}`},
		{"none with space", `{"peerIds":[ ]}`, 200, `{"result":[]}`},
		{"escapes", `{"peerIds":["\u0061","\u6c64","q\"\\","\u0000"]}`, 200, `{"result":["1","1","1","1"]}`},
		{"the name escaped", `{"peer\u0049ds":["a"]}`, 200, `{"result":["1"]}`},
		{"integers", `{"peerIds":[1,42,-7,43]}`, 200, `{"result":["1","1","1",null]}`},
		{"a large integer", `{"peerIds":[123456789012345678901234567890]}`, 200, `{"result":[null]}`},
		{"null inside", `{"peerIds":["a",null,"b",null ,"a"]}`, 200, `{"result":["1",null,null,null,"1"]}`},
		{"nothing but null", `{"peerIds":[null]}`, 200, `{"result":[null]}`},
		{"a lone string", `{"peerIds":"a"}`, 200, `{"result":["1"]}`},
		{"other parameters", `{"x":{"peerIds":["b"]},"peerIds":["a"],"y":[[]]}`, 200, `{"result":["1"]}`},
		{"the last of two counts", `{"peerIds":["b"],"peerIds":["a"]}`, 200, `{"result":["1"]}`},
		{"another letter case is another name", `{"peerIds":["a"],"PeerIds":["b"],"peerids":5}`, 200, `{"result":["1"]}`},
		{"a byte order mark", "\xef\xbb\xbf" + `{"peerIds":["a"]}`, 200, `{"result":["1"]}`},
		{"invalid UTF-8", "{\"peerIds\":[\"x\xffy\"]}", 200, `{"result":["1"]}`},
		{"a character cut short is one replacement", "{\"peerIds\":[\"x\xe6\xb1y\"]}", 200, `{"result":["1"]}`},
		{"two stray bytes are two", "{\"peerIds\":[\"x\xff\xffy\"]}", 200, `{"result":[null]}`},
		{"a lone surrogate", `{"peerIds":["\ud800","x\udc00y"]}`, 200, `{"result":["1","1"]}`},
		{"built-in names", `{"peerIds":["__proto__","constructor","toString"],"__proto__":{"peerIds":5}}`, 200, `{"result":[null,null,null]}`},

		{"nothing", ``, 400, "code 1"},
		{"a byte order mark alone", "\xef\xbb\xbf", 400, "code 1"},
		{"missing", `{}`, 400, "code 1"},
		{"null", `{"peerIds":null}`, 400, "code 1"},
		{"true", `{"peerIds":true}`, 400, "code 1"},
		{"an object", `{"peerIds":{}}`, 400, "code 1"},
		{"a list at the top", `["a"]`, 400, "code 1"},
		{"null at the top", `null`, 400, "code 107"},
		{"a string at the top", `"a"`, 400, "code 107"},
		{"white space", "  ", 400, "code 107"},
		{"not JSON", `peerIds=a`, 400, "code 107"},
		{"two values", `{"peerIds":["a"]}{}`, 400, "code 107"},
		{"something behind", `{"peerIds":["a"]}x`, 400, "code 107"},
		{"cut short", `{"peerIds":["a"`, 400, "code 107"},
		{"a trailing comma", `{"peerIds":["a",]}`, 400, "code 107"},
		{"a control character", "{\"peerIds\":[\"a\nb\"]}", 400, "code 107"},
		{"single quotes", `{'peerIds':['a']}`, 400, "code 107"},
		{"16 deep", `{"peerIds":["a"],"x":` + nested(15) + `}`, 200, `{"result":["1"]}`},
		{"17 deep", `{"peerIds":["a"],"x":` + nested(16) + `}`, 400, "code 1"},
		{"far too deep", strings.Repeat("[", 1<<19), 400, "code 1"},
		{"10,000 ids", list(10_000), 200, ""},
		{"10,001 ids", list(10_001), 413, "code 413"},
		{"10,001 nulls", `{"peerIds":[` + strings.Repeat("null,", 10_000) + `null]}`, 413, "code 413"},
		{"10,001 integers", `{"peerIds":[` + strings.Repeat("1,", 10_000) + `1]}`, 413, "code 413"},
		{"10,001 lists", `{"peerIds":[` + strings.Repeat("[],", 10_000) + `{}]}`, 413, "code 413"},
		{"10,001 in one list inside", `{"peerIds":["a",[` + strings.Repeat("1,", 10_000) + `1]]}`, 200, `{"result":["1",null]}`},
		{"16 deep inside", `{"peerIds":["a",` + nested(14) + `]}`, 200, `{"result":["1",null]}`},
		{"17 deep inside", `{"peerIds":["a",` + nested(15) + `]}`, 400, "code 1"},
		{"1 MiB", `{"peerIds":["a"],"x":"` + strings.Repeat("x", 1<<20-24) + `"}`, 200, ""},
		{"1 MiB and a byte", `{"peerIds":["a"],"x":"` + strings.Repeat("x", 1<<20-23) + `"}`, 413, `{"code":1,"error":"request entity too large"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{query, "/1/call/getOnOffStatus"} {
				resp, body := srv.send(t, http.MethodPost, path, asClient(), []byte(tt.body))
				want(t, resp, body, tt.status, tt.text)
			}
			resp, body := srv.send(t, http.MethodPost, query, asClient("Transfer-Encoding", "chunked"), []byte(tt.body))
			want(t, resp, body, tt.status, tt.text)
		})
	}
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func list(n int) string {
	return `{"peerIds":["a"` + strings.Repeat(`,"b"`, n-1) + `]}`
}

func TestUnknownAsOffline(t *testing.T) {
	cfg := leancloud.DefaultConfig()
	cfg.UnknownAsOffline = true
	srv := start(t, cfg)
	resp, body := srv.send(t, http.MethodPost, query, asClient(), []byte(`{"peerIds":["nobody"]}`))
	want(t, resp, body, 200, `{"result":["0"]}`)
}

func TestContentTypesAndEncodings(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "a", false)
	text := []byte(`{"peerIds":["a"]}`)
	packed := map[string][]byte{"": text}
	var gz, raw bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, _ = z.Write(text)
	_ = z.Close()
	f, _ := flate.NewWriter(&raw, 9)
	_, _ = f.Write(text)
	_ = f.Close()
	var bomb bytes.Buffer
	z = gzip.NewWriter(&bomb)
	_, _ = z.Write(append(text, bytes.Repeat([]byte(" "), 64<<20)...))
	_ = z.Close()
	packed["gzip"], packed["raw"], packed["bomb"] = gz.Bytes(), raw.Bytes(), bomb.Bytes()
	tests := []struct {
		name, kind, encoding string
		body                 []byte
		status               int
		text                 string
	}{
		{"json", "application/json", "", text, 200, `{"result":["1"]}`},
		{"json with charset", "application/json;charset=UTF-8", "", text, 200, `{"result":["1"]}`},
		{"charset in quotes", `application/json; charset="utf-8"; x=y`, "", text, 200, `{"result":["1"]}`},
		{"no type", "", "", text, 200, `{"result":["1"]}`},
		{"nonsense", ";;;", "", text, 200, `{"result":["1"]}`},
		{"xml", "text/xml", "", text, 200, `{"result":["1"]}`},
		{"gbk", "application/json; charset=gbk", "", text, 415, `{"code":1,"error":"unsupported charset \"GBK\""}`},
		{"gbk without a body", "application/json; charset=gbk", "", nil, 400, "code 1"},
		{"form", "application/x-www-form-urlencoded", "", []byte("peerIds=a"), 200, `{"result":["1"]}`},
		{"form with a list", "application/x-www-form-urlencoded; charset=utf-8", "", []byte("peerIds=a&peerIds=b"), 200, `{"result":["1",null]}`},
		{"broken form", "application/x-www-form-urlencoded", "", []byte("peerIds=%zz&;"), 400, "code 1"},
		{"form that is broken where it matters less", "application/x-www-form-urlencoded", "", []byte("peerIds=a&x=%2"), 400, "code 1"},
		{"form with a semicolon", "application/x-www-form-urlencoded", "", []byte("peerIds=a&x=1;2"), 200, `{"result":["1"]}`},
		{"gzip", "application/json", "gzip", packed["gzip"], 200, `{"result":["1"]}`},
		{"GZip", "application/json", "GZip", packed["gzip"], 200, `{"result":["1"]}`},
		{"identity", "application/json", "identity", text, 200, `{"result":["1"]}`},
		{"deflate without zlib's head", "application/json", "deflate", packed["raw"], 200, `{"result":["1"]}`},
		{"gzip that is none", "application/json", "gzip", text, 400, "code 1"},
		{"gzip cut short", "application/json", "gzip", packed["gzip"][:20], 400, "code 1"},
		{"gzip of nothing", "application/json", "gzip", nil, 400, "code 1"},
		{"bomb", "application/json", "gzip", packed["bomb"], 413, `{"code":1,"error":"request entity too large"}`},
		{"twice", "application/json", "gzip, gzip", packed["gzip"], 415, "code 1"},
		{"brotli", "application/json", "br", text, 415, "code 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := asClient()
			h.Del("Content-Type")
			if tt.kind != "" {
				h.Set("Content-Type", tt.kind)
			}
			if tt.encoding != "" {
				h.Set("Content-Encoding", tt.encoding)
			}
			resp, body := srv.send(t, http.MethodPost, query, h, tt.body)
			want(t, resp, body, tt.status, tt.text)
		})
	}
}

func TestTextPlain(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "a", false)
	const creds = `"_ApplicationId":"` + appID + `","_ApplicationKey":"` + appKey + `"`
	tests := []struct {
		name, path, body string
		headers          http.Header
		status           int
		text             string
	}{
		{"credentials inside", query, `{"peerIds":["a"],` + creds + `,"_ClientVersion":"js0.5"}`, headers(), 200, `{"result":["1"]}`},
		{"credentials of headers when none are inside", query, `{"peerIds":["a"]}`, asClient(), 200, `{"result":["1"]}`},
		{"inside wins over right headers", query, `{"peerIds":["a"],"_ApplicationId":"x","_ApplicationKey":"y"}`, asClient(), 401, "code 401"},
		{"master key inside", "/1.1/functions/_ops/metadatas", `{"_ApplicationId":"` + appID + `","_MasterKey":"` + masterKey + `"}`, headers(), 200, ""},
		{"raw master key as app key has no master rights", "/1.1/functions/_ops/metadatas", `{"_ApplicationId":"` + appID + `","_ApplicationKey":"` + masterKey + `"}`, headers(), 401, "code 401"},
		{"a hook", "/1.1/functions/_clientOnline", `{"peerId":"b",` + creds + `}`, headers("X-LC-Hook-Key", hookKey), 200, `{}`},
		{"not strings", query, `{"peerIds":["a"],"_ApplicationId":5,"_ApplicationKey":[]}`, headers(), 401, "code 401"},
		{"empty", query, ``, headers(), 401, "code 401"},
		{"empty with headers", query, ``, asClient(), 400, "code 1"},
		{"a list", query, `[]`, headers(), 401, "code 401"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.headers.Set("Content-Type", "text/plain; charset=utf-8")
			resp, body := srv.send(t, http.MethodPost, tt.path, tt.headers, []byte(tt.body))
			want(t, resp, body, tt.status, tt.text)
		})
	}
	resp, body := srv.send(t, http.MethodPost, query, asClient("Content-Type", "application/json"), []byte(`{"peerIds":["a"],"_ApplicationId":"wrong"}`))
	want(t, resp, body, 200, `{"result":["1"]}`) // in JSON they are parameters like any other
}

func TestPaths(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	tests := []struct {
		method, path string
		status       int
		text         string
	}{
		{"POST", query + "?peerIds=x&" + strings.Repeat("a", 2000), 200, ""},
		{"POST", "/1.1/functions/getOn%4FffStatus", 200, ""},
		{"POST", "/1.1/CALL/getOnOffStatus/", 200, ""},
		{"POST", "/1.1/functions/getOnOffStatus//", 404, `{"code":1,"error":"No such cloud function 'getOnOffStatus/'"}`},
		{"POST", "/1.1/functions/getOnOffStatus%2F", 404, "code 1"},
		{"POST", "/1.1/functions/getOnOffStatus/x", 404, `{"code":1,"error":"No such cloud function 'getOnOffStatus/x'"}`},
		{"POST", "/1.1/functions/%2e%2e", 404, "code 1"},
		{"POST", "/1.1/functions/a%00b", 404, "code 1"},
		{"POST", "/1.1/functions/%E6%B1%A4%ff", 404, "code 1"},
		{"POST", "/1.1/functions", 404, `{"code":1,"error":"No function name or class name: /1.1/functions"}`},
		{"POST", "/1.1/functions/" + strings.Repeat("n", 4096), 404, "code 1"},
		{"POST", "/1.2/functions/getOnOffStatus", 404, "code 1"},
		{"POST", "/1.1/classes/Todo", 404, "code 1"},
		{"GET", "/1.2/rtm/chatrooms/x/members/online-count", 404, "code 1"},
		{"GET", "/1.1/rtm/transient_group/onlines?gid=x", 404, "code 1"},
		{"GET", "/__engine/1/ping/", 404, "code 1"},
		{"GET", "/__engine/1/ping?x", 404, "code 1"},
		{"DELETE", "/__engine/1.1/ping", 200, ""},
		{"OPTIONS", "/1.1/functions/whatever/else", 200, ""},
		{"OPTIONS", "/1.1/rtm/notifications", 200, ""},
		{"OPTIONS", "/1.2/rtm/clients/check-online", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 60)], func(t *testing.T) {
			resp, body := srv.send(t, tt.method, tt.path, asClient(), []byte(`{"peerIds":[]}`))
			want(t, resp, body, tt.status, tt.text)
			if tt.method == "OPTIONS" && !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "X-LC-IM-Session-Token") {
				t.Error("a page may not send the token of its session")
			}
		})
	}
	resp, body := srv.send(t, http.MethodHead, query, asClient("Origin", "null"), []byte(`{"peerIds":[]}`))
	if resp.StatusCode != 405 || len(body) != 0 || resp.Header.Get("Allow") != "POST, GET, PUT, PATCH, DELETE, OPTIONS" ||
		resp.Header.Get("Access-Control-Allow-Origin") != "null" || resp.Header.Get("Vary") != "Origin" {
		t.Error(resp.StatusCode, resp.Header, body)
	}
}

// seen returns the report that the last hook became.
func seen(t *testing.T, srv *testServer, peer string) (r presence.Report) {
	t.Helper()
	all := srv.Service.Trace().Last(presence.Key{App: appID, Peer: presence.PeerID(peer)}, 1)
	if len(all) != 1 {
		t.Fatalf("%d reports of %q", len(all), peer)
	}
	return all[0].Report
}

func TestHooks(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	const on, off = "_clientOnline", "_clientOffline"
	base := presence.Report{
		App: appID, Peer: "p", Source: presence.SourceLeanCloud, At: presence.Millis(srv.now.Load()), Lease: 7 * 24 * time.Hour, Received: true,
	}
	with := func(change func(*presence.Report)) presence.Report {
		r := base
		change(&r)
		return r
	}
	tests := []struct {
		name, hook, body string
		want             presence.Report
	}{
		{"online", on, `{"peerId":"p","sourceIP":"10.0.0.1","tag":"default","reconnect":0}`, with(func(r *presence.Report) { r.Kind, r.Tag = presence.KindOnline, "default" })},
		{"online with tag", on, `{"peerId":"p","tag":"Mobile"}`, with(func(r *presence.Report) { r.Kind, r.Tag = presence.KindOnline, "Mobile" })},
		{"a tag that is none", on, `{"peerId":"p","tag":5}`, with(func(r *presence.Report) { r.Kind = presence.KindOnline })},
		{"a huge tag", on, `{"peerId":"p","tag":"` + strings.Repeat("汤", 4000) + `"}`, with(func(r *presence.Report) { r.Kind, r.Tag = presence.KindOnline, strings.Repeat("汤", 85) })},
		{"reconnect", on, `{"peerId":"p","reconnect":1}`, with(func(r *presence.Report) { r.Kind, r.Reconnect = presence.KindOnline, true })},
		{"reconnect as text", on, `{"peerId":"p","reconnect":"1"}`, with(func(r *presence.Report) { r.Kind, r.Reconnect = presence.KindOnline, true })},
		{"reconnect as truth", on, `{"peerId":"p","reconnect":true}`, with(func(r *presence.Report) { r.Kind, r.Reconnect = presence.KindOnline, true })},
		{"reconnect as nonsense", on, `{"peerId":"p","reconnect":[]}`, with(func(r *presence.Report) { r.Kind = presence.KindOnline })},
		{"offline without code", off, `{"peerId":"p"}`, with(func(r *presence.Report) { r.Kind = presence.KindOffline })},
		{"offline with null", off, `{"peerId":"p","closeCode":null}`, with(func(r *presence.Report) { r.Kind = presence.KindOffline })},
		{"logout", off, `{"peerId":"p","closeCode":1,"closeMsg":"x"}`, with(func(r *presence.Report) { r.Kind, r.Cause = presence.KindOffline, presence.CauseLogout })},
		{"logout as text", off, `{"peerId":"p","closeCode":"1"}`, with(func(r *presence.Report) { r.Kind, r.Cause = presence.KindOffline, presence.CauseLogout })},
		{"lost", off, `{"peerId":"p","closeCode":2,"errorCode":4107,"errorMsg":"READ_TIMEOUT"}`, with(func(r *presence.Report) {
			r.Kind, r.Cause, r.Hold = presence.KindOffline, presence.CauseLost, 3*time.Second
		})},
		{"replaced", off, `{"peerId":"p","closeCode":3,"tag":"Mobile"}`, with(func(r *presence.Report) {
			r.Kind, r.Cause, r.Tag = presence.KindOffline, presence.CauseReplaced, "Mobile"
		})},
		{"kicked", off, `{"peerId":"p","closeCode":4}`, with(func(r *presence.Report) { r.Kind, r.Cause = presence.KindOffline, presence.CauseKicked })},
		{"a code nobody knows is a break", off, `{"peerId":"p","closeCode":99}`, with(func(r *presence.Report) {
			r.Kind, r.Cause, r.Hold = presence.KindOffline, presence.CauseLost, 3*time.Second
		})},
		{"a fraction of a code", off, `{"peerId":"p","closeCode":1.5}`, with(func(r *presence.Report) {
			r.Kind, r.Cause, r.Hold = presence.KindOffline, presence.CauseLost, 3*time.Second
		})},
		{"escapes and other fields", on, `{"a":[{}],"peerId":"\u0070","peerID":"q","PeerId":7}`, with(func(r *presence.Report) { r.Kind = presence.KindOnline })},
		{"the last of two counts", on, `{"peerId":"q","peerId":"p"}`, with(func(r *presence.Report) { r.Kind = presence.KindOnline })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := srv.send(t, http.MethodPost, "/1.1/functions/"+tt.hook, asHook(), []byte(tt.body))
			want(t, resp, body, 200, "{}")
			if got := seen(t, srv, "p"); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
	resp, body := srv.send(t, http.MethodPost, "/1.1/call/_clientOffline", asHook(), []byte(`{"peerId":"p"}`))
	want(t, resp, body, 200, `{"result":{}}`)
}

func TestHooksThatAreRefused(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	tests := []struct {
		name, body string
		headers    http.Header
		status     int
		text       string
	}{
		{"no peer", `{}`, asHook(), 400, "code 1"},
		{"no body", ``, asHook(), 400, "code 1"},
		{"an empty peer", `{"peerId":""}`, asHook(), 400, "code 1"},
		{"null", `{"peerId":null}`, asHook(), 400, "code 1"},
		{"true", `{"peerId":true}`, asHook(), 400, "code 1"},
		{"an object", `{"peerId":{"a":1}}`, asHook(), 400, "code 1"},
		{"a list", `{"peerId":["p"]}`, asHook(), 400, "code 1"},
		{"too long", `{"peerId":"` + strings.Repeat("p", presence.MaxHookPeer+1) + `"}`, asHook(), 400, "code 1"},
		{"not JSON", `{"peerId":`, asHook(), 400, "code 107"},
		{"without hook key", `{"peerId":"p"}`, asClient(), 401, `{"code":401,"error":"Hook key check failed, request from 127.0.0.1"}`},
		{"wrong hook key", `{"peerId":"p"}`, asClient("X-LC-Hook-Key", "x"), 401, "code 401"},
		{"the master key instead", `{"peerId":"p"}`, asMaster(), 401, "code 401"},
		{"right hook key, wrong app key", `{"peerId":"p"}`, asClient("X-LC-Hook-Key", hookKey, "X-LC-Key", "x"), 401, `{"code":401,"error":"Unauthorized."}`},
		{"right hook key of another app", `{"peerId":"p"}`, headers("X-LC-Id", "bare", "X-LC-Key", "the-key-of-bare", "X-LC-Hook-Key", hookKey), 401, "code 401"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := srv.send(t, http.MethodPost, "/1.1/functions/_clientOnline", tt.headers, []byte(tt.body))
			want(t, resp, body, tt.status, tt.text)
		})
	}
	resp, body := srv.send(t, http.MethodPost, "/1.1/functions/_clientOnline?X-LC-Hook-Key="+hookKey, asClient(), []byte(`{"peerId":"p"}`))
	want(t, resp, body, 401, "code 401")
	counts, err := srv.Store.Counts(context.Background(), appID, presence.Millis(srv.now.Load()))
	if err != nil || counts.Known != 0 {
		t.Errorf("%+v, %v: something was counted", counts, err)
	}
}

func TestRightsOfEveryCall(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	calls := []struct {
		method, path, body string
		client, master     int
	}{
		{"POST", query, `{"peerIds":["a"]}`, 200, 200},
		{"GET", "/1.1/functions/_ops/metadatas", ``, 401, 200},
		{"POST", "/1.2/rtm/clients/check-online", `{"client_ids":["a"]}`, 401, 200},
		{"POST", "/1.1/rtm/online", `{"peers":["a"]}`, 401, 200},
		{"POST", "/1.2/rtm/clients/a/kick", `{}`, 401, 200},
		{"POST", "/1.1/rtm/client/kick", `{"client_id":"a"}`, 401, 200},
		{"GET", "/1.2/rtm/stats", ``, 401, 200},
		{"GET", "/1.1/rtm/notifications?client_id=a&start_ts=1", ``, 200, 200},
		{"POST", "/1.1/rtm/sign", `{"session_token":"x"}`, 401, 401},
		{"GET", "/1.2/rtm/clients/sign?session_token=x", ``, 401, 401},
	}
	for _, c := range calls {
		for _, who := range []struct {
			name    string
			headers http.Header
			status  int
		}{
			{"nobody", headers(), 401},
			{"the hook key alone", headers("X-LC-Id", appID, "X-LC-Hook-Key", hookKey), 401},
			{"a wrong key", headers("X-LC-Id", appID, "X-LC-Key", "wrong"), 401},
			{"a client", asClient(), c.client},
			{"the raw master key", headers("X-LC-Id", appID, "X-LC-Key", masterKey), c.client},
			{"the master", asMaster(), c.master},
		} {
			resp, body := srv.send(t, c.method, c.path, who.headers, []byte(c.body))
			if resp.StatusCode != who.status {
				t.Errorf("%s %s by %s: %d, want %d: %s", c.method, c.path, who.name, resp.StatusCode, who.status, body)
			}
			if resp.StatusCode >= 400 {
				want(t, resp, body, who.status, "")
			}
		}
		if strings.Contains(c.path, "rtm") {
			resp, body := srv.send(t, http.MethodPut, c.path, asMaster(), nil)
			want(t, resp, body, 405, "code 1")
			if resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		}
	}
}

func TestRealtimeREST(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "Tom", false)
	srv.hook(t, "online", `J"erry`, false)
	srv.hook(t, "online", "gone", false)
	srv.hook(t, "offline", "gone", false)
	tests := []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "/1.2/rtm/clients/check-online", `{"client_ids":["gone","J\"erry","nobody","Tom"]}`, 200, `{"results":["J\"erry","Tom"]}`},
		{"POST", "/1.2/rtm/clients/check-online/", `{"client_ids":[]}`, 200, `{"results":[]}`},
		{"POST", "/1.2/rtm/clients/check-online", `{"client_ids":"Tom"}`, 400, "code 1"},
		{"POST", "/1.2/rtm/clients/check-online", `{}`, 400, "code 1"},
		{"POST", "/1.1/rtm/online", `{"peers":["Tom",5]}`, 200, `{"results":["Tom"]}`},
		{"GET", "/1.2/rtm/stats", ``, 200, `{"result":{"online_user_count":2,"user_count_today":3}}`},
		{"GET", "/1.1/rtm/notifications", ``, 200, ""},
		{"POST", "/1.1/rtm/sign", `{}`, 401, `{"code":211,"error":"Could not find user."}`},
		{"POST", "/1.2/rtm/clients/Tom/kick", ``, 200, `{}`},
		{"POST", "/1.2/rtm/clients/Tom/kick", `{"reason":"` + strings.Repeat("汤", 21) + `"}`, 400, "code 1"},
		{"POST", "/1.2/rtm/clients//kick", `{}`, 404, "code 1"},
		{"POST", "/1.1/rtm/client/kick", `{}`, 400, "code 1"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			resp, body := srv.send(t, tt.method, tt.path, asMaster(), []byte(tt.body))
			want(t, resp, body, tt.status, tt.text)
		})
	}
}

// kicked remembers who was kicked.
type kicked struct {
	got []string
	err error
}

func (k *kicked) Kick(_ context.Context, app presence.AppID, peer presence.PeerID, reason string) error {
	k.got = append(k.got, fmt.Sprintf("%s/%s/%s", app, peer, reason))
	return k.err
}

func TestKickReachesTheGateway(t *testing.T) {
	k := &kicked{}
	srv := startWith(t, leancloud.DefaultConfig(), k)
	resp, body := srv.send(t, http.MethodPost, "/1.2/rtm/clients/a%2Fb/kick", asMaster(), []byte(`{"reason":"why"}`))
	want(t, resp, body, 200, "{}")
	resp, body = srv.send(t, http.MethodPost, "/1.1/rtm/client/kick", asMaster(), []byte(`{"client_id":"Tom"}`))
	want(t, resp, body, 200, "{}")
	if got := strings.Join(k.got, " "); got != appID+"/a/b/why "+appID+"/Tom/" {
		t.Error(got)
	}
	k.err = errors.New("gateway away")
	resp, body = srv.send(t, http.MethodPost, "/1.1/rtm/client/kick", asMaster(), []byte(`{"client_id":"Tom"}`))
	want(t, resp, body, 503, "code 511")
}

func TestStoreAwayIs503(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "Tom", false)
	if err := srv.Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", query, `{"peerIds":["Tom"]}`},
		{"POST", "/1.1/functions/_clientOnline", `{"peerId":"Tom"}`},
		{"POST", "/1.1/functions/_clientOffline", `{"peerId":"Tom"}`},
		{"POST", "/1.2/rtm/clients/check-online", `{"client_ids":["Tom"]}`},
		{"GET", "/1.2/rtm/stats", ``},
	} {
		h := asMaster()
		h.Set("X-LC-Hook-Key", hookKey)
		resp, body := srv.send(t, c.method, c.path, h, []byte(c.body))
		want(t, resp, body, 503, "code 511")
		if resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", c.path)
		}
	}
	if got := srv.Handler.Stats().Unavailable; got != 5 {
		t.Errorf("%d counted, want 5", got)
	}
}

// A body that stops on the way is refused, and so is one that is cut off; the server does not wait
// for ever.
func TestBodiesThatDoNotCome(t *testing.T) {
	for _, withLane := range []bool{false, true} {
		srv := serveRaw(t, leancloud.DefaultConfig(), withLane)
		srv.Handler.BodyTimeout = 20 * time.Millisecond
		text := post(query, "Host: a\r\nContent-Type: text/plain\r\n", strings.Repeat(" ", 100))
		c, err := net.Dial("tcp", srv.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text[:len(text)-1]); err != nil {
			t.Fatal(err)
		}
		if !withLane { // the lane's own patience comes on top, see the tests of fastlane
			if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 408 ") || !strings.Contains(string(got), "Connection: close") {
				t.Errorf("got %q", got)
			}
		}
		if got := srv.talk(t, text[:len(text)-1], 0); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("lane %v: got %q", withLane, got)
		}
	}
}

func TestLeaseOfAHookRunsOut(t *testing.T) {
	srv := start(t, leancloud.DefaultConfig())
	srv.hook(t, "online", "Tom", false)
	for _, step := range []struct {
		after time.Duration
		text  string
	}{
		{7*24*time.Hour - time.Second, `{"result":["1"]}`},
		{time.Second, `{"result":["0"]}`},
		{7*24*time.Hour - time.Second, `{"result":["0"]}`},
		{time.Second, `{"result":[null]}`},
	} {
		srv.now.Add(step.after.Milliseconds())
		resp, body := srv.send(t, http.MethodPost, query, asClient(), []byte(`{"peerIds":["Tom"]}`))
		want(t, resp, body, 200, step.text)
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	cfg := leancloud.Config{MaxDepth: 1, Hold: -1}
	_, err := leancloud.New(cfg, leancloud.Deps{})
	if !errors.Is(err, leancloud.ErrConfig) || strings.Count(err.Error(), "\n") != 4 {
		t.Error(err)
	}
}
