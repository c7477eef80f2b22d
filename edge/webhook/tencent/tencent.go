// Package tencent reads the webhooks of Tencent Cloud IM (腾讯云 IM): the callback
// State.StateChange.
package tencent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what Tencent sends.
type Kind struct{}

// Name returns "tencent".
func (Kind) Name() string { return "tencent" }

// Defaults returns a lease of 30 hours. The proof is a hash of the time alone.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 30 * time.Hour, Hold: 10 * time.Second, Open: true}
}

// Check wants the SdkAppid, which Tencent asks to have compared.
func (Kind) Check(s *webhook.Source) error {
	if _, err := strconv.ParseUint(s.AppID, 10, 64); err != nil {
		return errors.New("appid is missing or no number; of tencent it is the SDKAppID")
	}
	return nil
}

// window is how old a call may be, as Tencent's documentation asks.
const window = 60 * time.Second

// Verify checks sha256(token + RequestTime) in the query.
func (Kind) Verify(c *webhook.Call) error {
	stamp := c.Query.Get("RequestTime")
	err := c.Hex(c.Query.Get("Sign"), func(secret string) []byte { return sum(secret, stamp) })
	if err != nil {
		return err
	}
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || sec < 0 || sec > 1e11 {
		return webhook.ErrExpired
	}
	return c.Near(sec*1000, window)
}

// OfApp looks at the SdkAppid in the query.
func (Kind) OfApp(c *webhook.Call) bool { return c.Query.Get("SdkAppid") == c.Source.AppID }

func sum(secret, stamp string) []byte {
	sum := sha256.Sum256([]byte(secret + stamp))
	return sum[:]
}

// Sign puts the time, the hash and the app into the query.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	stamp := strconv.FormatInt(int64(at)/1000, 10)
	r.Query.Set("SdkAppid", s.AppID)
	r.Query.Set("RequestTime", stamp)
	r.Query.Set("Sign", hex.EncodeToString(sum(s.Secret, stamp)))
	return nil
}

type event struct {
	Command   webhook.Text   `json:"CallbackCommand"`
	EventTime webhook.Number `json:"EventTime"`
	Info      struct {
		Action webhook.Text `json:"Action"`
		User   webhook.Text `json:"To_Account"`
		Reason webhook.Text `json:"Reason"`
	} `json:"Info"`
	Kicked []struct {
		Platform webhook.Text `json:"Platform"`
	} `json:"KickedDevice"`
}

// restAPI is the platform of what an administrator did.
const restAPI = "restapi"

// kickLag is how long after a login that kicked another device of its own class older SDKs may
// still report the logout of that one. The login counts as so much later, so that the logout, which
// names the class only, does not end it.
const kickLag = 5000

// Read reads one event. The session is the class of the device, since a call names no connection.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	platform := strings.ToLower(c.Query.Get("OptPlatform"))
	e := intake.Event{
		Peer: presence.PeerID(in.Info.User), Session: presence.SessionID(platform), Platform: platform, At: in.EventTime.Millis(),
	}
	if platform == "" {
		e.Session = "unknown"
	}
	switch {
	case in.Command != "State.StateChange":
		b.Ignore()
	case in.Info.Action == "Login":
		e.Kind = presence.KindOnline
		for _, k := range in.Kicked {
			class := strings.ToLower(string(k.Platform))
			switch class {
			case "":
				continue
			case platform:
				if e.At == 0 {
					e.At = c.Now
				}
				e.At += kickLag
				continue
			}
			b.Add(&intake.Event{
				Peer: e.Peer, Session: presence.SessionID(class), Platform: class, At: in.EventTime.Millis(), Kind: presence.KindOffline, Cause: presence.CauseReplaced,
			})
		}
		b.Add(&e)
	case in.Info.Action == "Logout" && platform == restAPI:
		// An administrator has invalidated every login.
		b.Add(&intake.Event{Peer: e.Peer, At: e.At, Kind: presence.KindEndAll, Cause: presence.CauseKicked})
	case in.Info.Action == "Logout":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLogout
		b.Add(&e)
	case in.Info.Action == "Disconnect":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
		b.Add(&e)
	default:
		b.Ignore()
	}
	return nil
}

// Reply answers in Tencent's own words; a failed call is repeated where the console says so.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply {
	if o.Err != nil {
		return webhook.Reply{Status: o.Status(), Body: []byte(`{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":"` + o.Code() + `"}` + "\n")}
	}
	return webhook.Reply{Status: o.Status(), Body: []byte(`{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}` + "\n")}
}
