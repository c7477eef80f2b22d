package trial_test

import (
	"errors"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/trial"
	"rollcall/presence"
)

func TestParse(t *testing.T) {
	const line = "POST /ingest/a/b/c?d=e HTTP/1.1"
	for name, c := range map[string]struct{ file, target, body string }{
		"line feeds":                          {line + "\nA: x\n\n{}", "/ingest/a/b/c?d=e", "{}"},
		"as on the wire":                      {line + "\r\nA: x\r\n\r\n{}\r\n", "/ingest/a/b/c?d=e", "{}"},
		"HTTP/2 as tools print it":            {"POST /x HTTP/2\nA: x\n\n{}\n", "/x", "{}"},
		"HTTP/2.0":                            {"PUT /x HTTP/2.0\r\nA: x\r\n\r\n{}", "/x", "{}"},
		"a length that cuts what follows":     {line + "\nA: x\nContent-Length: 2\n\n{}\n\n", "/ingest/a/b/c?d=e", "{}"},
		"a length that has the line feed":     {line + "\nA: x\nContent-Length: 3\n\n{}\n", "/ingest/a/b/c?d=e", "{}\n"},
		"chunks":                              {line + "\r\nA: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "/ingest/a/b/c?d=e", "{}"},
		"no body":                             {line + "\nA: x\n\n", "/ingest/a/b/c?d=e", ""},
		"a body alone":                        {"{\"POST / HTTP/1.1\":1}\n", "/ingest/app/source", `{"POST / HTTP/1.1":1}`},
		"two line feeds, of which one counts": {"{}\n\n", "/ingest/app/source", "{}\n"},
		"nothing":                             {"", "/ingest/app/source", ""},
	} {
		r, err := trial.Parse([]byte(c.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Target != c.target || string(r.Body) != c.body || len(r.Header) > 0 && r.Header.Get("A") != "x" {
			t.Errorf("%s: %s %q %v", name, r.Target, r.Body, r.Header)
		}
	}
	for _, file := range []string{line, line + "\n", "GET /x HTTP/1.1\n\n", line + "\nno header\n\n{}", line + "\nContent-Length: 9\n\n{}", line + "\nContent-Length: -1\n\n{}"} {
		if _, err := trial.Parse([]byte(file)); !errors.Is(err, trial.ErrFile) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestAdd(t *testing.T) {
	for _, c := range []struct{ path, query, want string }{
		{"", "", "/ingest/app/source"},
		{"s/command", "a=1", "/ingest/app/source/s/command?a=1"},
		{"/s?b=2", "?a=1", "/ingest/app/source/s?b=2&a=1"},
		{"/ingest/x/y/s", "", "/ingest/x/y/s"},
	} {
		r, err := trial.Parse([]byte("{}"))
		if err == nil {
			err = r.Add(c.path, c.query, []string{"Name: a: b"})
		}
		if err != nil || r.Target != c.want || r.Header.Get("Name") != "a: b" {
			t.Errorf("%+v: %s %v, %v", c, r.Target, r.Header, err)
		}
	}
}

// Whatever a file holds is answered, for each kind.
func TestNonsense(t *testing.T) {
	for _, kind := range all.Kinds {
		s := source(kind)
		for _, file := range []string{"", "{}", "[]", "null", "[[]]", "\x00", "POST //ingest/%2f?%zz HTTP/1.1\n\n{}", "PUT * HTTP/1.1\n\n[null]", `{"events":[null,7,{"peer":""}]}`} {
			r, err := trial.Parse([]byte(file))
			if err != nil {
				continue
			}
			res, err := trial.Try(t.Context(), s, r, 1767225700000)
			if err != nil && !errors.Is(err, trial.ErrFile) {
				t.Errorf("%s: %q: %v", kind.Name(), file, err)
			}
			if err == nil && (len(res.Events) > 0 || res.Proof == nil) {
				t.Errorf("%s: %q: %+v", kind.Name(), file, res)
			}
		}
	}
}

func source(kind webhook.Kind) *webhook.Source {
	d := kind.Defaults()
	return &webhook.Source{App: "app", ID: "source", Kind: kind, Secret: "the-secret", Lease: d.Lease, Hold: d.Hold}
}

// Each event is looked at by itself; the end of a session that began later ends nothing.
func TestEvents(t *testing.T) {
	s := source(generic.Kind{})
	s.Secret = ""
	const now = 1767225700000
	r, err := trial.Parse([]byte(`{"events":[
		{"peer":"u1","state":"online","session":"a","time":1767225690000},
		{"peer":"u1","state":"offline","session":"a","time":1767225690000,"cause":"logout"},
		{"peer":"u2","state":"touch","session":"a","time":1767225690000},
		{"peer":"u3","state":"end_all","prefix":"x/"},
		{"peer":"u4","state":"online","session":"a","time":1735689600000},
		{"peer":"u5","state":"nothing"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := trial.Try(t.Context(), s, r, now)
	if err != nil {
		t.Fatal(err)
	}
	type want struct {
		unknown, online presence.Status
		verdict         presence.Verdict
	}
	wants := []want{
		{presence.Online, presence.Online, presence.Taken},
		{presence.Offline, presence.Offline, presence.Taken},
		{presence.Online, presence.Online, presence.Taken},
		{presence.Offline, presence.Offline, presence.Taken},
		{presence.Unknown, presence.Unknown, presence.Stale},
	}
	if len(res.Events) != len(wants) || len(res.Problems) != 1 || res.Proof != nil || res.Shape != nil {
		t.Fatalf("%+v", res)
	}
	for i, w := range wants {
		e := res.Events[i]
		if got := (want{e.Unknown, e.Online, e.Verdict}); got != w {
			t.Errorf("event %d: %+v, want %+v", i, got, w)
		}
	}
	if got := res.Events[1].At; got != presence.Millis(now).Add(-10*time.Second) {
		t.Errorf("event 1 is of %d", got)
	}
}
