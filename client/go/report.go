package rollcall

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// An Event is a report of one session.
type Event struct {
	Peer    string `json:"peer"`
	State   string `json:"state"` // online, offline, touch, end_all or reach
	Session string `json:"session,omitempty"`
	// Prefix is that of the ids of the sessions that an end_all ends; empty ends all of the peer.
	Prefix   string `json:"prefix,omitempty"`
	Node     string `json:"node,omitempty"`
	Time     int64  `json:"time,omitempty"` // Unix milliseconds
	Inc      int64  `json:"inc,omitempty"`
	Platform string `json:"platform,omitempty"`
	Why      string `json:"why,omitempty"`
	// Names the event, so that it counts once; Report makes one when it is empty.
	ID  string `json:"id,omitempty"`
	TTL int    `json:"ttl,omitempty"` // seconds

	// Seq is any number that rises with the events of a session; of two with the same Time the
	// greater one is later.
	Seq uint64 `json:"seq,omitempty"`

	Activity Doing  `json:"activity,omitempty"`  // of an online or a touch
	ActiveAt int64  `json:"active_at,omitempty"` // with Activity, Unix milliseconds
	Reach    string `json:"reach,omitempty"`     // of a reach: yes, quiet or no
}

// A Tally says what became of a batch of events.
type Tally struct {
	Accepted, Double, Late, Stale, Ignored, Full int

	// Expired were taken, and their lease was over when they came: the clock here is behind, or
	// they were late.
	Expired int `json:"expired_on_arrival"`

	Errors []EventError // of the first that were not understood
}

// An EventError says why an event was not understood.
type EventError struct {
	Index int    `json:"index"`
	Code  string `json:"code"`
	Text  string `json:"error"`
	Field string `json:"field"` // at fault; empty when it is none in particular
}

// Report reports what happened to sessions. An event without an id gets one, so that it counts once
// however often this call is retried. When the call fails the ids are written to events: sending
// the same slice again is safe.
func (c *Client) Report(ctx context.Context, events ...Event) (Tally, error) {
	named := append([]Event{}, events...)
	for i := range named {
		if named[i].ID == "" {
			named[i].ID = rand.Text()
		}
	}
	var out struct {
		Tally
		Accepted *int // says that it is a tally
	}
	_, err := c.call(ctx, http.MethodPost, "/v1/events", map[string]any{"events": named}, into(&out, func() bool { return out.Accepted != nil }))
	if err != nil {
		copy(events, named)
		return Tally{}, err
	}
	out.Tally.Accepted = *out.Accepted
	return out.Tally, nil
}

// Beat renews all sessions of a node for another lease, and returns the lease that counts. 0 asks
// for the lease of the last beat, or the server's default.
func (c *Client) Beat(ctx context.Context, node string, lease time.Duration) (time.Duration, error) {
	in := map[string]int64{}
	if lease > 0 {
		in["lease"] = int64((lease + time.Second - 1) / time.Second)
	}
	var out struct{ Lease *int64 }
	_, err := c.call(ctx, http.MethodPost, nodePath(node, "beat"), in, into(&out, func() bool { return out.Lease != nil }))
	if err != nil {
		return 0, err
	}
	return time.Duration(*out.Lease) * time.Second, nil
}

// Drain says that a node stops: its sessions have the grace that it returns to come back elsewhere.
func (c *Client) Drain(ctx context.Context, node string) (time.Duration, error) {
	var out struct{ Grace *int64 }
	_, err := c.call(ctx, http.MethodPost, nodePath(node, "drain"), struct{}{}, into(&out, func() bool { return out.Grace != nil }))
	if err != nil {
		return 0, err
	}
	return time.Duration(*out.Grace) * time.Second, nil
}

// A Session is one session of a node's list.
type Session struct {
	Peer     string `json:"peer"`
	Session  string `json:"session"`
	Time     int64  `json:"time,omitempty"` // when it began, in Unix milliseconds
	Inc      int64  `json:"inc,omitempty"`
	Platform string `json:"platform,omitempty"`
	TTL      int    `json:"ttl,omitempty"` // seconds
}

// Resync replaces the sessions of a node by a complete list: those on it are online, all others of
// the node end. at is when the list was made: later reports of the node stand. Zero is when it
// arrives; then report nothing of the node meanwhile. It returns what became of the list, and how
// many sessions ended.
func (c *Client) Resync(ctx context.Context, node string, sessions []Session, at time.Time) (t Tally, ended int, err error) {
	in := map[string]any{"sessions": slices.Concat([]Session{}, sessions)}
	if !at.IsZero() {
		in["time"] = at.UnixMilli()
	}
	var out struct {
		Tally
		Ended *int
	}
	_, err = c.call(ctx, http.MethodPut, nodePath(node, "sessions"), in, into(&out, func() bool { return out.Ended != nil }))
	if err != nil {
		return Tally{}, 0, err
	}
	return out.Tally, *out.Ended, nil
}

// nodePath returns the path of a call about one node. A name that a path does not carry is refused
// by the server.
func nodePath(node, part string) string { return "/v1/nodes/" + url.PathEscape(node) + "/" + part }
