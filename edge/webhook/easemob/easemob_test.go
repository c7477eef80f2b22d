package easemob_test

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/easemob"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func event(user, status, reason, at string) sourcetest.Call {
	return sourcetest.Call{Body: `{"callId":"demo#app_6f1c2a10-` + at + `","security":"","timestamp":` + at + `,"appkey":"demo#app",` +
		`"user":"` + user + `","reason":"` + reason + `","status":"` + status + `","os":"android","ip":"203.0.113.7:48098","version":"4.9.0"}`}
}

// sign fills in the proof, which is inside the body.
func sign(c *sourcetest.Call, secret string, _ presence.Millis) {
	field := func(name string) string {
		_, rest, ok := strings.Cut(c.Body, `"`+name+`":`)
		if !ok {
			return ""
		}
		value, _, _ := strings.Cut(rest, ",")
		return strings.Trim(value, `"`)
	}
	sum := md5.Sum([]byte(field("callId") + secret + field("timestamp")))
	c.Body = strings.Replace(c.Body, `"security":""`, `"security":"`+hex.EncodeToString(sum[:])+`"`, 1)
}

func TestStories(t *testing.T) {
	const phone, pad = "demo#app_u1@easemob.com/android_7f3e", "demo#app_u1@easemob.com/ios_9a"
	sourcetest.Run(t, sourcetest.Suite{
		Kind: easemob.Kind{}, Sign: sign, Now: 1767225700000, Source: webhook.Source{AppID: "demo#app"},
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"android_7f3e"}, Calls: []sourcetest.Call{event(phone, "online", "login", "1767225600123")}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				event(phone, "online", "login", "1767225600123"), event(phone, "offline", "logout", "1767225650000"),
			}},
			{Name: "replaced on one device", Peer: "u1", Want: presence.Online, Open: []string{"ios_9a"}, Calls: []sourcetest.Call{
				event(phone, "online", "login", "1767225600123"), event(pad, "online", "login", "1767225640000"), event(phone, "offline", "replaced", "1767225640001"),
			}},
			{Name: "back before the end is known", Peer: "u1", Want: presence.Online, Open: []string{"android_7f3e"}, Calls: []sourcetest.Call{
				event(phone, "online", "login", "1767225600123"), event(phone, "offline", "logout", "1767225650000"), event(phone, "online", "login", "1767225660000"),
			}},
			{Name: "a user with signs in it", Peer: "a_b@c", Want: presence.Online, Calls: []sourcetest.Call{
				event("demo#app_a_b@c@easemob.com/web", "online", "login", "1767225600123"),
			}},
		},
	})
}

// The vector of the specification.
func TestVector(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: easemob.Kind{}, Secret: "rcSecret"}, 1767225700000)
	status, body := srv.Send(sourcetest.Call{Body: `{"callId":"demo#app_6f1c2a10-0000-4000-8000-0000000000a1","security":"2c5141eb152f3567e609d2b0770a36f2",` +
		`"timestamp":1767225600123,"appkey":"demo#app","user":"demo#app_u1@easemob.com/android_7f3e","reason":"login","status":"online","os":"android"}`})
	if st := srv.State("u1"); status != 200 || st.Status != presence.Online {
		t.Errorf("%d %s, u1 is %v", status, body, st.Status)
	}
}

func TestAnotherAppIsRefused(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: easemob.Kind{}, Secret: sourcetest.Secret, AppID: "demo#other"}, 1767225700000)
	c := event("demo#app_u1@easemob.com/x", "online", "login", "1767225600123")
	sign(&c, sourcetest.Secret, 0)
	if status, _ := srv.Send(c); status != 401 {
		t.Errorf("%d, want 401", status)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(event("demo#app_u1@easemob.com/x", "online", "login", "1767225600123").Body)
	f.Add(event("u1", "offline", "logout", "1767225600123").Body)
	sourcetest.Fuzz(f, easemob.Kind{}, webhook.Source{}, sign)
}
