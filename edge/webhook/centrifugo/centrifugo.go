// Package centrifugo reads the refresh proxy of Centrifugo 5 and 6, which asks about once a minute
// whether a connection may go on: so long it is there.
//
// There is no call when a connection ends, so a session lives by its lease. The connect proxy stays
// with the app's backend, which alone can say who connects.
package centrifugo

import (
	"fmt"
	"strconv"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what Centrifugo sends.
type Kind struct{}

// Name returns "centrifugo".
func (Kind) Name() string { return "centrifugo" }

const (
	// missed is how long Centrifugo waits after a refresh that failed before it asks again.
	missed = 60 * time.Second
	// spare is how late it may ask.
	spare = 15 * time.Second
	// least is the shortest lease: Centrifugo counts in whole seconds of its own clock, and ends a
	// connection whose time has passed by it.
	least = 20 * time.Second
)

// Defaults returns a lease that one refresh which failed does not end.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: missed + missed + spare, Hold: 10 * time.Second, Open: true}
}

// Check refuses a lease for which connections would be ended.
func (Kind) Check(s *webhook.Source) error {
	if s.Lease < least {
		return fmt.Errorf("lease is %v; Centrifugo needs at least %v", s.Lease, least)
	}
	return nil
}

// Verify wants the secret as a bearer token, which Centrifugo sends as a static header.
func (Kind) Verify(c *webhook.Call) error { return c.Bearer() }

// Sign shows the secret as a bearer token.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	r.Bearer(s.Secret)
	return nil
}

type event struct {
	Client webhook.Text `json:"client"`
	User   webhook.Text `json:"user"`
}

// Read reads one refresh. The session is the connection, under the id that Centrifugo gives it.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	if in.Client == "" || in.User == "" {
		b.Ignore() // an anonymous connection
		return nil
	}
	b.Add(&intake.Event{Peer: presence.PeerID(in.User), Session: presence.SessionID(in.Client), Kind: presence.KindTouch})
	return nil
}

// Reply says until when the connection may go on. A call that failed leaves it to Centrifugo to ask
// again.
func (Kind) Reply(c *webhook.Call, o webhook.Outcome) webhook.Reply {
	if o.Err != nil {
		return webhook.Reply{Status: o.Status()}
	}
	until := c.Now.Add(max(c.Source.Lease/2, c.Source.Lease-missed-spare))
	return webhook.Reply{Status: o.Status(), Body: []byte(`{"result":{"expire_at":` + strconv.FormatInt(int64(until)/1000, 10) + "}}\n")}
}
