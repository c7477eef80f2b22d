package sourcetest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rollcall/edge/webhook"
)

// ours signs calls by the kind itself: one that shows another secret, and each call of the stories
// that has no proof yet.
func (s *Suite) ours(t *testing.T) {
	srv := Open(t, s.Source, s.Now)
	calls := []Call{s.signed(s.Stories[0].Calls[0], "another-secret", s.Now)}
	for _, story := range s.Stories {
		calls = append(calls, story.Calls...)
	}
	for i, c := range calls {
		r, err := outgoing(c)
		if err == nil {
			err = s.Kind.Sign(r, &s.Source, s.Now)
		}
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if status, body := srv.Send(made(r)); status != http.StatusOK {
			t.Errorf("call %d, signed by the kind: %d %s", i, status, body)
		}
	}
	if st := srv.Stats(); st.Unproven != 0 || st.Misshapen != 0 || st.Accepted == 0 {
		t.Errorf("calls signed by the kind: %+v", st)
	}
}

// outgoing returns c as a call that is not signed.
func outgoing(c Call) (*webhook.Request, error) {
	u, err := url.Parse(webhook.Prefix + app + "/" + id + c.Path)
	if err != nil {
		return nil, err
	}
	r := &webhook.Request{
		Method: c.Method, Path: webhook.Prefix + app + "/" + id, Query: u.Query(), Header: http.Header{}, Body: []byte(c.Body),
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	r.Rest = strings.TrimPrefix(strings.TrimPrefix(u.Path, r.Path), "/")
	for name, value := range c.Header {
		r.Header.Set(name, value)
	}
	return r, nil
}
