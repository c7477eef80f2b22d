package plainjson_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/plainjson"
)

func TestListTakesThePlainShapeOnly(t *testing.T) {
	for body, want := range map[string][]string{
		`{"peers":["a","b"]}`:                            {"a", "b"},
		" {\n\"peers\" : [ \"a\" ,\t\"汤姆\" ] }\r\n":      {"a", "汤姆"},
		`{"peers":[]}`:                                   {},
		`{"peers":["exactly8","longer than sixteen b"]}`: {"exactly8", "longer than sixteen b"},
		`{"peers":["a","b","c","d","e"]}`:                nil, // more than the limit
		`{"peers":["a"],"since":""}`:                     nil,
		`{"peers":["\u0061"]}`:                           nil,
		`{"peers":["a",]}`:                               nil,
		`{"peers":["a"]}x`:                               nil,
		`{"Peers":["a"]}`:                                nil,
		`{peers:["a"]}`:                                  nil,
		`{"peers`:                                        nil,
		`{"peers":["a" "b"]}`:                            nil,
		`{"peers":["a"`:                                  nil,
		"{\"peers\":[\"\xff\"]}":                         nil,
		"{\"peers\":[\"a\x1fb\"]}":                       nil,
		``:                                               nil,
	} {
		list, ok := plainjson.List([]byte(body), "peers", nil, 4)
		if ok != (want != nil) {
			t.Errorf("%q: taken is %v", body, ok)
			continue
		}
		if got := texts(list); ok && !slices.Equal(got, want) {
			t.Errorf("%q is read as %q", body, got)
		}
	}
}

func texts(list [][]byte) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = string(list[i])
	}
	return out
}

func TestDepthLeavesStringsAside(t *testing.T) {
	for body, want := range map[string]int{
		``: 0, `1`: 0, `{}`: 1, `[{"a":[]}]`: 3, `["[[[["]`: 1, `["\"[["]`: 1, `[[],[[]]]`: 3, `[[[`: 3, `"[`: 0,
	} {
		if got := plainjson.Depth([]byte(body)); got != want {
			t.Errorf("%s is %d deep, want %d", body, got, want)
		}
	}
}

// What List and Flat take, encoding/json reads alike.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{
		`{"a":["b","汤"]}`, ` { "a" : [ ] } `, `{"a":["b",]}`, `{"a":["\u0061"]}`, "{\"a\":[\"\xff\"]}", `{"a":"b","c":-12,"d":null,"e":true}`,
		`{"a":-0}`, `{"a":01}`, `{"a":1.5}`, `{"a":["12345678\"`, `{}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if list, ok := plainjson.List(body, "a", nil, 1000); ok {
			var v map[string][]string
			if err := json.Unmarshal(body, &v); err != nil || len(v) != 1 || !slices.Equal(v["a"], texts(list)) {
				t.Fatalf("%q is read as %q, and by encoding/json as %q, %v", body, list, v, err)
			}
		}
		var fields []string
		if plainjson.Flat(body, func(name, value []byte) { fields = append(fields, fmt.Sprintf("%s=%s", name, value)) }) {
			d := json.NewDecoder(strings.NewReader(string(body)))
			d.UseNumber()
			var v map[string]any
			if err := d.Decode(&v); err != nil || len(v) > len(fields) {
				t.Fatalf("%q is read as %q, and by encoding/json as %v, %v", body, fields, v, err)
			}
		}
	})
}
