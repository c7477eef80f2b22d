package generic_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
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

// A call that a stranger sends again changes nothing, though its events have no time: neither a
// session, nor a count of a class of devices, nor the end of all.
func TestACallCountsOnce(t *testing.T) {
	const now = 1767225700000
	source := webhook.Source{Kind: generic.Kind{}, Secret: sourcetest.Secret}
	srv := sourcetest.Open(t, source, now)
	at := presence.Millis(now)
	send := func(events string) func() {
		c := sourcetest.Call{Header: map[string]string{}, Body: `{"events":[` + events + `]}`}
		sign(&c, sourcetest.Secret, at)
		again := func() {
			t.Helper()
			if status, body := srv.Send(c); status != http.StatusOK {
				t.Fatalf("%s is answered %d %s", events, status, body)
			}
		}
		again()
		c.Header[api.SignatureHeader] = "v2=" + strings.ToUpper(c.Header[api.SignatureHeader][len("v2="):])
		srv.Advance(2 * time.Second)
		at += 2000
		return again
	}
	want := func(peer string, want presence.Status) {
		t.Helper()
		if st := srv.State(peer); st.Status != want {
			t.Errorf("%s is %v, want %v", peer, st.Status, want)
		}
	}
	online := send(`{"peer":"u1","state":"online","session":"a"},{"peer":"u2","state":"online"}`)
	offline := send(`{"peer":"u1","state":"offline","session":"a","why":"logout"},{"peer":"u2","state":"offline","why":"logout"}`)
	online()
	want("u1", presence.Offline)
	want("u2", presence.Offline)
	send(`{"peer":"u1","state":"online","session":"a"},{"peer":"u2","state":"online"}`)
	srv.Advance(4 * time.Minute)
	offline()
	want("u1", presence.Online)
	want("u2", presence.Online)
	at += 240_000
	end := send(`{"peer":"u1","state":"end_all"}`)
	want("u1", presence.Offline)
	send(`{"peer":"u1","state":"online","session":"b"}`)
	srv.Advance(4 * time.Minute)
	end()
	want("u1", presence.Online)
	// With an id of its own, an event counts once in any number of calls.
	at += 240_000
	send(`{"peer":"u3","state":"online","session":"a","id":"1"}`)
	send(`{"peer":"u3","state":"offline","session":"a","id":"2"}`)
	send(`{"peer":"u3","state":"online","session":"a","id":"1"}`)
	want("u3", presence.Offline)
}

func FuzzRead(f *testing.F) {
	f.Add(call("online", "a", 1767225600123).Body)
	f.Add(`{"events":[{"peer":"u1","state":"end_all"},7]}`)
	sourcetest.Fuzz(f, generic.Kind{}, webhook.Source{}, sign)
}
