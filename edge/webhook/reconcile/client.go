package reconcile

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// askWithin bounds one answer of a product, in all its calls.
	askWithin = time.Minute
	// headWithin bounds the wait for the head of an answer.
	headWithin = 20 * time.Second
	// maxAnswer is the largest body of an answer; no page of a product is as large.
	maxAnswer = 8 << 20
)

var (
	errRedirect = errors.New("the product redirects the call, which is not followed; set reconcile.url to the address that it names")
	errLarge    = errors.New("the body of the answer has more than 8 MiB")
)

// newClient returns a client for the calls to products: it follows no redirects and has deadlines,
// and its answers are bounded.
func newClient() *http.Client {
	dial := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Client{
		Timeout: askWithin,
		Transport: bounded{&http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial.DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: headWithin, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: parallel, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
}

// bounded bounds the bodies of answers.
type bounded struct{ *http.Transport }

// RoundTrip makes a call.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if calls, ok := r.Context().Value(callsKey{}).(*atomic.Int64); ok {
		calls.Add(1)
	}
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxAnswer}
	}
	return resp, err
}

// callsKey is the key in a context of the count of the calls of one answer.
type callsKey struct{}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A pacer spreads calls evenly.
type pacer struct {
	gap time.Duration

	mu   sync.Mutex
	next time.Time
}

// wait waits for the turn of one call.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(p.gap)
	p.mu.Unlock()
	if !sleep(ctx, at.Sub(now)) {
		return ctx.Err()
	}
	return nil
}

// more takes the turns of n calls that were made beside the one that was waited for.
func (p *pacer) more(n int64) {
	if n <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = p.next.Add(time.Duration(n) * p.gap)
}
