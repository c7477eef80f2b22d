package ejabberd_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/ejabberd"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/internal/api"
	"rollcall/presence"
)

const opened = 1767225600123

func online(jid string, at, since int64) string {
	return fmt.Sprintf(`{"jid":"%s","online":true,"at":%d,"since":%d}`, jid, at, since)
}

func offline(jid string, at, since int64, why string) string {
	return fmt.Sprintf(`{"jid":"%s","online":false,"at":%d,"since":%d,"why":"%s"}`, jid, at, since, why)
}

func call(sessions ...string) sourcetest.Call {
	return sourcetest.Call{Body: `{"lease":150,"sessions":[` + strings.Join(sessions, ",") + `]}`}
}

func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	stamp := fmt.Sprint(int64(at) / 1000)
	c.Header[api.TimeHeader] = stamp
	c.Header[api.SignatureHeader] = "v2=" + hex.EncodeToString(api.Sign(secret, stamp, "POST", "/ingest/the-app/source"+c.Path, []byte(c.Body)))
}

func TestStories(t *testing.T) {
	const phone, web = "u1@im.example/phone", "u1@im.example/web"
	sourcetest.Run(t, sourcetest.Suite{
		Kind: ejabberd.Kind{}, Sign: sign, Covers: true, Now: opened + 60_000, Window: 301 * time.Second,
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{call(online(phone, opened, opened))}},
			{Name: "goes on one of two resources", Peer: "u1", Want: presence.Online, Open: []string{"web"}, Calls: []sourcetest.Call{
				call(online(phone, opened, opened), online(web, opened+1, opened+1)), call(offline(phone, opened+9000, opened, "logout")),
			}},
			{Name: "the resource is used again before its session has ended", Peer: "u1", Want: presence.Online, Open: []string{"phone"}, Calls: []sourcetest.Call{
				call(online(phone, opened, opened)), call(online(phone, opened+5000, opened+5000)), call(offline(phone, opened+5001, opened, "replaced")),
			}},
			{Name: "it goes on, then is lost", Peer: "u1", Want: presence.Offline, Open: []string{}, Calls: []sourcetest.Call{
				call(online(phone, opened, opened)), call(online(phone, opened+30_000, opened)), call(offline(phone, opened+50_000, opened, "lost")),
			}},
			{Name: "what is no session", Peer: "u1", Want: presence.Unknown, Calls: []sourcetest.Call{
				call(online("im.example/phone", opened, opened), online("u1@im.example", opened, opened), `{"jid":"u1@im.example/phone","at":1767225600123}`, `7`),
			}},
		},
	})
}

// TestRecorded: what the module in an ejabberd 23.01 posted of a device that logged out and one
// that was killed, as rollcall recorded it.
func TestRecorded(t *testing.T) {
	story := sourcetest.Story{Name: "two devices", Peer: "ann", Want: presence.Offline, Open: []string{}}
	for n := 1; n <= 4; n++ {
		b, err := os.ReadFile(fmt.Sprintf("testdata/recorded/%d.http", n))
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n\n")
		story.Calls = append(story.Calls, sourcetest.Call{Body: body})
	}
	sourcetest.Run(t, sourcetest.Suite{
		Kind: ejabberd.Kind{}, Sign: sign, Covers: true, Now: 1795869121000, Window: 301 * time.Second, Stories: []sourcetest.Story{story},
	})
}

// TestLease: the call says how long its word is good for; without that the source does.
func TestLease(t *testing.T) {
	for _, c := range []struct {
		lease string
		want  time.Duration
	}{{"30", 30 * time.Second}, {"0", time.Minute}, {"-1", time.Minute}, {"1e12", time.Minute}, {`"often"`, time.Minute}} {
		srv := sourcetest.Open(t, webhook.Source{Kind: ejabberd.Kind{}, Secret: sourcetest.Secret, Lease: time.Minute}, opened)
		call := sourcetest.Call{Body: `{"lease":` + c.lease + `,"sessions":[` + online("u1@im.example/phone", opened, opened) + `]}`, Header: map[string]string{}}
		sign(&call, sourcetest.Secret, opened)
		if status, body := srv.Send(call); status != 200 {
			t.Fatal(status, body)
		}
		st := srv.State("u1")
		if end := presence.Millis(opened).Add(c.want); len(st.Sessions) != 1 || !st.Sessions[0].Live(end-1) || st.Sessions[0].Live(end) {
			t.Errorf("lease %s: %+v, want one session that ends at %d", c.lease, st.Sessions, end)
		}
	}
}

func TestUser(t *testing.T) {
	for user, want := range map[string]string{"": "u1", "local": "u1", "jid": "u1@im.example"} {
		srv := sourcetest.Open(t, webhook.Source{Kind: ejabberd.Kind{}, Secret: sourcetest.Secret, User: user}, opened)
		c := call(online("u1@im.example/phone/2", opened, opened))
		c.Header = map[string]string{}
		sign(&c, sourcetest.Secret, opened)
		if status, body := srv.Send(c); status != 200 {
			t.Fatal(status, body)
		}
		if st := srv.State(want); st.Status != presence.Online {
			t.Errorf("user %q: %s is %v", user, want, st.Status)
		}
	}
	if err := (ejabberd.Kind{}).Check(&webhook.Source{User: "name"}); err == nil {
		t.Error("a user field that is none is taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call(online("u1@im.example/phone", opened, opened), offline("u1@im.example/phone", opened+1, opened, "lost")).Body)
	f.Add(`{"lease":"x","sessions":[7,{}]}`)
	sourcetest.Fuzz(f, ejabberd.Kind{}, webhook.Source{}, sign)
}
