package centrifugo_test

import (
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/centrifugo"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func call(client, user string) sourcetest.Call {
	return sourcetest.Call{Path: "/refresh", Body: `{"client":"` + client + `","transport":"websocket","protocol":"json","encoding":"json","user":"` + user + `"}`}
}

func sign(c *sourcetest.Call, secret string, _ presence.Millis) {
	c.Header["Authorization"] = "Bearer " + secret
}

func TestStories(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		Kind: centrifugo.Kind{}, Sign: sign, Now: 1767225700000, Ordered: true,
		Stories: []sourcetest.Story{
			{Name: "is there", Peer: "u1", Want: presence.Online, Open: []string{"9f0c6c9e"}, Calls: []sourcetest.Call{call("9f0c6c9e", "u1"), call("9f0c6c9e", "u1")}},
			{Name: "two connections", Peer: "u1", Want: presence.Online, Open: []string{"a", "b"}, Calls: []sourcetest.Call{call("a", "u1"), call("b", "u1"), call("c", "")}},
		},
	})
}

// The answer says when to ask again, and the lease outlives that by some seconds.
func TestLease(t *testing.T) {
	d := centrifugo.Kind{}.Defaults()
	for lease, want := range map[time.Duration]string{
		d.Lease: `{"result":{"expire_at":1767225767}}` + "\n", 10 * time.Minute: `{"result":{"expire_at":1767226225}}` + "\n", 20 * time.Second: `{"result":{"expire_at":1767225710}}` + "\n",
	} {
		srv := sourcetest.Open(t, webhook.Source{Kind: centrifugo.Kind{}, Secret: sourcetest.Secret, Lease: lease}, 1767225700000)
		c := call("a", "u1")
		c.Header = map[string]string{}
		sign(&c, sourcetest.Secret, 0)
		if status, body := srv.Send(c); status != 200 || body != want {
			t.Errorf("a lease of %v: %d %s, want %s", lease, status, body, want)
		}
		if st := srv.State("u1"); st.Until != presence.Millis(1767225700000).Add(lease) {
			t.Errorf("a lease of %v ends at %d", lease, st.Until)
		}
	}
}

// A lease so short that Centrifugo would end the connections is refused.
func TestShortLease(t *testing.T) {
	for lease, ok := range map[time.Duration]bool{time.Second: false, 19 * time.Second: false, 20 * time.Second: true} {
		if err := (centrifugo.Kind{}).Check(&webhook.Source{Lease: lease}); (err == nil) != ok {
			t.Errorf("a lease of %v: %v", lease, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call("9f0c6c9e", "u1").Body)
	sourcetest.Fuzz(f, centrifugo.Kind{}, webhook.Source{Lease: time.Minute}, sign)
}
