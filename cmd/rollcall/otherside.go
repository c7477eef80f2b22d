package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/redis/rueidis"

	"rollcall/server/config"
)

// An otherSide is what a server is compared with. It answers online, offline or unknown for each
// id.
type otherSide interface {
	statuses(e *env, ids []string) ([]string, error)
	close()
}

// newOtherSide returns the side at address. No error has the address: it may hold a password.
func newOtherSide(e *env, address, prefix string) (otherSide, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		fmt.Fprintln(e.stderr, "rollcall: --against is no URL with a host, such as https://old.example.com or redis://localhost:6379/0")
		return nil, errMisused
	}
	switch u.Scheme {
	case "http", "https":
		f := &functionSide{
			url: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/") + "/1.1/functions/getOnOffStatus",
			id:  variable(e.environ, "LEANCLOUD_APP_ID"), key: variable(e.environ, "LEANCLOUD_APP_KEY"),
		}
		if f.id == "" || f.key == "" {
			return nil, &config.Hinted{Err: errors.New("the keys of the other side are missing"), Hint: "set LEANCLOUD_APP_ID and LEANCLOUD_APP_KEY in the environment"}
		}
		return f, nil
	case "redis", "rediss":
		opts, err := rueidis.ParseURL(address)
		if err != nil {
			fmt.Fprintln(e.stderr, "rollcall: --against is written as redis://:PASSWORD@HOST:PORT/DB")
			return nil, errMisused
		}
		opts.DisableCache, opts.DisableRetry = true, true
		client, err := rueidis.NewClient(opts)
		if err != nil {
			return nil, fmt.Errorf("the Redis at %s does not answer: %w", u.Host, err)
		}
		return &recipeSide{client, u.Host, prefix}, nil
	}
	fmt.Fprintln(e.stderr, "rollcall: --against begins with https://, http://, redis:// or rediss://")
	return nil, errMisused
}

// shown returns what the recipe's value stands for.
func shown(v any) string {
	switch fmt.Sprint(v) {
	case "1":
		return "online"
	case "0":
		return "offline"
	}
	if v == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.64q", fmt.Sprint(v))
}

// A functionSide answers the function getOnOffStatus.
type functionSide struct{ url, id, key string }

func (f *functionSide) close() {}

func (f *functionSide) statuses(e *env, ids []string) ([]string, error) {
	body, err := json.Marshal(map[string]any{"peerIds": ids})
	if err != nil {
		return nil, err
	}
	b, status, err := post(e, f.url, http.Header{"X-LC-Id": {f.id}, "X-LC-Key": {f.key}}, body)
	if err != nil {
		return nil, fmt.Errorf("the other side does not answer: %w", err)
	}
	if status != http.StatusOK {
		hint := "it is asked for the function getOnOffStatus at " + f.url
		if status == http.StatusUnauthorized || status == http.StatusForbidden {
			hint = "LEANCLOUD_APP_ID and LEANCLOUD_APP_KEY are not those of the other side"
		}
		return nil, &config.Hinted{Err: fmt.Errorf("the other side answered %d", status), Hint: hint}
	}
	var answer struct{ Result []any }
	if json.Unmarshal(b, &answer) != nil || len(answer.Result) != len(ids) {
		return nil, fmt.Errorf("the other side does not answer as getOnOffStatus does: one value for each of %d ids", len(ids))
	}
	out := make([]string, len(ids))
	for i, v := range answer.Result {
		out[i] = shown(v)
	}
	return out, nil
}

// A recipeSide is the Redis that LeanCloud's recipe writes.
type recipeSide struct {
	client       rueidis.Client
	host, prefix string
}

func (r *recipeSide) close() { r.client.Close() }

func (r *recipeSide) statuses(e *env, ids []string) ([]string, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = r.prefix + id
	}
	values, err := rueidis.MGet(r.client, e.ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("the Redis at %s does not answer: %w", r.host, err)
	}
	out := make([]string, len(ids))
	for i, k := range keys {
		m := values[k]
		text, err := m.ToString()
		switch {
		case rueidis.IsRedisNil(err):
			out[i] = "unknown"
		case err != nil:
			return nil, fmt.Errorf("the Redis at %s does not answer: %w", r.host, err)
		default:
			out[i] = shown(text)
		}
	}
	return out, nil
}

// post sends JSON and returns the answer. It follows no redirect: that would take the keys along.
func post(e *env, target string, head http.Header, body []byte) ([]byte, int, error) {
	client := &http.Client{Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(e.ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	for name, values := range head {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return b, resp.StatusCode, err
}
