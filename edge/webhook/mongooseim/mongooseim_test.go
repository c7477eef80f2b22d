package mongooseim_test

import (
	"fmt"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/mongooseim"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

func event(jid string, present bool, at int64) string {
	return fmt.Sprintf(`{"user_id":"%s","present":%v,"ts":%d}`, jid, present, at)
}

func sign(c *sourcetest.Call, secret string, _ presence.Millis) {
	c.Header["Authorization"] = "Bearer " + secret
}

func TestStories(t *testing.T) {
	const at = 1767225600123
	one := func(jid string, present bool, at int64) sourcetest.Call {
		return sourcetest.Call{Body: event(jid, present, at)}
	}
	sourcetest.Run(t, sourcetest.Suite{
		Kind: mongooseim.Kind{}, Sign: sign, Now: 1767225700000,
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{one("u1@im.example/phone", true, at)}},
			{Name: "goes on one of two resources", Peer: "u1", Want: presence.Online, Open: []string{"web"}, Calls: []sourcetest.Call{
				one("u1@im.example/phone", true, at), one("u1@im.example/web", true, at+1), one("u1@im.example/phone", false, at+9000),
			}},
			{Name: "a list", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				{Body: "[" + event("u1@im.example/phone", true, at) + "," + event("u1@im.example/phone", false, at+9000) + `,"x"]`},
			}},
			{Name: "in the envelope of SNS", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{
				{Body: `{"Type":"Notification","MessageId":"1","Message":"{\"user_id\":\"u1@im.example\",\"present\":true}","Timestamp":"2026-01-01T00:00:00.000Z"}`},
				{Body: `{"Type":"Notification","MessageId":"2","Message":"{\"user_id\":\"u1@im.example\",\"present\":false}","Timestamp":"2026-01-01T00:00:09.000Z"}`},
				{Body: `{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/","Message":"confirm"}`},
			}},
		},
	})
}

func TestUser(t *testing.T) {
	for user, want := range map[string]string{"": "u1", "local": "u1", "jid": "u1@im.example"} {
		srv := sourcetest.Open(t, webhook.Source{Kind: mongooseim.Kind{}, Secret: sourcetest.Secret, User: user}, 1767225700000)
		c := sourcetest.Call{Body: event("u1@im.example/phone", true, 1767225600123), Header: map[string]string{}}
		sign(&c, sourcetest.Secret, 0)
		if status, body := srv.Send(c); status != 200 {
			t.Fatal(status, body)
		}
		if st := srv.State(want); st.Status != presence.Online {
			t.Errorf("user %q: %s is %v", user, want, st.Status)
		}
	}
	if err := (mongooseim.Kind{}).Check(&webhook.Source{User: "name"}); err == nil {
		t.Error("a user field that is none is taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(event("u1@im.example/phone", true, 1767225600123))
	f.Add(`{"Type":"Notification","MessageId":"1","Message":"{}","Timestamp":"2026"}`)
	sourcetest.Fuzz(f, mongooseim.Kind{}, webhook.Source{}, sign)
}
