package rongcloud_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/rongcloud"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func event(status, session string, at int64) string {
	return fmt.Sprintf(`{"userid":"u1","status":"%s","os":"iOS","time":%d,"clientIp":"203.0.113.7:5001","sessionId":"%s"}`, status, at, session)
}

func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	sum := sha1.Sum([]byte(secret + "14314" + fmt.Sprint(int64(at))))
	c.Path = fmt.Sprintf("?appKey=an-app-key&signTimestamp=%d&nonce=14314&signature=%s", int64(at), hex.EncodeToString(sum[:]))
}

func TestStories(t *testing.T) {
	const at = 1767225600123
	one := func(status, session string, at int64) sourcetest.Call {
		return sourcetest.Call{Body: event(status, session, at)}
	}
	sourcetest.Run(t, sourcetest.Suite{
		Kind: rongcloud.Kind{}, Sign: sign, Now: 1767225700000, Window: 5 * time.Minute, Source: webhook.Source{AppID: "an-app-key"},
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"c0ffee01"}, Calls: []sourcetest.Call{one("0", "c0ffee01", at)}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{one("0", "c0ffee01", at), one("2", "c0ffee01", at+9000)}},
			{Name: "two connections, one breaks off", Peer: "u1", Want: presence.Online, Open: []string{"c0ffee02"}, Calls: []sourcetest.Call{
				one("0", "c0ffee01", at), one("0", "c0ffee02", at+1000), one("1", "c0ffee01", at+9000),
			}},
			{Name: "a list", Peer: "u1", Want: presence.Online, Open: []string{"c0ffee02"}, Calls: []sourcetest.Call{
				{Body: "[" + event("0", "c0ffee01", at) + "," + event("1", "c0ffee01", at+9000) + ",17]"}, {Body: " [" + event("0", "c0ffee02", at+9000) + "]"},
			}},
		},
	})
}

// The vector of the specification.
func TestVector(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: rongcloud.Kind{}, Secret: "rcSecret"}, 1767225600500)
	status, body := srv.Send(sourcetest.Call{
		Path: "?signTimestamp=1767225600123&nonce=14314&signature=fe577bd157a3ddee657b1ae6b42a41096b1aa90f", Body: "[" + event("0", "c0ffee01", 1767225600123) + "]",
	})
	if st := srv.State("u1"); status != 200 || st.Status != presence.Online {
		t.Errorf("%d %s, u1 is %v", status, body, st.Status)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("[" + event("0", "c0ffee01", 1767225600123) + "]")
	f.Add(event("2", "", 1767225600123))
	sourcetest.Fuzz(f, rongcloud.Kind{}, webhook.Source{}, sign)
}
