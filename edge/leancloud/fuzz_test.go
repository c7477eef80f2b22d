package leancloud_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"rollcall/edge/leancloud"
)

// answered checks what holds for every answer: never a 5xx, JSON when there is a body, an integer
// code with every error and no error with a success.
func answered(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	var code int
	if failed := w.Code >= 400; failed != (object["error"] != nil) || failed && json.Unmarshal(object["code"], &code) != nil {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
}

// FuzzFunction: no body, type or encoding makes a call of the function fail in a way of ours.
func FuzzFunction(f *testing.F) {
	f.Add([]byte(`{"peerIds":["a","b"]}`), "application/json", "")
	f.Add([]byte(`{"peerIds":["\ud800",5,-0]}`), "text/plain", "")
	f.Add([]byte("peerIds=a&peerIds=%zz"), "application/x-www-form-urlencoded", "")
	f.Add([]byte("\x1f\x8b\x08"), "application/json; charset=utf-8", "gzip")
	f.Add([]byte("x\x9c"), "", "deflate")
	f.Add([]byte("{\"peerIds\":[\"\xe6\xb1\"]}"), `a/b; charset="`, "identity")
	srv := build(f, leancloud.DefaultConfig(), nil)
	f.Fuzz(func(t *testing.T, body []byte, kind, encoding string) {
		h := asClient("Content-Type", kind)
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		answered(t, srv.record(query, h, body))
	})
}

// FuzzHook: no body of a hook makes it fail in a way of ours, and what it is refused for is its
// own.
func FuzzHook(f *testing.F) {
	for _, s := range []string{
		`{"peerId":"p","sourceIP":"10.1.2.3","tag":"default","reconnect":0}`, `{"peerId":"p","closeCode":"2","errorCode":4107}`,
		`{"peerId":5}`, `{"peerId":"` + "\xff" + `"}`, `{"peerId":"p","closeCode":-1e99,"tag":null}`, ``, `[]`,
	} {
		f.Add([]byte(s))
	}
	srv := build(f, leancloud.DefaultConfig(), nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		answered(t, srv.record("/1.1/functions/_clientOnline", asHook(), body))
		answered(t, srv.record("/1.1/functions/_clientOffline", asHook(), body))
	})
}

func (s *testServer) record(path string, h http.Header, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, s.request(path, h, body))
	return w
}

func (s *testServer) request(path string, h http.Header, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header = h
	return r
}
