package wukongim_test

import (
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/wukongim"
	"rollcall/presence"
)

func call(words ...string) sourcetest.Call {
	return sourcetest.Call{Path: "?event=user.onlinestatus", Body: `["` + strings.Join(words, `","`) + `"]`}
}

func sign(c *sourcetest.Call, secret string, _ presence.Millis) { c.Path = "/" + secret + c.Path }

func TestStories(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		Kind: wukongim.Kind{}, Sign: sign, Now: 1767225700000, Ordered: true,
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"app/9001"}, Calls: []sourcetest.Call{call("u1-0-1-9001-1-1", "u2-1-1-9002-1-1")}},
			{Name: "the last connection ends", Peer: "u-2", Want: presence.Offline, Calls: []sourcetest.Call{
				call("u-2-1-1-9001-1-1"), call("u-2-0-1-9002-1-2"), call("u-2-1-0-9001-0-0"),
			}},
			{Name: "one of two connections ends", Peer: "u1", Want: presence.Online, Open: []string{"pc/9002"}, Calls: []sourcetest.Call{
				call("u1-0-1-9001-1-1"), call("u1-2-1-9002-1-2"), call("u1-0-0-9001-0-1"),
			}},
			{Name: "a call is repeated after a newer one", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("u1-0-1-9001-1-1"), call("u1-0-0-9001-0-0"), call("u1-0-1-9001-1-1"),
			}},
			{Name: "the short form", Once: true, Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{call("u1-0-1"), call("u1-0-0")}},
			{Name: "what is neither form", Peer: "u1", Want: presence.Unknown, Calls: []sourcetest.Call{call("u1", "u1-0", "-0-1", "u1-0-2", "u1-x-1", "")}},
		},
	})
}

func FuzzRead(f *testing.F) {
	f.Add(`["u1-0-1-9001-1-1","u-2-1-0-9002-0-0"]`)
	f.Add(`["u1-0-1",7,"----"]`)
	sourcetest.Fuzz(f, wukongim.Kind{}, webhook.Source{}, sign)
}
