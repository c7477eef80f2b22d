package tencent_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/tencent"
	"rollcall/presence"
)

const now = 1767225700000

func call(platform, action, reason string, at int64, kicked ...string) sourcetest.Call {
	body := fmt.Sprintf(`{"CallbackCommand":"State.StateChange","EventTime":%d,"Info":{"Action":"%s","To_Account":"u1","Reason":"%s"}`, at, action, reason)
	if len(kicked) > 0 {
		body += `,"KickedDevice":[{"Platform":"` + strings.Join(kicked, `"},{"Platform":"`) + `"}]`
	}
	return sourcetest.Call{
		Path: "?SdkAppid=1400000000&CallbackCommand=State.StateChange&contenttype=json&ClientIP=203.0.113.7&OptPlatform=" + platform,
		Body: body + "}",
	}
}

func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	if c.Path == "" {
		c.Path = "?SdkAppid=1400000000&OptPlatform=IOS"
	}
	stamp := fmt.Sprint(int64(at) / 1000)
	sum := sha256.Sum256([]byte(secret + stamp))
	c.Path += "&Sign=" + hex.EncodeToString(sum[:]) + "&RequestTime=" + stamp
}

func TestStories(t *testing.T) {
	const at = 1767225600123
	sourcetest.Run(t, sourcetest.Suite{
		Kind: tencent.Kind{}, Sign: sign, Now: now, Window: 61 * time.Second, Source: webhook.Source{AppID: "1400000000"},
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"ios"}, Calls: []sourcetest.Call{call("IOS", "Login", "Register", at)}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("IOS", "Login", "Register", at), call("iOS", "Logout", "Unregister", at+60_000),
			}},
			{Name: "breaks off", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("Web", "Login", "Register", at), call("Web", "Disconnect", "TimeOut", at+60_000),
			}},
			{Name: "another class is kicked", Peer: "u1", Want: presence.Online, Open: []string{"ios"}, Calls: []sourcetest.Call{
				call("Windows", "Login", "Register", at), call("IOS", "Login", "Register", at+9000, "Windows"),
			}},
			{Name: "a device of its own class is kicked, and says so a moment later", Peer: "u1", Want: presence.Online, Open: []string{"ios"}, Calls: []sourcetest.Call{
				call("IOS", "Login", "Register", at), call("IOS", "Login", "Register", at+9000, "IOS"), call("IOS", "Logout", "Unregister", at+11_000),
			}},
			{Name: "a device of its own class is kicked, and the time is missing", Peer: "u1", Want: presence.Online, Open: []string{"ios"}, Calls: []sourcetest.Call{
				call("IOS", "Login", "Register", 0, "IOS", ""),
			}},
			{Name: "members of other types are as if they were missing", Peer: "u1", Want: presence.Online, Open: []string{"ios"}, Calls: []sourcetest.Call{
				{Path: call("IOS", "", "", 0).Path, Body: `{"KickedDevice":"","CallbackCommand":"State.StateChange","EventTime":1767225600123,"Info":{"Reason":[],"Action":"Login","To_Account":"u1"}}`},
				{Path: call("IOS", "", "", 0).Path, Body: `{"CallbackCommand":"Group.CallbackAfterSendMsg","Info":["u1"]}`},
			}},
			{Name: "an administrator ends every login", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("IOS", "Login", "Register", at), call("Web", "Login", "Register", at+10), call("RESTAPI", "Logout", "Unregister", at+9000),
			}},
			{Name: "a status of the user's own", Peer: "u1", Want: presence.Online, Calls: []sourcetest.Call{
				call("IOS", "Login", "Register", at), call("IOS", "CustomStatusChange", "SetCustomStatus", at+9000),
			}},
		},
	})
}

// The vector of the specification.
func TestVector(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: tencent.Kind{}, Secret: "rcTok3n", AppID: "1400000000"}, 1767225600000)
	c := call("IOS", "Login", "Register", 1767225600123)
	c.Path += "&RequestTime=1767225600&Sign=ecf5502a143d4e17bc1a8fd827d36c924fdbb593f418d6d35ed9dd790ca3e39d"
	if status, body := srv.Send(c); status != 200 || body != `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	c.Path = strings.Replace(c.Path, "1400000000", "1400000001", 1)
	if status, body := srv.Send(c); status != 401 || !strings.Contains(body, `"ActionStatus":"FAIL"`) {
		t.Errorf("another app: %d %s", status, body)
	}
}

func TestTheAppIsDemanded(t *testing.T) {
	for _, id := range []string{"", "demo"} {
		if err := (tencent.Kind{}).Check(&webhook.Source{AppID: id}); err == nil {
			t.Errorf("appid %q is taken", id)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call("IOS", "Login", "Register", 1767225600123, "Windows").Body)
	f.Add(call("IOS", "Disconnect", "LinkClose", 1767225600123).Body)
	sourcetest.Fuzz(f, tencent.Kind{}, webhook.Source{AppID: "1400000000"}, sign)
}
