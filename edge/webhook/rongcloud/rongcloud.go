// Package rongcloud reads the webhooks of RongCloud (融云): the subscription to the users' online
// status.
package rongcloud

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what RongCloud sends.
type Kind struct{}

// Name returns "rongcloud".
func (Kind) Name() string { return "rongcloud" }

// Defaults returns a lease of a day. The proof covers a number and the time, not the body.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// window is how old a call may be: a call that was not answered is sent again for some minutes.
const window = 5 * time.Minute

// Verify checks sha1(secret + nonce + signTimestamp) in the query.
func (Kind) Verify(c *webhook.Call) error {
	stamp, nonce := c.Query.Get("signTimestamp"), c.Query.Get("nonce")
	err := c.Hex(c.Query.Get("signature"), func(secret string) []byte { return sum(secret, nonce, stamp) })
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || at < 0 || at > 1e14 {
		return webhook.ErrExpired
	}
	return c.Near(at, window)
}

// OfApp looks at the app key in the query, where there is one.
func (Kind) OfApp(c *webhook.Call) bool {
	key := c.Query.Get("appKey")
	return key == "" || key == c.Source.AppID
}

func sum(secret, nonce, stamp string) []byte {
	sum := sha1.Sum([]byte(secret + nonce + stamp))
	return sum[:]
}

// Sign puts the time, a number and the hash into the query.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	stamp, nonce := strconv.FormatInt(int64(at), 10), strconv.Itoa(rand.IntN(1<<30))
	r.Default("appKey", s.AppID)
	r.Query.Set("signTimestamp", stamp)
	r.Query.Set("nonce", nonce)
	r.Query.Set("signature", hex.EncodeToString(sum(s.Secret, nonce, stamp)))
	return nil
}

type event struct {
	User    webhook.Text   `json:"userid"`
	Status  webhook.Text   `json:"status"`
	OS      webhook.Text   `json:"os"`
	Time    webhook.Number `json:"time"`
	Session webhook.Text   `json:"sessionId"`
}

// Read reads one event, or a list of them. The session is that of RongCloud.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	body := bytes.TrimSpace(c.Body)
	if len(body) == 0 {
		return fmt.Errorf("%w: it is empty", webhook.ErrShape)
	}
	if body[0] != '[' {
		var one event
		if err := c.Decode(&one); err != nil {
			return err
		}
		one.add(b)
		return nil
	}
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
		one.add(b)
	}
	return nil
}

func (in *event) add(b *webhook.Batch) {
	e := intake.Event{
		Peer: presence.PeerID(in.User), Session: presence.SessionID(in.Session), Platform: strings.ToLower(string(in.OS)), At: in.Time.Millis(),
	}
	if e.Session == "" {
		e.Session = presence.SessionID(e.Platform)
	}
	switch in.Status {
	case "0":
		e.Kind = presence.KindOnline
	case "1":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
	case "2":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLogout
	default:
		b.Ignore()
		return
	}
	b.Add(&e)
}

// Reply answers with a status.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
