package record_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/record"
	"rollcall/edge/webhook/trial"
)

const (
	now    = 1767225700123
	secret = "rcSecret-01"
)

var source = &webhook.Source{App: "one", ID: "broker", Kind: emqx.Kind{}, Secret: secret, SecretOld: "rcOlder-01"}

func open(tb testing.TB, dir string) *record.Recorder {
	tb.Helper()
	r, err := record.Open(dir, slog.New(slog.NewTextHandler(tb.Output(), nil)))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func closed(tb testing.TB, r *record.Recorder) {
	tb.Helper()
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
}

// recorded returns the file that is made of c.
func recorded(tb testing.TB, c *webhook.Call) string {
	tb.Helper()
	dir := tb.TempDir()
	r := open(tb, dir)
	c.Source, c.Method, c.Now = source, http.MethodPost, now
	if !r.Take(c) {
		tb.Fatal("not taken")
	}
	closed(tb, r)
	b, err := os.ReadFile(filepath.Join(dir, "one", "broker", "000000000001.http"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestAFile(t *testing.T) {
	got := recorded(t, &webhook.Call{
		Rest: "a1b2c3d4e5f6g7h8/" + secret + "/callbackAfterUserOnlineCommand", Query: url.Values{"ClientIP": {"203.0.113.7"}, "OptPlatform": {"iOS"}, "Sign": {"abcd"}, "t": {"1"}},
		Header: http.Header{
			"Authorization": {"Bearer " + secret}, "Content-Type": {"application/json"}, "X-Real-Ip": {"2001:db8::7"}, "User-Agent": {"hook/1.2"}, "Content-Length": {"7"},
			"X-Rollcall-Recorded": {"2001-01-01T00:00:00Z"},
		},
		Body: []byte(`{"username":"u1"}`),
	})
	const want = `POST /ingest/app/broker/***/***/callbackAfterUserOnlineCommand?ClientIP=***&OptPlatform=iOS&Sign=***&t=1 HTTP/1.1
X-Rollcall-Recorded: 2026-01-01T00:01:40.123Z
Authorization: ***
Content-Type: application/json
User-Agent: hook/1.2
X-Real-Ip: ***
Content-Length: 17

{"username":"u1"}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBodies(t *testing.T) {
	for body, want := range map[string]string{
		`{"user":"u1","n":1767225600123,"f":1.50,"b":true,"x":null}`:                                                                         `{"user":"u1","n":1767225600123,"f":1.50,"b":true,"x":null}`,
		`{"Password":"p","accessToken":1,"api_key":"k","x-api-key":["k"],"userSig":{"a":"b"},"auth":true,"author":"a","appkey":"org#app"}`:   `{"Password":"***","accessToken":"***","api_key":"***","x-api-key":"***","userSig":"***","auth":true,"author":"a","appkey":"org#app"}`,
		`{"peername":"10.0.0.1:5000","node":"emqx@10.0.0.1","host":"im.example","hosts":["a"],"list":["10.0.0.1",{"a":"fe80::1%eth0"}]}`:     `{"peername":"***","node":"emqx@***","host":"***","hosts":"***","list":["***",{"a":"***%eth0"}]}`,
		`{"a":"at 12:34:56","b":"u1::ios","c":"[2001:db8::1]:80","d":"00:1b:63:84:45:e6","e":"1.2.3","f":"999.1.1.1","g":"::ffff:10.0.0.1"}`: `{"a":"at 12:34:56","b":"u1::ios","c":"[***]:80","d":"***","e":"1.2.3","f":"999.1.1.1","g":"***"}`,
		`{"a":"x` + secret + `y","` + secret + `":1,"rcOlder-01":["rcOlder-01"]}`:                                                            `{"a":"x***y","***":"***","***":["***"]}`,
		`{"a":"see https://tom:pw@h/p?token=abc&q=1#f","b":"Bearer abc.def","c":"eyJhbGciOiJI.eyJzdWIi.c2ln!"}`:                              `{"a":"see https://***@h/p?token=***&q=1#f","b":"Bearer ***","c":"***!"}`,
		`{"Message":"{\"user_id\":\"u1\",\"password\":\"p\",\"m\":\"[\\\"10.0.0.1\\\"]\"}"}`:                                                 `{"Message":"{\"user_id\":\"u1\",\"password\":\"***\",\"m\":\"[\\\"***\\\"]\"}"}`,
		`["u1-0-1-9001-1-1", "<&>"]`:                       `["u1-0-1-9001-1-1","<&>"]`,
		`{"a":1,"a":2}`:                                    `{"a":1,"a":2}`,
		`%7B%22user%22%3A%22u1%22%2C%22ip%22%3A%22h%22%7D`: `%7B%22user%22%3A%22u1%22%2C%22ip%22%3A%22%2A%2A%2A%22%7D`,
		`password=hunter2`:                                 `***`,
		`{"a":`:                                            `***`,
		`%zz`:                                              `***`,
		``:                                                 ``,
	} {
		file := recorded(t, &webhook.Call{Body: []byte(body)})
		if _, got, _ := strings.Cut(file, "\n\n"); got != want {
			t.Errorf("%s\nis kept as %s\nwant       %s", body, got, want)
		}
	}
	form := recorded(t, &webhook.Call{Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte("user=u1&pwd=hunter2&from=10.0.0.1")})
	if !strings.HasSuffix(form, "\n\nfrom=***&pwd=***&user=u1") {
		t.Errorf("a form is kept as\n%s", form)
	}
}

// The last calls of each source are kept, over restarts too, and what is not the recorder's stays.
func TestTheLastAreKept(t *testing.T) {
	dir := t.TempDir()
	of := filepath.Join(dir, "one", "broker")
	if err := os.MkdirAll(of, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mine.http", "7.http", "next.tmp"} {
		if err := os.WriteFile(filepath.Join(of, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const calls = 1040
	taken := 0
	for run := range 2 {
		r := open(t, dir)
		for taken < (run+1)*calls/2 {
			c := &webhook.Call{Source: source, Method: http.MethodPost, Now: now, Header: http.Header{}, Body: fmt.Append(nil, taken)}
			if r.Take(c) {
				taken++
			} else {
				runtime.Gosched()
			}
		}
		closed(t, r)
	}
	names := map[string]fs.FileMode{}
	entries, err := os.ReadDir(of)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names[e.Name()] = info.Mode().Perm()
	}
	if len(names) != 1000+2 || names["mine.http"] == 0 || names["7.http"] == 0 {
		t.Errorf("%d files are there", len(names))
	}
	for n := 41; n <= calls; n++ {
		name := fmt.Sprintf("%012d.http", n)
		if names[name] != 0o600 && runtime.GOOS != "windows" {
			t.Fatalf("%s has the rights %o", name, names[name])
		}
	}
	b, err := os.ReadFile(filepath.Join(of, fmt.Sprintf("%012d.http", calls)))
	if err != nil || !strings.HasSuffix(string(b), fmt.Sprintf("\n\n%d", calls-1)) {
		t.Errorf("the newest is\n%s, %v", b, err)
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if _, err := record.Open(dir, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two record in one directory")
	}
	for _, c := range []*webhook.Call{
		{Body: make([]byte, 64<<10+1)},
		{Header: http.Header{"A": {strings.Repeat("a", 64<<10)}}},
		{Target: strings.Repeat("/", 64<<10+1)},
	} {
		if c.Source = source; r.Take(c) {
			t.Error("a call that is too large was taken")
		}
	}
	closed(t, r)
	closed(t, r)
	if r.Take(&webhook.Call{Source: source}) {
		t.Error("a call was taken after the end")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := record.Open(filepath.Join(file, "x"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it records below a file")
	}
}

// A directory that goes away costs the records, and is made again once there is another.
func TestFailuresAreLoggedOnce(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	r, err := record.Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "one"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.Take(&webhook.Call{Source: source, Method: http.MethodPost, Now: now})
	}
	other := *source
	other.App = "two"
	r.Take(&webhook.Call{Source: &other, Method: http.MethodPost, Now: now})
	closed(t, r)
	if got := log.String(); strings.Count(got, "call record failed") != 1 || strings.Count(got, "call record recovered") != 1 {
		t.Errorf("the log is\n%s", got)
	}
}

// Whatever a body holds, what is kept is a call, and the secret is not in it.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"a":"`+secret+`","b":["10.0.0.1",{"token":[1,{}]}]}`), "application/json", "q=1&token=a")
	f.Add([]byte(`%7B%22a%22:%22rcSecret-01%22%7D`), "", "::1")
	f.Add([]byte(`a=rcSecret-01&b=::ffff:1.2.3.4`), "application/x-www-form-urlencoded", "")
	f.Fuzz(func(t *testing.T, body []byte, kind, query string) {
		// HTTP has no control characters in a header.
		q, err := url.ParseQuery(query)
		if err != nil || strings.ContainsFunc(kind, unicode.IsControl) {
			return
		}
		file := record.File(&webhook.Call{Source: source, Method: http.MethodPost, Now: now, Query: q, Header: http.Header{"Content-Type": {kind}}, Body: body})
		if strings.Contains(string(file), secret) {
			t.Errorf("the secret is in\n%s", file)
		}
		if p, err := trial.Parse(file); err != nil || len(p.Body) > 0 != (len(body) > 0) {
			t.Errorf("%v\n%s", err, file)
		}
	})
}
