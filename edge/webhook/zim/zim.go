// Package zim reads the webhooks of ZEGO ZIM (即构): the callback of the users' actions.
package zim

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what ZIM sends.
type Kind struct{}

// Name returns "zim".
func (Kind) Name() string { return "zim" }

// Defaults returns a lease of a day: ZEGO says that callbacks may be lost. The proof covers a
// number and the time, not what the call says.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true, ProofInBody: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

type event struct {
	AppID     webhook.Text    `json:"appid"`
	Event     webhook.Text    `json:"event"`
	Timestamp webhook.Text    `json:"timestamp"` // seconds; its digits are signed
	Nonce     webhook.Text    `json:"nonce"`
	Signature webhook.Text    `json:"signature"`
	User      webhook.Text    `json:"user_id"`
	OS        webhook.Text    `json:"os"`
	Action    *webhook.Number `json:"action"`
}

// decode reads a body in JSON, which may be escaped as in a URL.
func decode(c *webhook.Call) (*event, error) {
	if in, ok := c.Parsed.(*event); ok {
		return in, nil
	}
	in := new(event)
	body, err := plain(c.Body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, in); err != nil {
		return nil, fmt.Errorf("%w: %w", webhook.ErrShape, err)
	}
	c.Parsed = in
	return in, nil
}

// plain returns body in JSON.
func plain(body []byte) ([]byte, error) {
	if len(body) == 0 || body[0] != '%' {
		return body, nil
	}
	text, err := url.QueryUnescape(string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", webhook.ErrShape, err)
	}
	return []byte(text), nil
}

// window is how old a call may be.
const window = 5 * time.Minute

// Verify checks sha1 of the secret, the timestamp and the nonce, in the order of the alphabet. The
// proof is inside the body, so this much of it is read before.
func (Kind) Verify(c *webhook.Call) error {
	in, err := decode(c)
	if err != nil {
		return webhook.ErrUnproven
	}
	err = c.Hex(string(in.Signature), func(secret string) []byte { return sum(secret, string(in.Timestamp), string(in.Nonce)) })
	if err != nil {
		return err
	}
	return c.Near(int64(in.at()), window)
}

// OfApp looks at the id of the app in the body.
func (Kind) OfApp(c *webhook.Call) bool {
	in, err := decode(c)
	return err == nil && string(in.AppID) == c.Source.AppID
}

func sum(parts ...string) []byte {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return sum[:]
}

// Sign puts the time, a number and the hash into the body. The time is that of the event, too.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	if body, err := plain(r.Body); err == nil {
		r.Body = body
	}
	return r.Edit(func(members map[string]json.RawMessage) {
		stamp, nonce := strconv.FormatInt(int64(at)/1000, 10), strconv.Itoa(rand.IntN(1<<30))
		members["timestamp"] = json.RawMessage(stamp)
		members["nonce"] = json.RawMessage(`"` + nonce + `"`)
		members["signature"] = json.RawMessage(`"` + hex.EncodeToString(sum(s.Secret, stamp, nonce)) + `"`)
	})
}

func (e *event) at() presence.Millis {
	var n webhook.Number
	_ = n.UnmarshalJSON([]byte(`"` + string(e.Timestamp) + `"`)) // what is no number is no time
	return n.SecondsMillis()
}

// Read reads one event. The session is the system of the device, since ZIM names no connection.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	in, err := decode(c)
	if err != nil {
		return err
	}
	if in.Event != "user_action" || in.Action == nil {
		b.Ignore()
		return nil
	}
	class := strings.ToLower(string(in.OS))
	if class == "" {
		class = "unknown"
	}
	e := intake.Event{
		Peer: presence.PeerID(in.User), Session: presence.SessionID(class), Platform: class, At: in.at(), Kind: presence.KindOffline, Cause: presence.CauseLost,
	}
	switch *in.Action {
	case 0:
		e.Kind, e.Cause = presence.KindOnline, presence.CauseUnknown
	case 1:
		e.Cause = presence.CauseLogout
	}
	b.Add(&e)
	return nil
}

// Reply answers with a status.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
