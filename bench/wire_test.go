package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// readRequest lets the standard library read what a wire laid out.
func readRequest(t *testing.T, raw []byte) (path string, header http.Header, body []byte) {
	t.Helper()
	rest := bufio.NewReader(bytes.NewReader(raw))
	req, err := http.ReadRequest(rest)
	if err != nil {
		t.Fatalf("read %q: %v", raw, err)
	}
	body, err = io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rest.Buffered() > 0 {
		t.Errorf("%d bytes behind the body of %q", rest.Buffered(), raw)
	}
	return req.URL.Path, req.Header, body
}

func TestLeancloudRequests(t *testing.T) {
	w := newLeancloudWire("127.0.0.1:1")
	for _, ids := range [][]int{{5}, {1, 2, 3}, {1000000, 0}, {7}} {
		path, header, body := readRequest(t, w.query(ids, []byte(strings.Repeat("1", len(ids)))))
		var params struct{ PeerIDs []string }
		if err := json.Unmarshal(body, &params); err != nil {
			t.Fatal(err)
		}
		if path != queryPath || header.Get("X-LC-Id") != appID || header.Get("X-LC-Key") != appKey {
			t.Errorf("query went to %s with %v", path, header)
		}
		if len(params.PeerIDs) != len(ids) {
			t.Fatalf("got %v, want ids of %v", params.PeerIDs, ids)
		}
		for i, id := range ids {
			if want := string(appendID(nil, id)); params.PeerIDs[i] != want {
				t.Errorf("id %d: got %s, want %s", i, params.PeerIDs[i], want)
			}
		}
	}
	for on, want := range map[bool]string{true: onlinePath, false: offlinePath} {
		path, header, body := readRequest(t, w.hook(42, on))
		var params struct{ PeerID string }
		if err := json.Unmarshal(body, &params); err != nil {
			t.Fatal(err)
		}
		if path != want || header.Get("X-LC-Hook-Key") != hookKey || params.PeerID != "user-0000000042" {
			t.Errorf("hook went to %s for %s with %v, want %s", path, params.PeerID, header, want)
		}
	}
}

func TestJudge(t *testing.T) {
	type ask func(wire) // lays out the request that the answer is for
	query := func(w wire) { w.query([]int{1, 2, 3}, []byte{online, offline, unknown}) }
	hook := func(w wire) { w.hook(1, true) }
	leancloud := func() wire { return newLeancloudWire("h") }
	resp := func() wire { return newRespWire() }
	tests := []struct {
		name   string
		wire   func() wire
		ask    ask
		answer string
		wrong  string // part of the complaint; empty for a right answer
	}{
		{"the truth", leancloud, query, `{"result":["1","0",null]}`, ""},
		{"a new line behind it", leancloud, query, "{\"result\":[\"1\",\"0\",null]}\n", ""},
		{"other white space", leancloud, query, ` { "result": ["1", "0", null] }`, ""},
		{"other escapes", leancloud, query, `{"result":["\u0031","0",null]}`, ""},
		{"an online peer as offline", leancloud, query, `{"result":["0","0",null]}`, "user-0000000001, element 0 of 3"},
		{"two peers changed places", leancloud, query, `{"result":["0","1",null]}`, "element 0"},
		{"an unknown peer as offline", leancloud, query, `{"result":["1","0","0"]}`, "element 2"},
		{"an offline peer as unknown", leancloud, query, `{"result":["1",null,null]}`, "element 1"},
		{"a number instead of a text", leancloud, query, `{"result":[1,"0",null]}`, "element 0"},
		{"one peer missing", leancloud, query, `{"result":["1","0"]}`, "the truth is"},
		{"one peer too many", leancloud, query, `{"result":["1","0",null,null]}`, "the truth is"},
		{"no result", leancloud, query, `{}`, "the truth is"},
		{"an error beside the result", leancloud, query, `{"result":["1","0",null],"error":"x"}`, "the truth is"},
		{"not JSON", leancloud, query, `<html>`, "<html>"},
		{"nothing", leancloud, query, ``, "unexpected end"},
		{"a hook taken", leancloud, hook, `{}`, ""},
		{"a hook answered with a result", leancloud, hook, `{"result":[]}`, "the truth is"},
		{"a reply", resp, query, "*3\r\n$1\r\n1\r\n$1\r\n0\r\n$-1\r\n", ""},
		{"a wrong reply", resp, query, "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n", "the truth is"},
		{"an error of Redis", resp, query, "-ERR no\r\n", "ERR no"},
		{"a SET", resp, hook, "+OK\r\n", ""},
		{"a refused SET", resp, hook, "-OOM\r\n", "OOM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.wire()
			tt.ask(w)
			err := w.judge([]byte(tt.answer))
			var wrong *wrongError
			switch {
			case tt.wrong == "" && err != nil:
				t.Errorf("got %v, want no complaint", err)
			case tt.wrong != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.wrong)):
				t.Errorf("got %v, want a complaint about %q", err, tt.wrong)
			}
		})
	}
}

func TestAnswerSizeIsThatOfTheTruth(t *testing.T) {
	tr := newTruth(100_000, 1)
	for _, w := range works {
		if w.ids < unknownEvery { // one id in twenty cannot be unknown in every such query
			continue
		}
		c := load{target: &target{truth: tr, wire: func() wire { return newLeancloudWire("h") }}, work: work{ids: w.ids}, conns: 3}.caller(nil, 2)
		for range 100 {
			c.next()
			if got, want := answerSize(w.ids), len(c.wire.(*leancloudWire).want); got != want {
				t.Fatalf("%s: answerSize is %d, the truth has %d bytes", w.name, got, want)
			}
		}
	}
}

func TestRespRequests(t *testing.T) {
	w := newRespWire()
	got := string(w.query([]int{3, 12}, []byte("10")))
	if want := "*3\r\n$4\r\nMGET\r\n$15\r\nuser-0000000003\r\n$15\r\nuser-0000000012\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(w.hook(9, true)), string(command("SET", "user-0000000009", "1")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(w.hook(9, false)), string(command("SET", "user-0000000009", "0", "EX", "604800")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
