// Package emqx reads the webhooks of EMQX 5 and 6: a rule on $events/client/connected and
// $events/client/disconnected whose action posts the event as JSON.
//
// EMQX signs nothing; the action sends the secret of the source as "Authorization: Bearer SECRET".
package emqx

import (
	"fmt"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what EMQX sends.
type Kind struct{}

// Name returns "emqx".
func (Kind) Name() string { return "emqx" }

// Defaults returns a lease of a day: a node that crashes sends no disconnects.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true}
}

const attribute = "client_attrs."

// Check takes as the user "username", "clientid" or "client_attrs.NAME".
func (Kind) Check(s *webhook.Source) error {
	switch {
	case s.User == "", s.User == "username", s.User == "clientid", len(s.User) > len(attribute) && strings.HasPrefix(s.User, attribute):
		return nil
	}
	return fmt.Errorf("user is %.40q; of emqx it is username, clientid or client_attrs.NAME", s.User)
}

// Verify wants the secret as a bearer token.
func (Kind) Verify(c *webhook.Call) error { return c.Bearer() }

// Sign shows the secret as a bearer token.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	r.Bearer(s.Secret)
	return nil
}

// event is what both events have.
type event struct {
	Event       webhook.Text            `json:"event"`
	ClientID    webhook.Text            `json:"clientid"`
	Username    webhook.Text            `json:"username"`
	Attributes  map[string]webhook.Text `json:"client_attrs"`
	Bridge      bool                    `json:"is_bridge"`
	ConnectedAt webhook.Number          `json:"connected_at"`
	Timestamp   webhook.Number          `json:"timestamp"`
	Reason      webhook.Text            `json:"reason"`
}

// causes are those of the reasons that EMQX documents; any other is of a connection that was lost.
var causes = map[webhook.Text]presence.Cause{"normal": presence.CauseLogout, "kicked": presence.CauseKicked}

// Read reads one event. The session is the MQTT client, and its incarnation the time at which the
// connection was made: the end of a connection may be reported after the begin of the next.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	e := intake.Event{
		Peer: in.peer(c.Source.User), Session: presence.SessionID(in.ClientID), At: in.Timestamp.Millis(), Incarnation: in.ConnectedAt.Millis(),
	}
	switch {
	case in.Bridge:
		b.Ignore()
		return nil
	case in.Event == "client.connected":
		e.Kind = presence.KindOnline
	case in.Event == "client.disconnected" && (in.Reason == "takenover" || in.Reason == "discarded"):
		// The same client has connected again.
		b.Ignore()
		return nil
	case in.Event == "client.disconnected":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
		if cause, ok := causes[in.Reason]; ok {
			e.Cause = cause
		}
	default:
		b.Ignore()
		return nil
	}
	b.Add(&e)
	return nil
}

// peer returns the user; EMQX writes "undefined" for what is not there.
func (e *event) peer(from string) presence.PeerID {
	user := e.Username
	if from == "clientid" {
		user = e.ClientID
	} else if name, ok := strings.CutPrefix(from, attribute); ok {
		user = e.Attributes[name]
	}
	if user == "undefined" {
		return ""
	}
	return presence.PeerID(user)
}

// Reply answers with a status: EMQX looks at nothing else.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
