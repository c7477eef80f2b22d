package emqx_test

import (
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func connected(client, connectedAt, at string) sourcetest.Call {
	return sourcetest.Call{Body: `{"event":"client.connected","clientid":"` + client + `","username":"u1","peername":"203.0.113.7:51234","proto_ver":5,` +
		`"keepalive":60,"is_bridge":false,"connected_at":` + connectedAt + `,"client_attrs":{"uid":"7"},"timestamp":` + at + `,"node":"emqx@10.0.0.4"}`}
}

func disconnected(client, connectedAt, at, reason string) sourcetest.Call {
	return sourcetest.Call{Body: `{"event":"client.disconnected","reason":"` + reason + `","clientid":"` + client + `","username":"u1",` +
		`"connected_at":` + connectedAt + `,"disconnected_at":` + at + `,"timestamp":"` + at + `"}`}
}

func sign(c *sourcetest.Call, secret string, _ presence.Millis) {
	c.Header["Authorization"] = "Bearer " + secret
}

func TestStories(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		Kind: emqx.Kind{}, Sign: sign, Now: 1767225700000,
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{
				connected("phone", "1767225600100", "1767225600103"),
			}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				connected("phone", "1767225600100", "1767225600103"),
				disconnected("phone", "1767225600100", "1767225690201", "keepalive_timeout"),
			}},
			{Name: "the end of the old connection comes after the begin of the new one", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{
				connected("phone", "1767225600100", "1767225600103"),
				connected("phone", "1767225650000", "1767225650002"),
				disconnected("phone", "1767225600100", "1767225660000", "tcp_closed"),
			}},
			{Name: "taken over", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{
				connected("phone", "1767225600100", "1767225600103"),
				disconnected("phone", "1767225600100", "1767225650001", "takenover"),
				connected("phone", "1767225650000", "1767225650002"),
			}},
			{Name: "two devices", Peer: "u1", Want: presence.Online, Open: []string{"pad"}, Calls: []sourcetest.Call{
				connected("phone", "1767225600100", "1767225600103"),
				connected("pad", "1767225610000", "1767225610001"),
				disconnected("phone", "1767225600100", "1767225690201", "normal"),
			}},
		},
	})
}

func TestUser(t *testing.T) {
	const now = 1767225700000
	for user, want := range map[string]string{"": "u1", "username": "u1", "clientid": "phone", "client_attrs.uid": "7"} {
		srv := sourcetest.Open(t, webhook.Source{Kind: emqx.Kind{}, Secret: sourcetest.Secret, User: user}, now)
		c := connected("phone", "1767225600100", "1767225600103")
		c.Header = map[string]string{"Authorization": "Bearer " + sourcetest.Secret}
		if status, body := srv.Send(c); status != 200 {
			t.Fatal(status, body)
		}
		if st := srv.State(want); st.Status != presence.Online {
			t.Errorf("user %q: %s is %v", user, want, st.Status)
		}
	}
	if err := (emqx.Kind{}).Check(&webhook.Source{User: "name"}); err == nil {
		t.Error("a user field that is none is taken")
	}
}

func TestBridgesAndNamelessClientsAreNoPeers(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: emqx.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	for _, body := range []string{
		`{"event":"client.connected","clientid":"b","username":"bridge","is_bridge":true,"connected_at":1767225600100,"timestamp":1767225600103}`,
		`{"event":"client.connected","clientid":"b","username":"undefined","connected_at":1767225600100,"timestamp":1767225600103}`,
		`{"event":"session.subscribed","clientid":"b","username":"u1"}`,
	} {
		c := sourcetest.Call{Body: body, Header: map[string]string{"Authorization": "Bearer " + sourcetest.Secret}}
		if status, answer := srv.Send(c); status != 200 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if st := srv.Stats(); st.Accepted != 0 || st.Ignored != 2 || st.Unusable != 1 {
		t.Errorf("%+v, want two ignored and one unusable", st)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(connected("phone", "1767225600100", "1767225600103").Body)
	f.Add(disconnected("phone", "1767225600100", "1767225690201", "normal").Body)
	sourcetest.Fuzz(f, emqx.Kind{}, webhook.Source{}, sign)
}
