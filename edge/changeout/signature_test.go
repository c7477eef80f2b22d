package changeout_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"rollcall/internal/api"
)

// A tap keeps the calls that go to a backend.
type tap struct {
	http.RoundTripper
	mu    sync.Mutex
	calls []*http.Request
	body  [][]byte
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.body = append(p.calls, r), append(p.body, b)
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(b))
	return p.RoundTripper.RoundTrip(again)
}

// Each call is signed by both secrets, with a time of its own, which is that of the wall; a byte
// more or less, another path or time is another signature.
func TestCallsAreSignedByBothSecrets(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		p := &tap{RoundTripper: f.backend}
		f.transport = p
		f.start(0)
		time.Sleep(2 * time.Second)
		f.backend.answer(http.StatusBadGateway, 0)
		f.report(online("ann"))
		time.Sleep(3 * time.Second)
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.calls) < 3 {
			t.Fatalf("%d calls", len(p.calls))
		}
		seen := map[string]bool{}
		for i, r := range p.calls {
			for _, key := range []string{secret, secretOld} {
				if !signed(r, p.body[i], key) {
					t.Errorf("call %d is not signed by %q", i, key)
				}
			}
			if signed(r, append(p.body[i], ' '), secret) || signed(r, p.body[i], "another secret of 16 bytes") {
				t.Errorf("call %d is signed for another body or by another secret", i)
			}
			other := r.Clone(t.Context())
			other.URL.Path = "/other"
			if signed(other, p.body[i], secret) {
				t.Errorf("call %d is signed for another path", i)
			}
			stamp := r.Header.Get(api.TimeHeader)
			if seen[stamp] {
				t.Errorf("the time %s comes twice", stamp)
			}
			seen[stamp] = true
			if got := r.Header.Get("User-Agent") + " " + r.Method + " " + r.Header.Get("Content-Type"); got != "rollcall/test POST application/json" {
				t.Errorf("call %d is %s", i, got)
			}
		}
	})
}
