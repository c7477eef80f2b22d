//go:build faults && linux

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"sync"
	"testing"
	"time"
)

// A balancer stands before nodes as nginx or a Service of Kubernetes does: it leads to those that
// are ready, and tries another node when one is not there, or sends away what may be repeated.
type balancer struct {
	*httptest.Server
	transport *http.Transport
	nodes     []*unit

	mu    sync.Mutex
	ready []*unit
	left  *unit // gets no request, ready or not
	turn  int
}

func newBalancer(t *testing.T, nodes []*unit) *balancer {
	b := &balancer{nodes: nodes, transport: &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: notForLong}}
	proxy := &httputil.ReverseProxy{Transport: b, Rewrite: func(r *httputil.ProxyRequest) { r.SetXForwarded() }}
	b.look()
	b.Server = httptest.NewServer(proxy)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				b.look()
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		looking.Wait()
		b.CloseClientConnections()
		b.Close()
		b.transport.CloseIdleConnections()
	})
	return b
}

// look asks every node whether it is ready.
func (b *balancer) look() {
	var ready []*unit
	for _, u := range b.nodes {
		if res, err := client.Get("http://" + u.admin + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				ready = append(ready, u)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = slices.DeleteFunc(ready, func(u *unit) bool { return u == b.left })
}

// leave takes a node out, as a Service does with one that is about to be stopped, and puts the one
// before in again.
func (b *balancer) leave(u *unit) {
	b.mu.Lock()
	b.left = u
	b.mu.Unlock()
	b.look()
}

// next returns the nodes to try, in order.
func (b *balancer) next() []*unit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil
	}
	b.turn++
	n := b.turn % len(b.ready)
	return slices.Concat(b.ready[n:], b.ready[:n])
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	err := errors.New("no node is ready")
	for _, u := range b.next() {
		try := r.Clone(r.Context())
		try.URL.Scheme, try.URL.Host = "http", u.listen
		if try.GetBody = nil; len(body) > 0 {
			try.Body = io.NopCloser(bytes.NewReader(body))
		}
		var res *http.Response
		res, err = b.transport.RoundTrip(try)
		repeatable := r.Method == http.MethodGet
		var dialled *net.OpError
		switch {
		case err == nil && repeatable && res.StatusCode == http.StatusServiceUnavailable:
			_ = res.Body.Close()
			err = errors.New("no node takes it")
		case err == nil:
			return res, nil
		case !repeatable && !(errors.As(err, &dialled) && dialled.Op == "dial"):
			return nil, err
		}
	}
	return nil, err
}
