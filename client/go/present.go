package rollcall

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// A Presence says who is to be present and on what.
type Presence struct {
	Peer string
	// Device names what the peer is on, the same each time. Empty, it is a random id that lives as
	// long as the call of Present.
	Device   string
	Tag      string    // device class: of one tag one device is present
	Platform string    // for display
	Activity *Activity // what the user does; nil: not said
	// Sign, when it is not nil, asks your server for a login signature of the peer, before each
	// connection.
	Sign func(ctx context.Context, peer string) (Signature, error)
	// Changed, when it is not nil, is called when the server says that the peer is present, and
	// when that ends.
	Changed func(present bool)
}

// A Signature lets a peer be present where the server wants login signatures.
type Signature struct {
	Time  int64 // Unix milliseconds
	Nonce string
	Sign  string
}

// Present keeps a peer online over a socket of its own until ctx ends, which logs it out. It
// connects again after a break. It returns nil when ctx ends, or an [*Error] that a retry would not
// change, as when another device takes the place.
func (c *Client) Present(ctx context.Context, p Presence) error {
	if p.Device == "" {
		p.Device = rand.Text()
	}
	s := presence{Presence: p, client: c}
	return c.keep(ctx, func(b *backoff) error { return s.connect(ctx, b) })
}

type presence struct {
	Presence
	client *Client
	// Present at least once: from then on it comes back by itself, and yields to another device of
	// its tag.
	was bool
}

// goodbye is how long a logout may take.
const goodbye = 2 * time.Second

// connect holds one socket until it breaks.
func (p *presence) connect(ctx context.Context, b *backoff) error {
	greeting, word, err := p.greeting(ctx)
	if err != nil {
		return err
	}
	ws, err := p.client.dial(ctx)
	if err != nil {
		return err
	}
	defer ws.close()
	for _, m := range greeting {
		if err := ws.say(m); err != nil {
			return err
		}
	}
	// When ctx ends the logout goes out before the socket does.
	stop := context.AfterFunc(ctx, func() {
		ws.leave()
		_ = ws.say(map[string]any{"op": "absent", "id": 3})
	})
	defer stop()
	shown, _ := greeting[0]["user_token"].(string)
	r := renewer{token: p.client.token, say: ws.say, refused: make(chan struct{}, 1)}
	t := teller{activity: p.Activity, say: ws.say, shown: word, present: make(chan struct{}), refused: make(chan time.Duration, 1)}
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	if shown != "" {
		beside.Go(func() { r.run(ctx, shown) })
	}
	if p.Activity != nil {
		beside.Go(func() { t.run(ctx) })
	}
	return p.listen(ws, &r, &t, shown, b)
}

// listen takes what the server sends until the socket breaks. shown is the user token of the
// greeting, "" for none.
func (p *presence) listen(ws *websocket, r *renewer, t *teller, shown string, b *backoff) error {
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
		var m reply
		if json.Unmarshal(raw, &m) != nil {
			return &Error{Code: CodeForeign, Text: "the socket brought a message that is not rollcall's"}
		}
		switch {
		case m.ID == renewal:
			r.answered(m.Op == "ok")
		case m.ID == wordID:
			t.answered(&m)
		case m.Op == "ok" && m.ID == 2:
			present, p.was, b.tries = true, true, 0
			close(t.present)
			if p.Changed != nil {
				p.Changed(true)
			}
		case m.Op == "ok" && m.ID == 3:
			return errBroken
		case m.Op == "error":
			err := m.refusal()
			if p.Sign != nil && err.Code == "signature_expired" {
				err.Status = http.StatusServiceUnavailable // the next one is newer
			}
			if shown != "" && (err.Code == codeEnded || err.Code == "unauthorized") {
				p.client.token.refuse(shown)
			}
			return err
		case m.Op == "ended":
			e := &Error{Status: http.StatusConflict, Code: m.Cause, Text: "the server ended the session: " + cmp.Or(m.Reason, m.Cause)}
			if m.Cause != "kicked" && m.Cause != "replaced" {
				e.Status = http.StatusServiceUnavailable // what a later server may end begins anew
			}
			return e
		case m.Op == "bye":
			return errBroken
		}
	}
}

// greeting returns the two messages that a socket begins with, and what the second says of the
// activity.
func (p *presence) greeting(ctx context.Context) ([]map[string]any, doing, error) {
	hello := map[string]any{"op": "hello", "id": 1, "app": p.client.cfg.App}
	if err := p.client.secret(ctx, hello, p.Peer); err != nil {
		return nil, doing{}, err
	}
	login := map[string]any{
		"op": "present", "id": 2, "peer": p.Peer, "device": p.Device, "tag": p.Tag, "platform": p.Platform, "auto": p.was,
	}
	if p.Sign != nil {
		sig, err := p.Sign(ctx, p.Peer)
		if err != nil {
			return nil, doing{}, unreachable("sign", err)
		}
		login["time"], login["nonce"], login["sign"] = sig.Time, sig.Nonce, sig.Sign
	}
	word, _ := p.Activity.get()
	word.put(login)
	return []map[string]any{hello, login}, word, nil
}

// secret adds to hello what lets the client in.
func (c *Client) secret(ctx context.Context, hello map[string]any, peers ...string) error {
	switch {
	case c.cfg.Ticket != nil:
		ticket, err := c.cfg.Ticket(ctx, peers)
		if err != nil {
			return unreachable("buy a ticket", err)
		}
		hello["ticket"] = ticket
	case c.token != nil:
		text, _, err := c.token.get(ctx)
		if err != nil {
			return err
		}
		hello["user_token"] = text
	case c.cfg.Key != "":
		hello["key"] = c.cfg.Key
	default:
		hello["key"] = c.cfg.MasterKey
	}
	return nil
}

// A reply is a message of the server.
type reply struct {
	Op    string `json:"op"`
	ID    int    `json:"id"`
	Code  string `json:"code"`
	Text  string `json:"error"`
	Cause string `json:"cause"`

	Reason string `json:"reason"`
	Retry  int    `json:"retry_after"`
}

// refusal turns a refusal on a socket into one of a call.
func (m *reply) refusal() *Error {
	e := &Error{Status: http.StatusBadRequest, Code: m.Code, Text: m.Text, RetryAfter: time.Duration(m.Retry) * time.Second}
	switch m.Code {
	case "unavailable", "full", "shutting_down", "internal", "too_many_watchers":
		e.Status = http.StatusServiceUnavailable
	case "rate_limited":
		e.Status = http.StatusTooManyRequests
	}
	return e
}
