package generic_test

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/internal/api"
	"rollcall/presence"
)

func call(state, session string, at int64) sourcetest.Call {
	return sourcetest.Call{Body: fmt.Sprintf(`{"events":[{"peer":"u1","state":"%s","session":"%s","time":%d}]}`, state, session, at)}
}

func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	stamp := fmt.Sprint(int64(at) / 1000)
	c.Header[api.TimeHeader] = stamp
	c.Header[api.SignatureHeader] = "v2=" + hex.EncodeToString(api.Sign(secret, stamp, "POST", "/ingest/the-app/source"+c.Path, []byte(c.Body)))
}

func TestStories(t *testing.T) {
	const at = 1767225600123
	sourcetest.Run(t, sourcetest.Suite{
		Kind: generic.Kind{}, Sign: sign, Covers: true, Now: 1767225700000, Window: 301 * time.Second,
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"a"}, Calls: []sourcetest.Call{call("online", "a", at)}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{call("online", "a", at), call("offline", "a", at+9000)}},
			{Name: "ends all", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				call("online", "a", at), call("online", "b", at), {Body: fmt.Sprintf(`{"events":[{"peer":"u1","state":"end_all","time":%d}]}`, at+9000)},
			}},
		},
	})
}

func FuzzRead(f *testing.F) {
	f.Add(call("online", "a", 1767225600123).Body)
	f.Add(`{"events":[{"peer":"u1","state":"end_all"},7]}`)
	sourcetest.Fuzz(f, generic.Kind{}, webhook.Source{}, sign)
}
