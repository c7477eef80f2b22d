package openim_test

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/openim"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func call(command string, platform int, at int64) sourcetest.Call {
	return sourcetest.Call{Path: "/" + command + "?contenttype=json", Body: fmt.Sprintf(
		`{"callbackCommand":"%s","operationID":"p_17_42","platformID":%d,"platform":"x","userID":"u1","seq":%d,"isAppBackground":false,"connID":""}`, command, platform, at)}
}

const (
	online  = "callbackAfterUserOnlineCommand"
	offline = "callbackAfterUserOfflineCommand"
	kicked  = "callbackAfterUserKickOffCommand"
)

func sign(c *sourcetest.Call, secret string, _ presence.Millis) { c.Path = "/" + secret + c.Path }

func TestStories(t *testing.T) {
	const at = 1767225600123
	sourcetest.Run(t, sourcetest.Suite{
		Kind: openim.Kind{}, Sign: sign, Now: 1767225700000,
		Stories: []sourcetest.Story{
			{Name: "comes, and is renewed", Peer: "u1", Want: presence.Online, Open: []string{"android"}, Calls: []sourcetest.Call{call(online, 2, at), call(online, 2, at+60_000)}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{call(online, 2, at), call(offline, 2, at+9000)}},
			{Name: "one of two connections of a class ends", Peer: "u1", Want: presence.Online, Open: []string{"android"}, Calls: []sourcetest.Call{
				call(online, 2, at), call(online, 2, at+9000), call(offline, 2, at+9001),
			}},
			{Name: "the times are missing, and an offline comes behind the online of its push", Peer: "u1", Want: presence.Online, Open: []string{"android"}, Calls: []sourcetest.Call{
				call(online, 2, 0), call(offline, 2, 0),
			}},
			{Name: "two classes", Peer: "u1", Want: presence.Online, Open: []string{"web"}, Calls: []sourcetest.Call{
				call(online, 2, at), call(online, 5, at+10), call(kicked, 2, at+9000),
			}},
		},
	})
}

func TestReply(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: openim.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	c := call(online, 2, 1767225600123)
	// The path has the command, too.
	c.Body = strings.Replace(c.Body, `"callbackCommand":"`+online+`",`, "", 1)
	sign(&c, sourcetest.Secret, 0)
	if status, body := srv.Send(c); status != 200 || body != `{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	if st := srv.State("u1"); st.Status != presence.Online {
		t.Errorf("u1 is %v", st.Status)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call(online, 2, 1767225600123).Body)
	f.Add(call(offline, 11, 1767225600123).Body)
	sourcetest.Fuzz(f, openim.Kind{}, webhook.Source{}, sign)
}
