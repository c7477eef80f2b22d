package outbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A Result is how a server answered a call.
type Result int

// The results of calls.
const (
	Failed  Result = iota // not at all, or in a way that may pass
	Taken                 // 2xx
	Refused               // 4xx, but for 408 and 429: the same call would be refused again
)

// maxAnswer is how much of an answer is read, so that its connection can be used again; a longer
// one costs the connection.
const maxAnswer = 64 << 10

// NewClient returns a client for calls to servers of others: it follows no redirect, and waits for
// timeout at most, the body of the answer included. A nil transport is HTTP over TCP, with up to
// idle connections kept to each server.
func NewClient(timeout time.Duration, idle int, transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{MaxIdleConnsPerHost: idle, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer}
	}
	return &http.Client{
		Timeout: timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Post makes one call and returns how it was answered. header is set on the request as it is.
func Post(ctx context.Context, client *http.Client, address string, header http.Header, body []byte) (r Result, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Failed, 0, fmt.Errorf("make the call: %w", err)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return Failed, 0, fmt.Errorf("call: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	return resultOf(resp.StatusCode), resp.StatusCode, nil
}

func resultOf(status int) Result {
	switch {
	case status/100 == 2:
		return Taken
	case status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
		return Refused
	}
	return Failed
}

// IsAddress reports whether text is an http:// or https:// URL without a query, to which calls can
// be made.
func IsAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""
}
