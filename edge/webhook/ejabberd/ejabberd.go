// Package ejabberd reads what mod_rollcall posts, the module of ejabberd in examples/ejabberd: the
// sessions that were opened and closed, and those that go on, again and again.
package ejabberd

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/generic"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what mod_rollcall sends.
type Kind struct{}

// Name returns "ejabberd".
func (Kind) Name() string { return "ejabberd" }

// Defaults returns a lease for calls that name none.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 150 * time.Second, Hold: 10 * time.Second, ProofInBody: true, Many: true}
}

// Check takes as the user "local", the part before the @, or "jid", the bare JID.
func (Kind) Check(s *webhook.Source) error {
	if s.User != "" && s.User != "local" && s.User != "jid" {
		return fmt.Errorf("user is %.40q; of ejabberd it is local or jid", s.User)
	}
	return nil
}

// Verify checks the signature, which is that of the kind generic.
func (Kind) Verify(c *webhook.Call) error { return generic.Kind{}.Verify(c) }

// Sign signs as the kind generic.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	return generic.Kind{}.Sign(r, s, at)
}

// A session is what the module says of one, at one time.
type session struct {
	JID    webhook.Text   `json:"jid"`
	Online *bool          `json:"online"`
	At     webhook.Number `json:"at"`
	// Since is when the session was opened: a later one may have the same resource.
	Since webhook.Number `json:"since"`
	Why   webhook.Text   `json:"why"`
}

// Read reads {"lease": seconds, "sessions": […]}. The session is the resource.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in struct {
		Lease    webhook.Number    `json:"lease"`
		Sessions []json.RawMessage `json:"sessions"`
	}
	if err := c.Decode(&in); err != nil {
		return err
	}
	if in.Sessions == nil {
		return webhook.Shape("sessions is missing: a list")
	}
	lease := time.Duration(0)
	if in.Lease > 0 && in.Lease <= webhook.Number(presence.MaxLease/time.Second) {
		lease = time.Duration(in.Lease) * time.Second
	}
	for _, raw := range in.Sessions {
		var s session
		if json.Unmarshal(raw, &s) != nil || s.Online == nil {
			b.Ignore()
			continue
		}
		s.add(lease, c.Source.User, b)
	}
	return nil
}

func (s *session) add(lease time.Duration, user string, b *webhook.Batch) {
	bare, resource, _ := strings.Cut(string(s.JID), "/")
	local, _, ok := strings.Cut(bare, "@")
	if !ok || local == "" || resource == "" {
		b.Ignore() // no JID of a session
		return
	}
	if user != "jid" {
		bare = local
	}
	e := intake.Event{
		Peer: presence.PeerID(bare), Session: presence.SessionID(resource), Kind: presence.KindOnline,
		At: s.At.Millis(), Incarnation: s.Since.Millis(), Lease: lease,
	}
	if !*s.Online {
		e.Kind, e.Lease = presence.KindOffline, 0
		e.Cause, _ = presence.ParseCause(string(s.Why))
	}
	b.Add(&e)
}

// Reply answers what became of the sessions.
func (Kind) Reply(c *webhook.Call, o webhook.Outcome) webhook.Reply {
	return generic.Kind{}.Reply(c, o)
}
