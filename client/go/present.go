package rollcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Presence says who is to be present and on what.
type Presence struct {
	Peer string
	// Device tells this device from the peer's others, so that it takes its own place when it comes back.
	Device   string
	Tag      string // device class: of one tag one device is present
	Platform string // for display
	// Changed, when it is not nil, is called when the server says that the peer is present, and when that ends.
	Changed func(present bool)
}

// Present keeps a peer online over a socket until ctx ends, which logs it out. It connects again after a break. It
// returns nil when ctx ends, or a refusal that trying again would not change, as when another device takes the place.
func (c *Client) Present(ctx context.Context, p Presence) error {
	var b backoff
	return b.repeat(ctx, func() error { return c.present(ctx, &p, &b) })
}

// said is a message of the server.
type said struct {
	Op    string `json:"op"`
	ID    int    `json:"id"`
	Code  string `json:"code"`
	Text  string `json:"error"`
	Cause string `json:"cause"`
	Retry int    `json:"retry_after"`
}

// present holds one socket until it breaks.
func (c *Client) present(ctx context.Context, p *Presence, b *backoff) error {
	ws, err := dial(ctx, c.base, "/v1/socket")
	if err != nil {
		return err
	}
	defer ws.close()
	// When ctx ends the logout goes out before the socket does.
	stop := context.AfterFunc(ctx, func() {
		_ = ws.write([]byte(`{"op":"absent","id":3}`))
		ws.leaving.Store(true)
		_ = ws.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	})
	defer stop()
	key := c.cfg.Key
	if key == "" {
		key = c.cfg.MasterKey
	}
	for _, m := range []map[string]any{
		{"op": "hello", "id": 1, "app": c.cfg.App, "key": key},
		{"op": "present", "id": 2, "peer": p.Peer, "device": p.Device, "tag": p.Tag, "platform": p.Platform, "auto": b.tries > 0},
	} {
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := ws.write(raw); err != nil {
			return err
		}
	}
	present := false
	defer func() {
		if present && p.Changed != nil {
			p.Changed(false)
		}
	}()
	for {
		raw, err := ws.read()
		if err != nil {
			return err
		}
		var m said
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("read the server's word: %w", err)
		}
		switch {
		case m.Op == "ok" && m.ID == 2:
			present, b.tries = true, 0
			if p.Changed != nil {
				p.Changed(true)
			}
		case m.Op == "ok" && m.ID == 3:
			return errors.New("logged out")
		case m.Op == "error":
			return refused(&m)
		case m.Op == "ended":
			return &Error{Status: http.StatusConflict, Code: m.Cause, Text: "the server ended the session"}
		case m.Op == "bye":
			return errBroken
		}
	}
}

// refused turns a refusal on a socket into one of a call.
func refused(m *said) error {
	e := &Error{Status: http.StatusBadRequest, Code: m.Code, Text: m.Text, RetryAfter: time.Duration(m.Retry) * time.Second}
	switch m.Code {
	case "unavailable", "full", "shutting_down", "internal", "too_many_watchers":
		e.Status = http.StatusServiceUnavailable
	case "rate_limited":
		e.Status = http.StatusTooManyRequests
	}
	return e
}
