package leancloud

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rollcall/internal/plainjson"
)

func seedBodies(f *testing.F) {
	for _, s := range []string{
		`{"peerIds":["a","b"]}`, `{"peerIds":[]}`, ` { "peerIds" : [ "a" , "汤" ] } `, `{"peerIds":["a",]}`, `{"peerIds":["\u0061"]}`,
		`{"peerIds":["abcdefgh","ijklmnopq\"",1,-0]}`, `{"peerIds":"a"}`, "{\"peerIds\":[\"\xff\"]}", `{"peerIds":["a"],"peerIds":["b"]}`,
		`{"peerId":"p","closeCode":"2","tag":"t","reconnect":true}`, `[1]`, `5`, ``, `{"peerIds":["a"]}x`, "{\"peerIds\":[\"a\x1fb\"]}",
	} {
		f.Add([]byte(s))
	}
}

// FuzzScan: what the hand-written reader accepts, encoding/json reads in the same way.
func FuzzScan(f *testing.F) {
	seedBodies(f)
	h := &Handler{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, body []byte) {
		ids, ok := plainjson.List(body, "peerIds", nil, h.cfg.MaxIDs)
		if !ok {
			return
		}
		p, fail := h.parse(body, false)
		if fail != nil {
			t.Fatalf("%q was scanned, but: %s", body, fail.text)
		}
		slow, fail := listIDs(p["peerIds"], nil, h.cfg.MaxIDs, "peerIds")
		if fail != nil || len(slow) != len(ids) || len(p) != 1 {
			t.Fatalf("%q: scanned %q, listed %q, %v", body, ids, slow, fail)
		}
		for i := range ids {
			if !bytes.Equal(ids[i], slow[i]) {
				t.Fatalf("%q: scanned %q, listed %q", body, ids, slow)
			}
		}
	})
}

// FuzzElements: an element of a list is the id that the same value makes when encoding/json has
// read it.
func FuzzElements(f *testing.F) {
	for _, s := range []string{
		`7.0`, `-0`, `1e21`, `1e400`, `true`, `null`, `{}`, `{"a":"}]\\"}`, `[]`, `[null]`, `[[],null,"a\\\"]",{"b":[1]} ,-1.50e-7]`, `"\ud800"`, ` [ [ "x" ] , false ] `,
	} {
		f.Add([]byte(s))
	}
	h := &Handler{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, element []byte) {
		body := slices.Concat([]byte(`{"peerIds":["first",`), element, []byte(`,"last"]}`))
		p, fail := h.parse(body, false)
		if fail != nil || len(p) != 1 {
			return
		}
		var values []any
		d := json.NewDecoder(bytes.NewReader(p["peerIds"]))
		d.UseNumber()
		if err := d.Decode(&values); err != nil {
			t.Fatal(err)
		}
		ids, fail := listIDs(p["peerIds"], nil, h.cfg.MaxIDs, "peerIds")
		if fail != nil || len(ids) != len(values) {
			t.Fatalf("%q: %q, %v", body, ids, fail)
		}
		for i, v := range values {
			want := string(hole)
			if v != nil {
				want = scriptText(v)
			}
			if string(ids[i]) != want {
				t.Fatalf("%q: element %d is %q, want %q", body, i, ids[i], want)
			}
		}
	})
}

func scriptText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return decimal([]byte(v))
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			if v[i] != nil {
				texts[i] = scriptText(v[i])
			}
		}
		return strings.Join(texts, ",")
	}
	return "[object Object]"
}

// FuzzScanFlat: what the hand-written reader of hooks accepts, encoding/json reads in the same way.
func FuzzScanFlat(f *testing.F) {
	seedBodies(f)
	h := &Handler{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, body []byte) {
		var fields hookFields
		if !plainjson.Flat(body, fields.set) {
			return
		}
		p, fail := h.parse(body, false)
		if fail != nil {
			t.Fatalf("%q was scanned, but: %s", body, fail.text)
		}
		for name, got := range map[string][]byte{
			"peerId": fields.peerID, "tag": fields.tag, "closeCode": fields.closeCode, "reconnect": fields.reconnect,
		} {
			if !bytes.Equal(got, p[name]) {
				t.Fatalf("%q: %s is %q, and %q by encoding/json", body, name, got, p[name])
			}
		}
	})
}

func TestPlainHooksAreScanned(t *testing.T) {
	for _, s := range []string{
		`{"peerId":"p","sourceIP":"10.1.2.3","tag":"default","reconnect":0}`,
		`{ "peerId": "汤姆", "closeCode": 2, "closeMsg": "lost", "errorCode": -4107, "x": null }`, `{"peerId":"p"}`,
	} {
		if !plainjson.Flat([]byte(s), new(hookFields).set) {
			t.Errorf("%s is left to encoding/json", s)
		}
	}
}

// The plain shapes that SDKs send must be scanned, or the hot path is not hot.
func TestPlainShapesAreScanned(t *testing.T) {
	for _, s := range []string{
		`{"peerIds":["a","b"]}`, `{"peerIds": ["a", "b"]}`, "{\n  \"peerIds\": [\n    \"a\",\n    \"汤姆\"\n  ]\n}\n", `{"peerIds":[]}`,
		`{"peerIds":["exactly8","and-sixteen-here","longer-than-sixteen-bytes"]}`,
	} {
		if _, ok := plainjson.List([]byte(s), "peerIds", nil, 10); !ok {
			t.Errorf("%s is left to encoding/json", s)
		}
	}
}
