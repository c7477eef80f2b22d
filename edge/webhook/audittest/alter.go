package audittest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// bodies sends what is no answer with status 200.
func (s *Suite) bodies(t *testing.T) {
	srv := s.open(t)
	for name, body := range map[string]string{
		"nothing": "", "a blank": " ", "null": "null", "a number": "17", "a text": `"ok"`, "true": "true", "an empty object": "{}",
		"a page":           "<!DOCTYPE html><html><body>login " + Planted + "</body></html>",
		"no JSON":          "{\"" + Planted + "\":",
		"a deep list":      strings.Repeat("[", 20000),
		"a list of lists":  "[[],[[]]]",
		"another's answer": `{"code":0,"message":"ok","result":{"` + Planted + `":1}}`,
		"an error":         `{"error":"` + Planted + `","code":1}`,
	} {
		s.nothing(t, srv, name, func(w http.ResponseWriter, _ *httptest.ResponseRecorder) { _, _ = w.Write([]byte(body)) })
	}
	s.altered(t, srv, "an empty list", func(w http.ResponseWriter, _ *httptest.ResponseRecorder) bool {
		_, _ = w.Write([]byte("[]"))
		return true
	})
	s.nothing(t, srv, "half an answer", func(w http.ResponseWriter, honest *httptest.ResponseRecorder) {
		_, _ = w.Write(honest.Body.Bytes()[:honest.Body.Len()/2])
	})
	s.nothing(t, srv, "two answers", func(w http.ResponseWriter, honest *httptest.ResponseRecorder) {
		_, _ = w.Write(slices.Repeat(honest.Body.Bytes(), 2))
	})
	s.nothing(t, srv, "an endless answer", func(w http.ResponseWriter, _ *httptest.ResponseRecorder) {
		for blank := bytes.Repeat([]byte(" "), 64<<10); ; {
			if _, err := w.Write(blank); err != nil {
				return
			}
		}
	})
}

// altered asks while the answers are altered. alter reports whether it left a part of a list out.
func (s *Suite) altered(t *testing.T, srv *server, what string, alter func(http.ResponseWriter, *httptest.ResponseRecorder) bool) (webhook.Answer, error) {
	t.Helper()
	shortened := false // calls come one by one
	srv.set(func(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) {
		if alter(w, honest) {
			shortened = true
		}
	})
	source := srv.source()
	got, err := srv.ask(&source, s.Peers)
	s.check(t, what, &source, got, err, shortened)
	return got, err
}

// nothing asks while the answers are altered so that they must say nothing of any peer.
func (s *Suite) nothing(t *testing.T, srv *server, what string, alter func(http.ResponseWriter, *httptest.ResponseRecorder)) {
	t.Helper()
	got, err := s.altered(t, srv, what, func(w http.ResponseWriter, honest *httptest.ResponseRecorder) bool {
		alter(w, honest)
		return false
	})
	if err == nil && len(got.Peers) > 0 {
		t.Errorf("%s: %+v", what, got)
	}
}

// values replaces each value of the answer by others, leaves each element of a list out, and has
// each there twice.
func (s *Suite) values(t *testing.T) {
	srv := s.open(t)
	// every calls change with 0, 1, 2… for each answer until an answer has no value of that number.
	every := func(what string, change func(v any, n *int) (changed any, shortened bool)) {
		for at, more := 0, true; more; at++ {
			more = false
			_, _ = s.altered(t, srv, fmt.Sprintf("value %d %s", at, what), func(w http.ResponseWriter, honest *httptest.ResponseRecorder) bool {
				var v any
				if err := json.Unmarshal(honest.Body.Bytes(), &v); err != nil {
					t.Errorf("the product answers %q", honest.Body)
				}
				n := at
				changed, shortened := change(v, &n)
				more = more || n < 0
				body, err := json.Marshal(changed)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
				return shortened
			})
		}
	}
	for _, with := range []any{nil, true, false, 17, -1e300, "", "x", []any{}, map[string]any{}, strings.Repeat("x", 5000)} {
		every(fmt.Sprintf("replaced by %.20v", with), func(v any, n *int) (any, bool) { return replaced(v, n, with) })
	}
	every("left out", func(v any, n *int) (any, bool) { return repeated(v, n, 0), true })
	every("twice", func(v any, n *int) (any, bool) { return repeated(v, n, 2), false })
}

// replaced returns v with its value of number n replaced, in the order of sorted keys, and whether
// that emptied a list. n is negative when there was one.
func replaced(v any, n *int, with any) (any, bool) {
	if *n == 0 {
		*n = -1
		_, flag := v.(bool)
		if _, other := with.(bool); flag && other {
			return v, false // that would be a lie, not a mistake
		}
		was, list := v.([]any)
		now, empty := with.([]any)
		return with, list && empty && len(was) > len(now)
	}
	*n--
	emptied := false
	switch v := v.(type) {
	case []any:
		for i := 0; i < len(v) && *n >= 0; i++ {
			v[i], emptied = replaced(v[i], n, with)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if *n < 0 {
				break
			}
			v[k], emptied = replaced(v[k], n, with)
		}
	}
	return v, emptied
}

// repeated returns v with the element of number n of all its lists there so many times.
func repeated(v any, n *int, times int) any {
	switch v := v.(type) {
	case []any:
		for i := 0; i < len(v); i++ {
			if *n == 0 {
				*n = -1
				return slices.Concat(v[:i], slices.Repeat([]any{v[i]}, times), v[i+1:])
			}
			*n--
			if v[i] = repeated(v[i], n, times); *n < 0 {
				break
			}
		}
		return v
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if *n < 0 {
				break
			}
			v[k] = repeated(v[k], n, times)
		}
	}
	return v
}

// A reader is a client whose product answers every call that asks with the same body.
type reader struct {
	suite *Suite
	body  string
}

// RoundTrip answers r.
func (c *reader) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if c.suite.Asks(r) {
		w.Body.WriteString(c.body)
	} else {
		c.suite.Product.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

// Fuzz asks while the answer is any body: it says nothing of others, and no error shows it.
func Fuzz(f *testing.F, s Suite) {
	f.Fuzz(func(t *testing.T, body string) {
		source := s.Source
		source.App, source.ID, source.Kind = App, "source", s.Auditor
		source.Reconcile.URL, source.Reconcile.Passes = "https://product.test"+s.Path, new(webhook.Passes)
		got, err := s.Auditor.Ask(t.Context(), &http.Client{Transport: &reader{&s, body}}, &source, s.Peers)
		if err != nil && (len(err.Error()) > 200 || len(body) > 20 && strings.Contains(err.Error(), body)) {
			t.Errorf("the error is %v", err)
		}
		for peer, found := range got.Peers {
			if !slices.Contains(s.Peers, peer) || !found.Online && len(found.Sessions) > 0 || found.Listed && len(found.Sessions) == 0 {
				t.Errorf("%q is %+v", peer, found)
			}
			for _, x := range found.Sessions {
				if x.ID == "" || len(x.ID) > presence.MaxName {
					t.Errorf("%q has the session %.300q", peer, x.ID)
				}
			}
		}
	})
}
