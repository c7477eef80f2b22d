package rollcall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says where the server is and who calls. One of the keys is needed.
type Config struct {
	URL       string // such as https://presence.example.com
	App       string // app id
	Key       string // app key: status only
	MasterKey string // master key: servers
	HookKey   string // hook key: reports only

	HTTP *http.Client // nil: one with sane timeouts
}

// A Client speaks with one server.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// New returns a client. It connects to nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a server, such as https://presence.example.com", cfg.URL)
	}
	c := &Client{cfg: cfg, base: base, http: cfg.HTTP}
	if c.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = 30 * time.Second
		c.http = &http.Client{Transport: t} // no timeout of the whole: streams are long
	}
	return c, nil
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is what a peer is.
type Status string

// The statuses. Unknown: nobody has reported the peer, or it is forgotten.
const (
	Online  Status = "online"
	Offline Status = "offline"
	Unknown Status = "unknown"
)

// A Peer is what the server tells of one peer. With the app key only the status is told.
type Peer struct {
	ID       string   `json:"peer"`
	Status   Status   `json:"status"`
	Since    int64    `json:"since,omitempty"`     // Unix milliseconds
	LastSeen int64    `json:"last_seen,omitempty"` // Unix milliseconds
	Cause    string   `json:"cause,omitempty"`
	Devices  []string `json:"devices,omitempty"`
	Version  uint64   `json:"version,omitempty"`
}

// An Error is a refusal of the server.
type Error struct {
	Status     int           `json:"-"`
	Code       string        `json:"code"`
	Text       string        `json:"error"`
	RetryAfter time.Duration `json:"-"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Text, e.Code) }

// temporary reports whether trying again may help.
func (e *Error) temporary() bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// Query asks what peers are; the answers come in their order.
func (c *Client) Query(ctx context.Context, peers ...string) ([]Peer, error) {
	a, err := c.Ask(ctx, Question{Peers: peers})
	return a.Peers, err
}

// A Question is a query with all it may hold.
type Question struct {
	Peers  []string `json:"peers"`
	Fields []string `json:"fields,omitempty"` // since, last_seen, cause, devices; they need the master key
	// Since makes the answer tell only what may have changed: point to "" the first time, then to the last token of the same
	// list.
	Since *string `json:"since,omitempty"`
}

// An Answer is the answer to a question.
type Answer struct {
	Peers    []Peer `json:"peers"`
	Complete bool   `json:"complete"` // every peer is told; only with Since
	Token    string `json:"token"`    // only with Since
}

// Ask asks a question.
func (c *Client) Ask(ctx context.Context, q Question) (a Answer, err error) {
	if q.Peers == nil {
		q.Peers = []string{}
	}
	err = c.call(ctx, http.MethodPost, "/v1/peers/query", q, &a)
	return a, err
}

// Get asks what one peer is, with all that the key may see.
func (c *Client) Get(ctx context.Context, peer string) (p Peer, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/peers/"+url.PathEscape(peer), nil, &p)
	return p, err
}

// An Event is a report of one session.
type Event struct {
	Peer     string `json:"peer"`
	State    string `json:"state"` // online, offline or touch
	Session  string `json:"session,omitempty"`
	Node     string `json:"node,omitempty"`
	Time     int64  `json:"time,omitempty"` // Unix milliseconds
	Inc      int64  `json:"inc,omitempty"`
	Platform string `json:"platform,omitempty"`
	Why      string `json:"why,omitempty"`
	ID       string `json:"id,omitempty"`
	TTL      int    `json:"ttl,omitempty"` // seconds
}

// A Tally says what became of a batch of events.
type Tally struct {
	Accepted, Double, Late, Stale, Ignored, Full int
}

// Report tells the server what happened to sessions. Sending the same events again is safe.
func (c *Client) Report(ctx context.Context, events ...Event) (t Tally, err error) {
	if events == nil {
		events = []Event{}
	}
	err = c.call(ctx, http.MethodPost, "/v1/events", map[string]any{"events": events}, &t)
	return t, err
}

// call makes a call and reads its answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	res, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	return nil
}

// send makes a request; an answer that is not 200 is an error.
func (c *Client) send(ctx context.Context, method, path string, in any, head map[string]string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, err
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
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range head {
		r.Header.Set(k, v)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		return nil, refusal(res)
	}
	return res, nil
}

func refusal(res *http.Response) error {
	e := &Error{Status: res.StatusCode}
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(b, e) != nil || e.Code == "" {
		e.Code, e.Text = "http_"+strconv.Itoa(res.StatusCode), "the server answered "+res.Status
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// final reports whether err is a refusal that trying again would not change.
func final(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.temporary()
}
