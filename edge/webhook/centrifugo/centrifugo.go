// Package centrifugo reads the refresh proxy of Centrifugo 5 and 6, which asks once a minute
// whether a connection may go on: so long it is there.
//
// There is no call when a connection ends, so a session lives by its lease. The connect proxy stays
// with the app's backend, which alone can say who connects.
package centrifugo

import (
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
	// refresh is how long a connection may go on before Centrifugo asks again.
	refresh = 60 * time.Second
	// spare is how late it may ask.
	spare = 15 * time.Second
)

// Defaults returns a lease of a refresh and some seconds.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: refresh + spare, Hold: 10 * time.Second, Open: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// Verify wants the secret as a bearer token, which Centrifugo sends as a static header.
func (Kind) Verify(c *webhook.Call) error { return c.Bearer() }

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
	until := c.Now.Add(c.Source.Lease - spare)
	if c.Source.Lease <= 2*spare {
		until = c.Now.Add(c.Source.Lease / 2)
	}
	return webhook.Reply{Status: o.Status(), Body: []byte(`{"result":{"expire_at":` + strconv.FormatInt(int64(until)/1000, 10) + "}}\n")}
}
