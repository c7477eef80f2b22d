package yunxin_test

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/yunxin"
	"rollcall/presence"
)

func call(eventType, class, device, extra string, at int64) sourcetest.Call {
	if device != "" {
		extra += `,"deviceId":"` + device + `"`
	}
	return sourcetest.Call{Body: fmt.Sprintf(`{"eventType":"%s","accid":"u1","clientType":"%s","timestamp":"%d"%s}`, eventType, class, at, extra)}
}

func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	body := md5.Sum([]byte(c.Body))
	sum, stamp := hex.EncodeToString(body[:]), fmt.Sprint(int64(at))
	check := sha1.Sum([]byte(secret + sum + stamp))
	c.Header["AppKey"] = "an-app-key"
	c.Header["MD5"], c.Header["CurTime"], c.Header["CheckSum"] = sum, stamp, hex.EncodeToString(check[:])
}

func TestStories(t *testing.T) {
	const at, ok = 1767225600123, `,"code":"200"`
	sourcetest.Run(t, sourcetest.Suite{
		Kind: yunxin.Kind{}, Sign: sign, Covers: true, Now: 1767225700000, Window: 24 * time.Hour, Source: webhook.Source{AppID: "an-app-key"},
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"ios/d1"}, Calls: []sourcetest.Call{call("2", "IOS", "d1", ok, at)}},
			{Name: "goes, and names the device", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("2", "IOS", "d1", ok, at), call("3", "2", "d1", `,"logOutReason":1`, at+9000),
			}},
			{Name: "goes without a device", Peer: "u1", Want: presence.Online, Open: []string{"ios/d3", "web/"}, Calls: []sourcetest.Call{
				call("2", "IOS", "d1", ok, at), call("2", "IOS", "d2", ok, at+10), call("2", "WEB", "", ok, at+20),
				call("3", "IOS", "", `,"logOutReason":2`, at+9000), call("2", "iOS", "d3", ok, at+9500),
			}},
			{Name: "a login that failed, and events of other kinds", Peer: "u1", Want: presence.Unknown, Calls: []sourcetest.Call{
				call("2", "IOS", "d1", `,"code":302`, at), call("1", "IOS", "d1", ok, at), {Body: `{}`},
			}},
		},
	})
}

// The vector of the specification.
func TestVector(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: yunxin.Kind{}, Secret: "rcSecret"}, 1767225600900)
	status, body := srv.Send(sourcetest.Call{
		Body: `{"accid":"u1","clientIp":"203.0.113.7","clientType":"IOS","code":"200","eventType":"2","sdkVersion":"155","timestamp":"1767225600123"}`,
		Header: map[string]string{
			"MD5": "33a7ec94e33f39d7b2edd4ab4ba24388", "CurTime": "1767225600500", "CheckSum": "8e8964d580544d7061c2152ee8889e2f665d249f",
		},
	})
	if st := srv.State("u1"); status != 200 || st.Status != presence.Online {
		t.Errorf("%d %s, u1 is %v", status, body, st.Status)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call("2", "IOS", "d1", `,"code":"200"`, 1767225600123).Body)
	f.Add(call("3", "16", "", `,"logOutReason":2`, 1767225600123).Body)
	sourcetest.Fuzz(f, yunxin.Kind{}, webhook.Source{}, sign)
}
