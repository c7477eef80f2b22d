package sourcetest

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/record"
	"rollcall/edge/webhook/trial"
)

// Load returns the call in file, which a server recorded or which is written like one, for a story.
// It has no proof in its query and its headers.
func Load(tb testing.TB, file string) Call {
	tb.Helper()
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := trial.Parse(b)
	if err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	out, err := r.To(webhook.Prefix + app + "/" + id)
	if err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	return made(out)
}

// made returns r as a call.
func made(r *webhook.Request) Call {
	c := Call{Method: r.Method, Path: strings.TrimPrefix(r.Target(), r.Path), Header: map[string]string{}, Body: string(r.Body)}
	for name := range r.Header {
		c.Header[name] = r.Header.Get(name)
	}
	return c
}

// Strangers of the calls that are recorded.
const (
	sentFrom = "203.0.113.77"
	sentID   = "sid=5e55105e"
)

// recorded sends every call to a server that records. What it wrote has no secret and no address,
// says the same, and is taken again once it is signed.
func (s *Suite) recorded(t *testing.T) {
	dir := t.TempDir()
	rec, err := record.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source := s.Source
	source.App, source.ID, source.SecretOld = app, id, "an-older-secret"
	srv := open(t, source, s.Now, rec.Take)
	var sent []Call
	for _, story := range s.Stories {
		for i, c := range story.Calls {
			c = s.signed(c, source.Secrets()[i%2], s.Now)
			c.Header["X-Forwarded-For"], c.Header["Cookie"], c.Header["X-Trace"] = sentFrom, sentID, "by ["+sentFrom+"]:80"
			if status, body := srv.Send(c); status != http.StatusOK {
				t.Fatalf("%s: call %d is answered %d %s", story.Name, i, status, body)
			}
			sent = append(sent, c)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if st := srv.Stats(); st.Recorded != int64(len(sent)) || st.Unrecorded != 0 {
		t.Fatalf("%d calls were sent, and recorded %+v", len(sent), st)
	}
	again := Open(t, source, s.Now)
	for i, c := range sent {
		file := filepath.Join(dir, app, id, fmt.Sprintf("%012d.http", i+1))
		s.same(t, &source, c, file)
		r, err := outgoing(Load(t, file))
		if err == nil {
			err = s.Kind.Sign(r, &source, s.Now)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if status, body := again.Send(made(r)); status != http.StatusOK {
			t.Errorf("%s, signed again, is answered %d %s", file, status, body)
		}
	}
}

// same compares a call with the file that was made of it.
func (s *Suite) same(t *testing.T, source *webhook.Source, c Call, file string) {
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range append(source.Secrets(), sentFrom, sentID, "203.0.113.") {
		if strings.Contains(string(b), hidden) {
			t.Fatalf("%q is in\n%s", hidden, b)
		}
	}
	before := &trial.Request{Method: http.MethodPost, Target: webhook.Prefix + app + "/" + id + c.Path, Header: http.Header{}, Body: []byte(c.Body)}
	for name, value := range c.Header {
		before.Header.Set(name, value)
	}
	after, err := trial.Parse(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	at, ok := after.Recorded()
	if !ok || at != s.Now {
		t.Fatalf("the time of the receipt is %d\n%s", at, b)
	}
	said := func(r *trial.Request) *trial.Result {
		res, err := trial.Try(t.Context(), source, r, at)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		return res
	}
	x, y := said(before), said(after)
	if !x.Tried || x.Proof != nil || x.Shape != nil || y.Tried || y.Proof != nil {
		t.Fatalf("the call is %+v, its record %+v", x, y)
	}
	y.Tried = true
	if !reflect.DeepEqual(x, y) {
		t.Errorf("the call says %+v, its record %+v\n%s", x, y, b)
	}
	after.Header.Del(webhook.RecordedHeader)
	if z := said(after); z.Proof == nil {
		t.Errorf("the record proves itself\n%s", b)
	}
}
