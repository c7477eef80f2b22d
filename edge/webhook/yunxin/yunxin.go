// Package yunxin reads the event copies (抄送) of NetEase Yunxin (网易云信): logins and logouts.
package yunxin

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/intake"
	"rollcall/presence"
)

// Kind reads what Yunxin sends.
type Kind struct{}

// Name returns "yunxin".
func (Kind) Name() string { return "yunxin" }

// Defaults returns a lease of a day: logins and logouts need not come in pairs.
func (Kind) Defaults() webhook.Defaults {
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, ProofInBody: true}
}

// Check has nothing to add.
func (Kind) Check(*webhook.Source) error { return nil }

// window is how old a call may be. The body is signed, and to repeat it changes nothing.
const window = 24 * time.Hour

// Verify checks the header MD5 against the body, and CheckSum, sha1(secret + MD5 + CurTime).
func (Kind) Verify(c *webhook.Call) error {
	sum, stamp := c.Header.Get("MD5"), c.Header.Get("CurTime")
	body := md5.Sum(c.Body)
	if !strings.EqualFold(sum, hex.EncodeToString(body[:])) {
		return webhook.ErrUnproven
	}
	err := c.Hex(c.Header.Get("CheckSum"), func(secret string) []byte { return checkSum(secret, sum, stamp) })
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || at < 0 || at > 1e14 {
		return webhook.ErrExpired
	}
	return c.Near(at, window)
}

// OfApp looks at the header AppKey, where there is one.
func (Kind) OfApp(c *webhook.Call) bool {
	key := c.Header.Get("AppKey")
	return key == "" || key == c.Source.AppID
}

func checkSum(secret, sum, stamp string) []byte {
	made := sha1.Sum([]byte(secret + sum + stamp))
	return made[:]
}

// Sign sets the headers MD5, CurTime and CheckSum.
func (Kind) Sign(r *webhook.Request, s *webhook.Source, at presence.Millis) error {
	body := md5.Sum(r.Body)
	sum, stamp := hex.EncodeToString(body[:]), strconv.FormatInt(int64(at), 10)
	if s.AppID != "" {
		r.Header.Set("AppKey", s.AppID)
	}
	r.Header.Set("MD5", sum)
	r.Header.Set("CurTime", stamp)
	r.Header.Set("CheckSum", hex.EncodeToString(checkSum(s.Secret, sum, stamp)))
	return nil
}

type event struct {
	Type      webhook.Text   `json:"eventType"`
	User      webhook.Text   `json:"accid"`
	Client    webhook.Text   `json:"clientType"`
	Code      webhook.Text   `json:"code"`
	Timestamp webhook.Number `json:"timestamp"`
	Device    webhook.Text   `json:"deviceId"`
	Reason    webhook.Number `json:"logOutReason"`
}

const login, logout = "2", "3"

// clients are the names of the classes that Yunxin writes as numbers in places.
var clients = map[string]string{"1": "aos", "2": "ios", "4": "pc", "16": "web", "32": "rest", "64": "mac", "65": "harmony"}

var causes = map[webhook.Number]presence.Cause{
	1: presence.CauseLogout, 2: presence.CauseLost, 3: presence.CauseReplaced, 4: presence.CauseKicked,
}

// Read reads one event. The session is the class and the device; a logout that names no device ends
// those of its class that are older.
func (Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	var in event
	if err := c.Decode(&in); err != nil {
		return err
	}
	class := strings.ToLower(string(in.Client))
	if name := clients[class]; name != "" {
		class = name
	}
	e := intake.Event{
		Peer: presence.PeerID(in.User), Session: presence.SessionID(class + "/" + string(in.Device)), Platform: class, At: in.Timestamp.Millis(),
	}
	switch {
	case in.Type == login && in.Code == "200":
		e.Kind = presence.KindOnline
	case in.Type == logout && in.Device != "":
		e.Kind, e.Cause = presence.KindOffline, causes[in.Reason]
	case in.Type == logout:
		e = intake.Event{Peer: e.Peer, Prefix: e.Session, At: e.At, Kind: presence.KindEndAll, Cause: causes[in.Reason]}
	default:
		b.Ignore() // another event, a login that failed, or the empty object of the console's test
		return nil
	}
	b.Add(&e)
	return nil
}

// Reply answers with a status.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply { return webhook.PlainReply(o) }
