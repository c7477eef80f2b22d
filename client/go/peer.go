package rollcall

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Status is what a peer is.
type Status string

// The statuses. Unknown: no report of the peer, or it is forgotten.
const (
	Online  Status = "online"
	Offline Status = "offline"
	Unknown Status = "unknown"
)

// A Peer is what the server says of one peer. The app key gets the status only.
type Peer struct {
	ID       string   `json:"peer"`
	Status   Status   `json:"status"`
	Since    int64    `json:"since,omitempty"`     // Unix milliseconds
	LastSeen int64    `json:"last_seen,omitempty"` // Unix milliseconds
	Cause    string   `json:"cause,omitempty"`
	Devices  []string `json:"devices,omitempty"`
	Version  uint64   `json:"version,omitempty"`

	Activity Doing `json:"activity,omitempty"`
	// When the user last did something, Unix milliseconds.
	ActiveAt  int64         `json:"active_at,omitempty"`
	Reachable string        `json:"reachable,omitempty"` // yes, quiet, no or unknown
	Sessions  []PeerSession `json:"sessions,omitempty"`

	// Age is how long ago the server could last read its store; 0 while the answer is as fresh as
	// it can be.
	Age time.Duration `json:"-"`
}

// A PeerSession is an open session, or the last that ended on its platform when none is open there.
type PeerSession struct {
	Source   string `json:"source"`
	Session  string `json:"session,omitempty"`
	Platform string `json:"platform,omitempty"`
	Open     bool   `json:"open"`
	Since    int64  `json:"since,omitempty"`     // Unix milliseconds
	LastSeen int64  `json:"last_seen,omitempty"` // Unix milliseconds
	Cause    string `json:"cause,omitempty"`     // of its end
	Activity Doing  `json:"activity,omitempty"`
	ActiveAt int64  `json:"active_at,omitempty"` // Unix milliseconds
}

// Query asks what peers are; the answers come in their order.
func (c *Client) Query(ctx context.Context, peers ...string) ([]Peer, error) {
	a, err := c.Ask(ctx, Question{Peers: peers})
	return a.Peers, err
}

// A Question is a query with all it may hold.
type Question struct {
	Peers []string `json:"peers"`
	// Since, last_seen, cause, devices, activity, active_at, reachable, sessions; they need the
	// master key.
	Fields []string `json:"fields,omitempty"`
	// Since limits the answer to what may have changed: point to "" the first time, then to the
	// last token of the same list.
	Since *string `json:"since,omitempty"`
}

// An Answer is the answer to a question.
type Answer struct {
	Peers    []Peer        `json:"peers"`
	Complete bool          `json:"complete"` // it has every peer; only with Since
	Token    string        `json:"token"`    // only with Since
	Age      time.Duration `json:"-"`        // as in each Peer
}

// answers reports whether a is an answer to q.
func (a *Answer) answers(q *Question) bool {
	if a.Peers == nil || q.Since != nil && a.Token == "" || q.Since == nil && len(a.Peers) != len(q.Peers) {
		return false
	}
	for i := range a.Peers {
		if a.Peers[i].Status == "" {
			return false
		}
	}
	return true
}

// Ask asks a question.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	if q.Peers == nil {
		q.Peers = []string{}
	}
	var a Answer
	age, err := c.call(ctx, http.MethodPost, "/v1/peers/query", q, into(&a, func() bool { return a.answers(&q) }))
	if err != nil {
		return Answer{}, err
	}
	a.Age = age
	for i := range a.Peers {
		a.Peers[i].Age = age
	}
	return a, nil
}

// Get asks what one peer is, with all that the key may see.
func (c *Client) Get(ctx context.Context, peer string) (Peer, error) {
	var p Peer
	age, err := c.call(ctx, http.MethodGet, peerPath(peer, ""), nil, into(&p, func() bool { return p.ID != "" && p.Status != "" }))
	if err != nil {
		return Peer{}, err
	}
	p.Age = age
	return p, nil
}

// A Page is a part of the list of peers that are online.
type Page struct {
	Peers  []string      `json:"peers"`
	Cursor string        `json:"cursor"` // of the next page; empty on the last
	Age    time.Duration `json:"-"`      // as in Peer
}

// List returns the page of the peers that are online at cursor, empty for the first. It has at most
// limit peers, 0 for the server's own limit. It takes the master key.
func (c *Client) List(ctx context.Context, cursor string, limit int) (Page, error) {
	q := url.Values{"online": {"1"}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var p Page
	age, err := c.call(ctx, http.MethodGet, "/v1/peers?"+q.Encode(), nil, into(&p, func() bool { return p.Peers != nil }))
	if err != nil {
		return Page{}, err
	}
	p.Age = age
	return p, nil
}

// An Explanation says why a peer is shown as it is.
type Explanation struct {
	Peer   string          `json:"peer"`
	Status Status          `json:"status"`
	Why    string          `json:"why"` // for people
	All    json.RawMessage `json:"-"`   // the whole answer: sessions, leases, reports
	Age    time.Duration   `json:"-"`   // as in Peer
}

// Why explains why a peer is shown as it is. It takes the master key.
func (c *Client) Why(ctx context.Context, peer string) (Explanation, error) {
	var (
		raw json.RawMessage
		e   Explanation
	)
	age, err := c.call(ctx, http.MethodGet, peerPath(peer, "/why"), nil, func(b []byte) bool {
		raw = b
		return into(&e, func() bool { return e.Status != "" })(b)
	})
	if err != nil {
		return Explanation{}, err
	}
	e.All, e.Age = raw, age
	return e, nil
}

// A Day is how long a peer was online on one local day.
type Day struct {
	Day      string `json:"day"` // such as 2026-11-27
	OnlineMS int64  `json:"online_ms"`
}

// OnlineTime asks how long a peer was online on each of the last days. It takes the master key.
func (c *Client) OnlineTime(ctx context.Context, peer string) ([]Day, error) {
	var out struct {
		Peer string `json:"peer"`
		Days []Day  `json:"days"`
	}
	_, err := c.call(ctx, http.MethodGet, peerPath(peer, "/online-time"), nil, into(&out, func() bool { return out.Days != nil }))
	return out.Days, err
}

// Erase forgets a peer. It takes the master key.
func (c *Client) Erase(ctx context.Context, peer string) error {
	var out struct{ Erased *string }
	_, err := c.call(ctx, http.MethodDelete, peerPath(peer, ""), nil, into(&out, func() bool { return out.Erased != nil }))
	return err
}

// Kick ends every session of a peer and voids what it logged in with. It takes the master key.
func (c *Client) Kick(ctx context.Context, peer, reason string) error {
	var out map[string]any
	in := map[string]string{"client_id": peer}
	if reason != "" {
		in["reason"] = reason
	}
	_, err := c.call(ctx, http.MethodPost, "/1.2/rtm/client/kick", in, into(&out, func() bool { return out != nil }))
	return err
}

// A Ticket opens one stream or socket for a program that has no key.
type Ticket struct {
	Ticket  string `json:"ticket"`
	Expires int64  `json:"expires"` // when it must have been used, in Unix milliseconds
	Ends    int64  `json:"ends"`    // when what it opened ends, in Unix milliseconds
}

// A TicketRequest says what a ticket is for.
type TicketRequest struct {
	Peers  []string `json:"peers,omitempty"`  // exactly this list; empty is any
	Detail bool     `json:"detail,omitempty"` // it shows times and causes, if the key may see them
}

// Ticket buys a ticket. It must be used within 30 s.
func (c *Client) Ticket(ctx context.Context, r TicketRequest) (Ticket, error) {
	var t Ticket
	_, err := c.call(ctx, http.MethodPost, "/v1/ticket", r, into(&t, func() bool { return t.Ticket != "" }))
	return t, err
}

// peerPath returns the path of a call about one peer. The id goes into the query: a path does not
// carry every id.
func peerPath(peer, part string) string {
	return "/v1/peer" + part + "?" + url.Values{"id": {peer}}.Encode()
}
