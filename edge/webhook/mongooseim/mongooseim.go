// Package mongooseim reads what MongooseIM says of presence: the JSON of its RabbitMQ and SNS event
// pushers, as a shovel or an HTTP subscription passes it on.
package mongooseim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what MongooseIM sends.
type Kind struct{}

// Name returns "mongooseim".
func (Kind) Name() string { return "mongooseim" }

// Defaults returns a lease of a day.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true}
}

// Check takes as the user "local", the part before the @, or "jid", the bare JID.
func (Kind) Check(s *webhook.Source) error {
	if s.User != "" && s.User != "local" && s.User != "jid" {
		return fmt.Errorf("user is %.40q; of mongooseim it is local or jid", s.User)
	}
	return nil
}

// Verify wants the secret as a bearer token.
func (Kind) Verify(c *webhook.Call) error { return c.Bearer() }

// Sign shows the secret as a bearer token.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	r.Bearer(s.Secret)
	return nil
}

type event struct {
	JID     webhook.Text   `json:"user_id"`
	Present *bool          `json:"present"`
	Time    webhook.Number `json:"ts"` // Unix milliseconds, where the event pusher adds it
	// Of the envelope of SNS.
	Type      webhook.Text `json:"Type"`
	ID        webhook.Text `json:"MessageId"`
	Message   webhook.Text `json:"Message"`
	Timestamp webhook.Text `json:"Timestamp"`
}

// Read reads one event, a list of them, or one in the envelope of SNS. The session is the resource.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	if body := bytes.TrimSpace(c.Body); len(body) > 0 && body[0] == '[' {
		var list []json.RawMessage
		if err := c.Decode(&list); err != nil {
			return err
		}
		for _, raw := range list {
			var one event
			if json.Unmarshal(raw, &one) != nil {
				b.Ignore()
				continue
			}
			one.add(c.Source.User, b)
		}
		return nil
	}
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	if in.Type == "Notification" {
		outer := in
		in = event{}
		if json.Unmarshal([]byte(outer.Message), &in) != nil {
			b.Ignore()
			return nil
		}
		in.ID = outer.ID
		if at, err := time.Parse(time.RFC3339Nano, string(outer.Timestamp)); err == nil && in.Time == 0 {
			in.Time = webhook.Number(at.UnixMilli())
		}
	}
	in.add(c.Source.User, b)
	return nil
}

func (in *event) add(user string, b *webhook.Batch) {
	if in.Present == nil {
		b.Ignore() // a message, or the request to confirm a subscription
		return
	}
	bare, resource, _ := strings.Cut(string(in.JID), "/")
	if local, _, ok := strings.Cut(bare, "@"); ok && user != "jid" {
		bare = local
	}
	e := intake.Event{Peer: presence.PeerID(bare), Session: presence.SessionID(resource), At: in.Time.Millis(), ID: string(in.ID), Kind: presence.KindOnline}
	if !*in.Present {
		e.Kind = presence.KindOffline
	}
	b.Add(&e)
}

// Reply answers with a status.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
