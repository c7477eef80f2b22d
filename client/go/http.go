package rollcall

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// codeEnded is the code of a refusal of a user token that was right before.
const codeEnded = "token_expired"

const (
	deadline  = 30 * time.Second // of a call with its retries
	patience  = 15 * time.Second // with one try
	maxTries  = 5
	maxAnswer = 256 << 20 // bytes; far beyond any
)

// call makes a call and retries it while that may help. read takes the answer and reports whether
// it is one to this call. Every call of this client may be made twice. It returns how old the
// answer is.
func (c *Client) call(ctx context.Context, method, path string, in any, read func([]byte) bool) (age time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var b backoff
	for again := c.token != nil; ; {
		age, e := c.once(ctx, method, path, in, read)
		if e == nil {
			return age, nil
		}
		if again && e.Code == codeEnded {
			again = false // the next token is newer
			continue
		}
		end, _ := ctx.Deadline()
		wait := b.next(e)
		if ctx.Err() != nil || !e.Temporary() || b.tries >= maxTries || time.Until(end) <= wait {
			return 0, e
		}
		if !pause(ctx, wait) {
			return 0, unreachable(method+" "+path, ctx.Err())
		}
	}
}

// once makes one try of a call.
func (c *Client) once(ctx context.Context, method, path string, in any, read func([]byte) bool) (time.Duration, *Error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	body, rerr := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if rerr != nil {
		return 0, unreachable(method+" "+path, rerr)
	}
	if !read(body) {
		return 0, foreign(res)
	}
	age, perr := time.ParseDuration(res.Header.Get("Rollcall-Stale") + "s")
	if perr != nil || age < 0 {
		age = 0
	}
	return age, nil
}

// into returns what reads an answer into out; is reports whether it is one.
func into[T any](out *T, is func() bool) func([]byte) bool {
	return func(b []byte) bool {
		var none T
		*out = none // of an earlier try
		return json.Unmarshal(b, out) == nil && is()
	}
}

// send makes a request; an answer that is not 200 is an error. Only headers of the client itself go
// in head.
func (c *Client) send(ctx context.Context, method, path string, in any, head map[string]string) (*http.Response, *Error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, &Error{Code: "invalid", Text: fmt.Sprintf("%s %s: %v", method, path, err), Cause: err}
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, &Error{Code: "invalid", Text: err.Error(), Cause: err}
	}
	r.Header.Set("X-LC-Id", c.cfg.App)
	if c.cfg.Key != "" {
		r.Header.Set("X-LC-Key", c.cfg.Key)
	}
	if c.cfg.HookKey != "" {
		r.Header.Set("X-LC-Hook-Key", c.cfg.HookKey)
	}
	if c.cfg.MasterKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.cfg.MasterKey)
	}
	if isDialect(path) && c.cfg.MasterKey != "" {
		r.Header.Set("X-LC-Key", c.cfg.MasterKey+",master")
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range head {
		r.Header.Set(k, v)
	}
	text, err := c.authorize(r)
	if err != nil {
		return nil, unreachable(method+" "+r.URL.Path, err)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, unreachable(method+" "+r.URL.Path, err)
	}
	if res.StatusCode == http.StatusUnauthorized && text != "" {
		c.token.refuse(text)
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		return nil, refusal(res, isDialect(path))
	}
	return res, nil
}

// isDialect reports whether the call at path is one of LeanCloud's.
func isDialect(path string) bool { return strings.HasPrefix(path, "/1.2/") }
