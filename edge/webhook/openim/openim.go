// Package openim reads the webhooks of OpenIM (open-im-server v3): afterUserOnline,
// afterUserOffline and afterUserKickOff.
//
// OpenIM signs nothing and sends no header of ours, so the secret is a part of the address:
// .../ingest/APP/SOURCE/SECRET, to which OpenIM appends the command.
package openim

import (
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what OpenIM sends.
type Kind struct{}

// Name returns "openim".
func (Kind) Name() string { return "openim" }

// Defaults returns a lease of 25 minutes: the online callback repeats about every ten.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 25 * time.Minute, Hold: 10 * time.Second, Open: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// Verify wants the secret in the path.
func (Kind) Verify(c *webhook.Call) error { return c.PathSecret() }

// Sign puts the secret into the path.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	r.PathSecret(s.Secret)
	return nil
}

type event struct {
	Command    webhook.Text   `json:"callbackCommand"`
	User       webhook.Text   `json:"userID"`
	PlatformID webhook.Number `json:"platformID"`
	Platform   webhook.Text   `json:"platform"`
	Seq        webhook.Number `json:"seq"` // Unix milliseconds, whatever its name
}

var platforms = map[webhook.Number]string{
	1: "ios", 2: "android", 3: "windows", 4: "mac", 5: "web", 6: "miniweb", 7: "linux", 8: "androidpad", 9: "ipad", 10: "admin",
}

// pushLag is how far apart the online and the offline of one push may be, which come in any order
// when one of two connections of a class ends: the offline counts as so much older, so that the
// online wins.
const pushLag = 2000

// Read reads one event. The session is the class of the device, since OpenIM names no connection.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	class := platforms[in.PlatformID]
	if class == "" {
		class = strings.ToLower(string(in.Platform))
	}
	if class == "" {
		class = "unknown"
	}
	e := intake.Event{Peer: presence.PeerID(in.User), Session: presence.SessionID(class), Platform: class, At: in.Seq.Millis()}
	command := string(in.Command)
	if command == "" {
		command = c.Command()
	}
	switch command {
	case "callbackAfterUserOnlineCommand", "callbackUserOnlineCommand":
		e.Kind = presence.KindOnline
	case "callbackAfterUserOfflineCommand", "callbackUserOfflineCommand":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseLost
	case "callbackAfterUserKickOffCommand", "callbackUserKickOffCommand":
		e.Kind, e.Cause = presence.KindOffline, presence.CauseKicked
	default:
		b.Ignore()
		return nil
	}
	if e.Kind == presence.KindOffline {
		if e.At == 0 {
			e.At = c.Now
		}
		e.At -= pushLag
	}
	b.Add(&e)
	return nil
}

// Reply answers the JSON that OpenIM demands; nextCode is a number.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply {
	if o.Err != nil {
		return webhook.Reply{Status: o.Status(), Body: []byte(`{"actionCode":1,"errCode":1,"errMsg":"` + o.Code() + `","errDlt":"","nextCode":0}` + "\n")}
	}
	return webhook.Reply{Status: o.Status(), Body: []byte(`{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}` + "\n")}
}
