package conformance_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A proxy stands between the clients and the server.
type proxy struct {
	net    net.Listener
	mu     sync.Mutex
	dest   string
	down   bool
	tricks []trick        // what is done to the first requests for each path
	seen   map[string]int // by path, since the tricks were given
	all    map[net.Conn]struct{}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{net: l, all: map[net.Conn]struct{}{}}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) url() string { return "http://" + p.net.Addr().String() }

func (p *proxy) to(dest string) {
	p.mu.Lock()
	p.dest = dest
	p.mu.Unlock()
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	dest, down, tricked := p.dest, p.down, len(p.tricks) > 0
	p.mu.Unlock()
	defer func() { _ = c.Close() }()
	if down {
		return
	}
	var from io.Reader = c
	if tricked {
		var read bytes.Buffer
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &read)))
		if err != nil {
			return
		}
		if do := p.trickFor(r.URL.Path); do != nil {
			do(r, c)
			return
		}
		from = io.MultiReader(&read, c)
	}
	up, err := net.Dial("tcp", dest)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.all[c], p.all[up] = struct{}{}, struct{}{}
	p.mu.Unlock()
	go func() { _, _ = io.Copy(up, from); _ = up.Close(); _ = c.Close() }()
	_, _ = io.Copy(c, up)
	p.mu.Lock()
	delete(p.all, c)
	delete(p.all, up)
	p.mu.Unlock()
}

// cut breaks every connection and lets none through until heal.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.all {
		_ = c.Close()
	}
}

func (p *proxy) heal() {
	p.mu.Lock()
	p.down = false
	p.mu.Unlock()
}

// A trick answers a request in place of the server, or not at all.
type trick func(*http.Request, net.Conn)

// play does tricks, in order, to the first requests for each path that come on connections of their
// own.
func (p *proxy) play(tricks ...trick) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tricks, p.seen = tricks, map[string]int{}
}

func (p *proxy) trickFor(path string) trick {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.seen[path]
	p.seen[path]++
	if n < len(p.tricks) {
		return p.tricks[n]
	}
	return nil
}

// lose passes a request on and loses its answer.
func (p *proxy) lose(r *http.Request, _ net.Conn) {
	p.mu.Lock()
	dest := p.dest
	p.mu.Unlock()
	r.URL.Scheme, r.URL.Host, r.RequestURI, r.Close = "http", dest, "", true
	if res, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// A page is what a proxy answers by itself.
type page struct {
	Status int
	Type   string
	Head   []string // more headers
	Body   string
	Length int // says more than there is, when it is not 0
}

func (pg page) answer(r *http.Request, c net.Conn) {
	_, _ = io.Copy(io.Discard, r.Body)
	head := append([]string{
		fmt.Sprintf("HTTP/1.1 %d %s", pg.Status, http.StatusText(pg.Status)),
		fmt.Sprintf("Content-Length: %d", max(pg.Length, len(pg.Body))), "Connection: close",
	}, pg.Head...)
	if pg.Type != "" {
		head = append(head, "Content-Type: "+pg.Type)
	}
	_, _ = fmt.Fprintf(c, "%s\r\n\r\n%s", strings.Join(head, "\r\n"), pg.Body)
}
