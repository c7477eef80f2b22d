package leancloud_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/edge/leancloud"
	"rollcall/presence"
)

// A golden is one exchange recorded from the original.
type golden struct {
	Name, Category string
	Setup          []struct {
		Event  string
		PeerID string
	}
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         *string
		BodyBase64   *string
		BodyRepeat   *struct {
			Prefix, Unit, Suffix string
			Count                int
		}
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    any
	}
	Ignore, AnyOrder []string
	Accident         bool
	Sane             string
	Fixture          string
}

// sane are our answers where the recorded one is an accident: a status, and what the body is or,
// after "code", its code.
var sane = map[string]string{
	"types: empty list":                            `200 {"result":[]}`,
	"types: floats are written the JavaScript way": `200 {"result":["1","1","1"]}`,
	"types: minus zero":                            `200 {"result":["1"]}`,

	"types: list nested two levels also becomes one comma-joined id": `200 {"result":["1",null]}`,
	"types: null inside the list":                                    `200 {"result":["1",null]}`,
	"types: peerIds missing":                                         `400 code 1`,
	"types: peerIds null":                                            `400 code 1`,
	"types: peerIds a string with commas is one id":                  `200 {"result":[null]}`,
	"types: peerIds an object":                                       `400 code 1`,
	"types: peerIds true":                                            `400 code 1`,
	"types: body is a JSON string":                                   `400 {"code":107,"error":"Malformed json object. A json dictionary is expected."}`,
	"types: body is a JSON number":                                   `400 code 107`,
	"paths: prefix /1/call":                                          `200 {"result":["1"]}`,
	"paths: /call with a null in the answer":                         `200 {"result":["1",null,"0"]}`,
	"paths: router part of the path ignores letter case":             `200 {"result":["1"]}`,
	"unknown: name of an object internal":                            `404 {"code":1,"error":"No such cloud function 'constructor'"}`,
	"auth: master key, suffix followed by more text":                 `401 {"code":401,"error":"Unauthorized."}`,
	"textplain: text/plain with malformed JSON":                      `400 {"code":107,"error":"Malformed json object. A json dictionary is expected."}`,
	"hooks: _clientOnline without peerId":                            `400 code 1`,
	"bodies: malformed JSON: cut short":                              `400 {"code":107,"error":"Malformed json object. A json dictionary is expected."}`,
	"bodies: malformed JSON: trailing comma":                         `400 {"code":107,"error":"Malformed json object. A json dictionary is expected."}`,
	"bodies: malformed JSON is found before the key is checked":      `401 code 401`,
	"bodies: empty body, no content type":                            `400 code 1`,
	"bodies: content type charset iso-8859-1":                        `415 {"code":1,"error":"unsupported charset \"ISO-8859-1\""}`,
	"bodies: content type application/octet-stream is not parsed":    `200 {"result":["1",null]}`,
	"bodies: content type application/vnd.api+json is not parsed":    `200 {"result":["1",null]}`,
	"bodies: form body: repeated value is a list":                    `200 {"result":["1",null]}`,
	"bodies: multipart body is not parsed":                           `400 code 107`,
	"bodies: unsupported content encoding":                           `415 {"code":1,"error":"unsupported content encoding \"compress\""}`,
	"methods: GET with a JSON body is treated like POST":             `200 {"result":["1",null]}`,
	"methods: PUT with a body is treated like POST":                  `200 {"result":["1",null]}`,
	"methods: PATCH with a body is treated like POST":                `200 {"result":["1",null]}`,
	"methods: GET with peerIds in the query string":                  `400 code 1`,
	"cors: malformed JSON answer lacks the allow-origin header":      `400 code 107`,
}

// lastWins is the one case that needs the policy "last": by the sum, two logins and one logout
// leave a device online.
const lastWins = "query: two online hooks then one offline hook: last hook wins"

func TestGolden(t *testing.T) {
	t.Run("sum, behind net/http", func(t *testing.T) { runGolden(t, presence.PolicySum, false) })
	t.Run("last, with the fast lane", func(t *testing.T) { runGolden(t, presence.PolicyLast, true) })
}

func runGolden(t *testing.T, policy presence.Policy, lane bool) {
	cfg := leancloud.DefaultConfig()
	cfg.Policy = policy
	cfg.MaxBody = 20 << 20 // what the original allows; one case fills it
	for _, g := range readGolden(t) {
		if g.Fixture != "" {
			continue // about a function that only the recording had
		}
		t.Run(g.Name, func(t *testing.T) {
			srv := start(t, cfg)
			if lane {
				raw := serveRaw(t, cfg, true)
				raw.Server = srv.Server
				raw.URL = "http://" + raw.addr
				srv = raw.testServer
			}
			for _, e := range g.Setup {
				srv.hook(t, e.Event, e.PeerID, g.Accident)
			}
			if g.Name == lastWins && policy == presence.PolicySum {
				g.Response.Body = map[string]any{"result": []any{"1"}}
			}
			g.check(t, srv)
		})
	}
}

func readGolden(t *testing.T) (all []golden) {
	// The first file was recorded from the original. The second has the same form, and its answers
	// follow from the recipe: one key an element, made by putting the element behind a string.
	for name, least := range map[string]int{"golden-http.jsonl": 100, "recipe-http.jsonl": 20} {
		f, err := os.Open("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		before := len(all)
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var g golden
			if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		if lines.Err() != nil || len(all)-before < least {
			t.Fatal(name, len(all)-before, lines.Err())
		}
	}
	return all
}

func (g *golden) body(t *testing.T) []byte {
	switch r := g.Request; {
	case r.Body != nil:
		return []byte(*r.Body)
	case r.BodyBase64 != nil:
		b, err := base64.StdEncoding.DecodeString(*r.BodyBase64)
		if err != nil {
			t.Fatal(err)
		}
		return b
	case r.BodyRepeat != nil:
		return []byte(r.BodyRepeat.Prefix + strings.Repeat(r.BodyRepeat.Unit, r.BodyRepeat.Count) + r.BodyRepeat.Suffix)
	}
	return nil
}

func (g *golden) check(t *testing.T, srv *testServer) {
	headers := http.Header{}
	for name, value := range g.Request.Headers {
		headers.Set(name, value)
	}
	resp, body := srv.send(t, g.Request.Method, g.Request.Path, headers, g.body(t))
	var got any = string(body)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("not JSON: %v: %s", err, body)
		}
	}
	if g.Accident {
		want, ok := sane[g.Name]
		if !ok {
			t.Fatalf("no sane answer is written down for this accident: %s", g.Sane)
		}
		checkSane(t, want, resp.StatusCode, got)
	} else {
		if resp.StatusCode != g.Response.Status {
			t.Errorf("status %d, want %d: %s", resp.StatusCode, g.Response.Status, body)
		}
		want := g.Response.Body
		for _, pointer := range g.Ignore {
			blank(got, pointer)
			blank(want, pointer)
		}
		for _, pointer := range g.AnyOrder {
			order(got, pointer)
			order(want, pointer)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	}
	for name, want := range g.Response.Headers {
		checkHeader(t, name, resp.Header.Get(name), want)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("no allow-origin header")
	}
}

func checkSane(t *testing.T, want string, status int, body any) {
	t.Helper()
	code, text, _ := strings.Cut(want, " ")
	if fmt.Sprint(status) != code {
		t.Errorf("status %d, want %s: %v", status, code, body)
	}
	object, _ := body.(map[string]any)
	if n, ok := strings.CutPrefix(text, "code "); ok {
		if fmt.Sprint(object["code"]) != n || object["error"] == "" {
			t.Errorf("body %v, want code %s", body, n)
		}
		return
	}
	var exact any
	if err := json.Unmarshal([]byte(text), &exact); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exact, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func checkHeader(t *testing.T, name, got, want string) {
	t.Helper()
	if name != "access-control-allow-headers" && name != "access-control-allow-methods" {
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		return
	}
	set := strings.Split(strings.ToLower(got), ", ")
	for item := range strings.SplitSeq(strings.ToLower(want), ", ") {
		if !slices.Contains(set, item) {
			t.Errorf("%s lacks %s", name, item)
		}
	}
}

// blank removes what a pointer of one level names.
func blank(body any, pointer string) {
	if object, ok := body.(map[string]any); ok {
		object[pointer[1:]] = nil
	}
}

func order(body any, pointer string) {
	if object, ok := body.(map[string]any); ok {
		if list, ok := object[pointer[1:]].([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
}

// send sends a request as the recording did: with a length, unless the headers ask for chunks.
func (s *testServer) send(t testing.TB, method, path string, headers http.Header, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = headers.Clone()
	if strings.EqualFold(headers.Get("Transfer-Encoding"), "chunked") {
		r.Header.Del("Transfer-Encoding")
		r.ContentLength = -1
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}
