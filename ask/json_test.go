package ask_test

import (
	"testing"

	"rollcall/ask"
	"rollcall/presence"
)

func TestOneEncoderOfAPeer(t *testing.T) {
	const all = ask.Since | ask.LastSeen | ask.Cause | ask.Version | ask.Devices
	online := ask.Peer{ID: "t\"m", Status: presence.Online, Since: 1000, LastSeen: 2000, Version: 7, Devices: []string{"pad", "phone"}}
	offline := ask.Peer{ID: "ann", Status: presence.Offline, Cause: presence.CauseLost, Since: 3000, LastSeen: 2500, Version: 8}
	unknown := ask.Peer{ID: "zed", Devices: []string{}}
	for _, c := range []struct {
		peer   ask.Peer
		fields ask.Fields
		want   string
	}{
		{online, 0, `{"peer":"t\"m","status":"online"}`},
		{online, ask.Since, `{"peer":"t\"m","status":"online","since":1000}`},
		{online, all, `{"peer":"t\"m","status":"online","since":1000,"last_seen":2000,"version":7,"devices":["pad","phone"]}`},
		{offline, all, `{"peer":"ann","status":"offline","since":3000,"last_seen":2500,"cause":"lost","version":8}`},
		{offline, ask.Cause, `{"peer":"ann","status":"offline","cause":"lost"}`},
		{unknown, all, `{"peer":"zed","status":"unknown","version":0,"devices":[]}`},
	} {
		if got := string(ask.AppendPeer(nil, &c.peer, c.fields)); got != c.want {
			t.Errorf("fields %b: %s, want %s", c.fields, got, c.want)
		}
	}
}
