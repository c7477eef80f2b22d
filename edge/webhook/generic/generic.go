// Package generic reads the events of POST /v1/events under a secret of their own, for a backend or
// a bridge that should hold no key of the app.
package generic

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// Kind reads our own format.
type Kind struct{}

// Name returns "generic".
func (Kind) Name() string { return "generic" }

// Defaults returns a lease of a week, as that of /v1/events.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 7 * 24 * time.Hour, Hold: 10 * time.Second, ProofInBody: true, Many: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// Verify checks the signature of the headers X-Rollcall-Time and X-Rollcall-Signature, as that of
// /v1/events in its second version: over the time, the method, the path with its query, and the
// body.
func (Kind) Verify(c *webhook.Call) error {
	stamp := c.Header.Get(api.TimeHeader)
	signature, ok := strings.CutPrefix(c.Header.Get(api.SignatureHeader), "v2=")
	if !ok {
		return webhook.ErrUnproven
	}
	if err := c.Hex(signature, func(secret string) []byte { return api.Sign(secret, stamp, c.Method, c.Target, c.Body) }); err != nil {
		return err
	}
	whole, _, _ := strings.Cut(stamp, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec < 0 || sec > 1e11 {
		return webhook.ErrExpired
	}
	return c.Near(sec*1000, api.SignatureWindow)
}

// Sign sets the two headers.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	stamp := fmt.Sprintf("%d.%03d", at/1000, at%1000) // so that equal calls of one second differ
	r.Header.Set(api.TimeHeader, stamp)
	r.Header.Set(api.SignatureHeader, "v2="+hex.EncodeToString(api.Sign(s.Secret, stamp, r.Method, r.Target(), r.Body)))
	return nil
}

// maxEvents is how many events a call may carry.
const maxEvents = 1000

// Read reads {"events": […]}. The same signature is good for some minutes, so an event that has
// neither a time nor an id of its own counts once in each signed call: a call that is sent again,
// by its sender or by a stranger who saw it, says nothing new.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	events, n, err := strictjson.Split(c.Body, "events", maxEvents)
	switch {
	case err != nil:
		return webhook.Shape(err.Error())
	case n < 0:
		return webhook.Shape("events is missing: a list of reports")
	case n > maxEvents:
		return webhook.Shape("one call may carry 1000 events")
	}
	delivery := ""
	if c.Source.Secret != "" {
		delivery = strings.ToLower(c.Header.Get(api.SignatureHeader)) // in any case the same
	}
	for i, raw := range events {
		e, err := intake.ParseEvent(raw)
		if err != nil {
			b.AddJSON(raw) // which says what is wrong
			continue
		}
		if delivery != "" && e.At == 0 && e.ID == "" {
			e.ID = delivery + "/" + strconv.Itoa(i)
		}
		b.Add(&e)
	}
	return nil
}

// Reply answers what became of the events, as /v1/events does.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply {
	if o.Err != nil {
		return webhook.Reply{Status: o.Status()}
	}
	return webhook.JSONReply(o.Tally)
}
