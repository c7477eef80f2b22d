// Package easemob reads the webhooks of Easemob (环信) and of Agora Chat, which has the same: the
// post-send callback of the users' status.
package easemob

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what Easemob sends.
type Kind struct{}

// Name returns "easemob".
func (Kind) Name() string { return "easemob" }

// Defaults returns a lease of a day: there is no heartbeat, and an end may be lost. The proof
// covers the name and the time of a call and not what it says.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true, ProofInBody: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

type event struct {
	CallID    webhook.Text    `json:"callId"`
	Security  webhook.Text    `json:"security"`
	Timestamp json.RawMessage `json:"timestamp"` // its digits are signed
	AppKey    webhook.Text    `json:"appkey"`
	User      webhook.Text    `json:"user"`
	Reason    webhook.Text    `json:"reason"`
	Status    webhook.Text    `json:"status"`
	OS        webhook.Text    `json:"os"`
}

func (e *event) digits() string { return strings.Trim(string(e.Timestamp), `"`) }

func decode(c *webhook.Call) (*event, error) {
	if in, ok := c.Parsed.(*event); ok {
		return in, nil
	}
	in := new(event)
	if err := c.Decode(in); err != nil {
		return nil, err
	}
	c.Parsed = in
	return in, nil
}

// Verify checks md5(callId + secret + timestamp). The proof is inside the body, so this much of it
// is read before.
func (Kind) Verify(c *webhook.Call) error {
	in, err := decode(c)
	if err != nil {
		return webhook.ErrUnproven
	}
	return c.Hex(string(in.Security), func(secret string) []byte { return sum(string(in.CallID), secret, in.digits()) })
}

// OfApp looks at the app key in the body.
func (Kind) OfApp(c *webhook.Call) bool {
	in, err := decode(c)
	return err == nil && string(in.AppKey) == c.Source.AppID
}

func sum(call, secret, stamp string) []byte {
	sum := md5.Sum([]byte(call + secret + stamp))
	return sum[:]
}

// Sign puts the time and the hash into the body. The time is that of the event, too.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	var in event
	return r.Edit(func(members map[string]json.RawMessage) {
		_ = json.Unmarshal(r.Body, &in) // what is no text is as if it were missing
		stamp := strconv.FormatInt(int64(at), 10)
		members["timestamp"] = json.RawMessage(stamp)
		members["security"] = json.RawMessage(`"` + hex.EncodeToString(sum(string(in.CallID), s.Secret, stamp)) + `"`)
	})
}

// Read reads one event. The session is the resource of the user, which names the device.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	in, err := decode(c)
	if err != nil {
		return err
	}
	var at webhook.Number
	_ = at.UnmarshalJSON([]byte(`"` + in.digits() + `"`)) // what is no number is no time
	e := intake.Event{Platform: strings.ToLower(string(in.OS)), At: at.Millis()}
	e.Peer, e.Session = in.name()
	switch in.Status {
	case "online":
		e.Kind = presence.KindOnline
	case "offline":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
		switch in.Reason {
		case "logout":
			e.Cause = presence.CauseLogout
		case "replaced":
			e.Cause = presence.CauseReplaced
		}
	default:
		b.Ignore()
		return nil
	}
	b.Add(&e)
	return nil
}

// name parts APPKEY_USER@DOMAIN/RESOURCE. What has another shape is the user as it is.
func (e *event) name() (presence.PeerID, presence.SessionID) {
	user := strings.TrimPrefix(string(e.User), string(e.AppKey)+"_")
	address, resource, _ := strings.Cut(user, "/")
	at := strings.LastIndex(address, "@")
	if at < 0 {
		return presence.PeerID(user), ""
	}
	return presence.PeerID(address[:at]), presence.SessionID(resource)
}

// Reply answers with a status: a longer body would get the address banned.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
