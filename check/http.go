package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// largest is how much of an answer is read.
const largest = 1 << 20

// newClient returns a client that follows no redirect, which would take keys along, and uses no
// proxy of this machine.
func newClient() http.Client {
	return http.Client{
		Transport: &http.Transport{
			ResponseHeaderTimeout: within, TLSHandshakeTimeout: within, MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 4,
			DialContext: (&net.Dialer{Timeout: within}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A key is what a call presents.
type key struct{ name, value string }

func (c *checker) appKey() key    { return key{"X-LC-Key", c.AppKey} }
func (c *checker) hookKey() key   { return key{"X-LC-Hook-Key", c.HookKey} }
func (c *checker) masterKey() key { return key{"Authorization", "Bearer " + c.MasterKey} }

// An answer is what a call was answered.
type answer struct {
	status int
	head   http.Header
	body   []byte
	took   time.Duration
}

func (c *checker) request(ctx context.Context, method, path string, body []byte, keys ...key) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-LC-Id", c.App)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, k := range keys {
		r.Header.Set(k.name, k.value)
		if token := c.userToken(); token != "" && k == c.appKey() {
			r.Header.Set("X-LC-Session", token)
		}
	}
	return r, nil
}

// call calls the server. The error is one of the check.
func (c *checker) call(ctx context.Context, method, path string, body []byte, keys ...key) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := c.request(ctx, method, path, body, keys...)
	if err != nil {
		return nil, err
	}
	begun := c.Now()
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, unanswered(method+" "+path, err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, head: resp.Header}
	c.proxied = c.proxied || resp.Header.Get("Server") != "" || resp.Header.Get("Via") != ""
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, largest+1))
	a.took = c.Now().Sub(begun)
	switch {
	case len(a.body) > largest:
		return nil, failed(cureNoAnswer, "the answer to %s %s has no end: more than %d bytes", method, plain(path), largest)
	case err != nil:
		return nil, unanswered(method+" "+path, err)
	}
	return a, nil
}

// unanswered says that a call got no answer.
func unanswered(call string, err error) error {
	call = plain(call)
	switch {
	case errors.Is(err, context.Canceled):
		return failed(cureNoAnswer, "interrupted")
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return failed(cureNoAnswer, "%s was not answered within %v", call, within)
	}
	return failed(cureNoAnswer, "%s was not answered: %v", call, reason(err))
}

func timedOut(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// reason returns what is behind the wrapping of net/http, which repeats the URL.
func reason(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return errors.New(plain(err.Error()))
		}
		err = inner
	}
}

// must returns an error when a is not answered with the status that is expected.
func (a *answer) must(status int, call string) error {
	if a.status == status {
		return nil
	}
	cure := curePaths
	switch {
	case a.status >= 300 && a.status < 400:
		return failed(cureRedirects, "%s is redirected to %s", call, plain(a.head.Get("Location")))
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		cure = cureKeys
	case a.status == http.StatusRequestEntityTooLarge:
		cure = cureBodies
	case a.status == http.StatusTooManyRequests:
		cure = cureAddress
	case a.status >= 500:
		cure = cureNoAnswer
	}
	return failed(cure, "%s is answered with %d%s", call, a.status, a.says())
}

// says returns what a says of an error, for a person.
func (a *answer) says() string {
	var answer struct{ Error string }
	if json.Unmarshal(a.body, &answer) == nil && answer.Error != "" {
		return ": " + plain(answer.Error)
	}
	if server := a.head.Get("Server"); server != "" {
		return " by " + plain(server)
	}
	return ""
}

// plain returns text of the server so that it cannot control a terminal, and not too much of it.
func plain(s string) string {
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd }) >= 0 {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// connect opens a connection and learns its addresses.
func (c *checker) connect(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	begun := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.hostPort())
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return "", failed(cureConnect, "the name %s is not found", c.base.Hostname())
		}
		return "", failed(cureConnect, "%s cannot be reached: %v", c.hostPort(), reason(err))
	}
	defer conn.Close()
	c.local, c.remote = addr(conn.LocalAddr()), addr(conn.RemoteAddr())
	c.trusted = c.base.Scheme == "http"
	return fmt.Sprintf("%s in %v", conn.RemoteAddr(), time.Since(begun).Round(time.Millisecond/10)), nil
}

func addr(a net.Addr) netip.Addr {
	p, _ := netip.ParseAddrPort(a.String())
	return p.Addr().Unmap()
}

func (c *checker) hostPort() string {
	port := c.base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[c.base.Scheme]
	}
	return net.JoinHostPort(c.base.Hostname(), port)
}
