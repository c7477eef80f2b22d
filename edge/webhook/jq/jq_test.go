package jq_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/jq"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/trial"
	"rollcall/presence"
)

// plain is a map of a backend that sends lists.
const plain = `.users[] | select(.id) | {peer: .id, session: .conn, time: .at, state: (if .up then "online" else "offline" end)}`

func call(up bool, conn string, at int64) sourcetest.Call {
	return sourcetest.Call{Body: fmt.Sprintf(`{"users":[{"id":"u1","up":%v,"conn":"%s","at":%d},{"id":null}]}`, up, conn, at)}
}

func stories() []sourcetest.Story {
	const at = 1767225600123
	return []sourcetest.Story{
		{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"a"}, Calls: []sourcetest.Call{call(true, "a", at)}},
		{Name: "goes on one of two", Peer: "u1", Want: presence.Online, Open: []string{"b"}, Calls: []sourcetest.Call{
			call(true, "a", at), call(true, "b", at+1), call(false, "a", at+9000),
		}},
	}
}

// made returns the kind of s.
func made(tb testing.TB, s webhook.Source) webhook.Kind {
	tb.Helper()
	k, err := jq.Kind{}.Make(&s)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func bearer(c *sourcetest.Call, secret string, _ presence.Millis) {
	c.Header["Authorization"] = "Bearer " + secret
}

func TestStoriesWithASecret(t *testing.T) {
	s := webhook.Source{Map: plain}
	sourcetest.Run(t, sourcetest.Suite{Kind: made(t, s), Source: s, Sign: bearer, Now: 1767225700000, Stories: stories()})
	sourcetest.Run(t, sourcetest.Suite{Kind: made(t, s), Source: s, Now: 1767225700000, Stories: stories(), Sign: func(c *sourcetest.Call, secret string, _ presence.Millis) {
		c.Header["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte("rollcall:"+secret))
	}})
}

func TestStoriesWithASignature(t *testing.T) {
	for _, c := range []struct {
		sign   webhook.Sign
		hash   func() hash.Hash
		encode func([]byte) string
	}{
		{webhook.Sign{Header: "x-hub-signature-256", Prefix: "sha256="}, sha256.New, hex.EncodeToString},
		{webhook.Sign{Header: "X-Signature", Hash: "sha1"}, sha1.New, base64.StdEncoding.EncodeToString},
	} {
		s := webhook.Source{Map: plain, Sign: c.sign}
		sourcetest.Run(t, sourcetest.Suite{
			Kind: made(t, s), Source: s, Covers: true, Now: 1767225700000, Stories: stories(),
			Sign: func(call *sourcetest.Call, secret string, _ presence.Millis) {
				h := hmac.New(c.hash, []byte(secret))
				h.Write([]byte(call.Body))
				call.Header[c.sign.Header] = c.sign.Prefix + c.encode(h.Sum(nil))
			},
		})
	}
}

// try runs a map on a body.
func try(tb testing.TB, program, body string) (*trial.Result, error) {
	tb.Helper()
	s := webhook.Source{App: "app", ID: "source", Map: program, Lease: time.Hour}
	k, err := jq.Kind{}.Make(&s)
	if err != nil {
		return nil, err
	}
	s.Kind = k
	r := &trial.Request{Method: http.MethodPost, Target: "/ingest/app/source/below/it?q=1&q=2", Header: http.Header{"X-Event": {"a", "b"}, "Authorization": {"Bearer x"}}, Body: []byte(body)}
	res, err := trial.Try(tb.Context(), &s, r, 1767225700000)
	if err != nil {
		tb.Fatal(err)
	}
	return res, nil
}

func TestWhatAMapIsGiven(t *testing.T) {
	const event = `{peer: ([.n, $path, $query.q, $headers["x-event"], ($headers | length), (env | length), ($ENV | length)] | map(tostring) | join(" ")), state: "online"}`
	res, err := try(t, event, `{"n":9007199254740993}`)
	if err != nil || len(res.Events) != 1 || res.Events[0].Peer != "9007199254740993 below/it 1 a, b 1 0 0" {
		t.Errorf("%v %+v", err, res)
	}
	for program, want := range map[string]int{"empty": 1, "null": 1, "null, null": 2, ".[]": 1, "halt": 1} {
		res, err := try(t, program, `[]`)
		if err != nil || res.Shape != nil || len(res.Events) != 0 || res.Ignored != want {
			t.Errorf("%s: %v %+v", program, err, res)
		}
	}
}

// What is no event fails the call, and says why.
func TestWhatAMapMayNotMake(t *testing.T) {
	for _, c := range []struct{ program, body, want string }{
		{`.`, `["a"]`, "the map makes array of it, and an event is an object"},
		{`.a`, `{"a":"text"}`, "the map makes string"},
		{`.a.b`, `{"a":"text"}`, "the map: expected an object but got: string"},
		{`error("no such thing")`, `{}`, "the map: error: no such thing"},
		{`halt_error`, `"x"`, "the map: halt"},
		{`range(1001) | {peer: "u", state: "online"}`, `{}`, "more than 1000 events"},
		{`{peer: "u", state: "online", x: ("x" * 3)}`, `{}`, "cannot multiply string and number"},
		{`{peer: "u", at: (.at * 1000)}`, `{"at":"` + strings.Repeat("x", 60000) + `"}`, "cannot multiply string and number"},
		{`.[] | {peer: ., state: "online"}`, `["` + strings.Repeat(strings.Repeat("x", 5000)+`","`, 300) + `"]`, "too much"},
		{`.`, `{} {}`, "after top-level value"},
		{`.`, `{}x`, "after top-level value"},
		{`.`, `{`, "unexpected end of JSON"},
		{`.`, `[12345678901234567890] x`, "it is no JSON"},
	} {
		res, err := try(t, c.program, c.body)
		if err != nil || !errors.Is(res.Shape, webhook.ErrShape) || !strings.Contains(res.Shape.Error(), c.want) || len(res.Shape.Error()) > 400 {
			t.Errorf("%s: %v %.300v", c.program, err, res)
		}
	}
}

func TestMistakesHaveAPlace(t *testing.T) {
	for program, want := range map[string]string{
		"":                               "map is missing",
		" \n":                            "map is missing",
		"{peer: .a}\n| {\"état\": .b]":   "line 2, column 14: unexpected token \"]\"",
		".a |":                           "line 1, column 5: unexpected EOF",
		"nothing(1)":                     "function not defined: nothing/1",
		"$nothing":                       "variable not defined: $nothing",
		"input":                          "input(s)/0 is not allowed",
		"[inputs]":                       "input(s)/0 is not allowed",
		"debug":                          "function not defined: debug/0",
		"input_filename":                 "function not defined: input_filename/0",
		`import "a" as a; .`:             "there are no modules",
		`include "a"; .`:                 "there are no modules",
		`.a *= 2`:                        "*= is not there",
		`def f: (.a[] | .b *= 2); [f]`:   "*= is not there",
		`get_search_list`:                "function not defined",
		`"x" as $x | reduce 1 as $y (.;`: "unexpected EOF",
	} {
		_, err := jq.Kind{}.Make(&webhook.Source{Map: program})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", program, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for program, want := range map[string]string{
		`6 * 7`:                       "42",
		`1.5 * 2`:                     "3",
		`-1 * 2 * 3`:                  "-6",
		`9223372036854775807 * 2`:     "18446744073709552000",
		`(-9223372036854775808) * -1`: "9223372036854776000",
		`[2, 3] | map(. * 10) | add`:  "50",
		`{a: {b: 1}, c: 1} * {a: {d: 2}, c: {}} | tojson`: `{"a":{"b":1,"d":2},"c":{}}`,
		`def f($x): $x * 2; f(21)`:                        "42",
		`"\(2 * 3)" + "\(4)"`:                             "64",
		`[1, 2] as [$a, $b] | try ("x" * $b) catch "no"`:  "no",
	} {
		res, err := try(t, `{state: "online", peer: (`+program+` | tostring)}`, `null`)
		if err != nil || res.Shape != nil || len(res.Events) != 1 || string(res.Events[0].Peer) != want {
			t.Errorf("%s: %v %+v, want %s", program, err, res, want)
		}
	}
}

// A map that would run for ever, or fill the memory, is ended: by its deadline, or at once.
func TestBombs(t *testing.T) {
	for name, program := range map[string]string{
		"a loop":                           `def f: f; f`,
		"a recursion":                      `def f: 1 + f; f`,
		"a loop without end":               `last(repeat(1))`,
		"while":                            `last(while(true; . + 1))`,
		"a list without end":               `[repeat(1)]`,
		"a long range":                     `[range(1e15)] | length`,
		"nulls without end":                `null | repeat(null) | select(.)`,
		"combinations":                     `[[range(1000)]] | [.[0], .[0], .[0], .[0]] | last(combinations)`,
		"recurse":                          `last(recurse([.]))`,
		"a text made of many":              `reduce range(1e12) as $i (""; . + "xxxxxxxxxxxxxxxx")`,
		"an object made of many":           `reduce range(1e12) as $i ({}; .["\($i)"] = $i)`,
		"a regular expression in a loop":   `last(repeat("aaaaaaaaaaaaaaaa" | test("(a*)*b")))`,
		"a limit that nothing reaches":     `first(range(1e15) | select(. < 0))`,
		"a text repeated, by a number":     `1e9 * "xxxxxxxxxxxxxxxxxxxxxxxx"`,
		"a text repeated, again and again": `"x" * 1e9 * 1e9`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res, err := try(t, program, `{}`)
		runtime.ReadMemStats(&after)
		if err != nil || !errors.Is(res.Shape, webhook.ErrBusy) && !errors.Is(res.Shape, webhook.ErrShape) {
			t.Errorf("%s: %v %.200v", name, err, res)
		}
		// What a loop takes until its deadline, many times over; a busy machine makes less of it.
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<30 {
			t.Errorf("%s allocated %d MiB", name, grown>>20)
		}
	}
	s := webhook.Source{Map: `def f: f; f`}
	srv := sourcetest.Open(t, webhook.Source{Kind: made(t, s), Secret: sourcetest.Secret, Map: s.Map}, 1767225700000)
	c := sourcetest.Call{Body: `{}`, Header: map[string]string{}}
	bearer(&c, sourcetest.Secret, 0)
	if status, body := srv.Send(c); status != http.StatusServiceUnavailable || !strings.Contains(body, "the map ran for more than 100ms; sending again is safe") {
		t.Errorf("a loop is answered %d %s", status, body)
	}
	if st := srv.Stats(); st.Failed != 1 || st.Misshapen != 0 {
		t.Errorf("a loop is counted %+v", st)
	}
}

func TestAKindThatIsNotMade(t *testing.T) {
	c := &webhook.Call{Source: &webhook.Source{}, Header: http.Header{}, Query: url.Values{}, Body: []byte(`{}`)}
	if err := (jq.Kind{}).Read(c, nil); !errors.Is(err, webhook.ErrShape) {
		t.Error(err)
	}
	for _, s := range []webhook.Source{
		{Map: ".", Sign: webhook.Sign{Header: "a b"}},
		{Map: ".", Sign: webhook.Sign{Header: "a:"}},
		{Map: ".", Sign: webhook.Sign{Prefix: "sha256="}},
		{Map: ".", Sign: webhook.Sign{Header: "a", Hash: "md5"}},
	} {
		if err := (jq.Kind{}).Check(&s); err == nil || !strings.HasPrefix(err.Error(), "sign.") {
			t.Errorf("%+v: %v", s.Sign, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call(true, "a", 1767225600123).Body)
	f.Add(`{"users":[{"id":{"a":1e999},"conn":-0.0,"at":"x"},7]}`)
	s := webhook.Source{Map: plain}
	sourcetest.Fuzz(f, made(f, s), s, bearer)
}
