package wukongim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
			{Name: "the last connection ends", Peer: "u-2", Want: presence.Offline, Open: []string{}, Calls: []sourcetest.Call{
				call("u-2-1-1-9001-1-1"), call("u-2-1-0-9001-0-0"),
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

// TestTheLastEnd: the end of the last connection ends what else is open, but not what has just
// come: the words of two connections are not always in order.
func TestTheLastEnd(t *testing.T) {
	source := webhook.Source{Kind: wukongim.Kind{}, Secret: sourcetest.Secret, Lease: time.Hour}
	for _, c := range []struct {
		name string
		gone time.Duration
		want presence.Status
	}{{"an end was lost", 16 * time.Second, presence.Offline}, {"it connects anew meanwhile", 14 * time.Second, presence.Online}} {
		srv := sourcetest.Open(t, source, 1767225700000)
		send := func(word string) {
			t.Helper()
			c := call(word)
			sign(&c, sourcetest.Secret, 0)
			if status, body := srv.Send(c); status != http.StatusOK {
				t.Fatalf("%s is answered %d %s", word, status, body)
			}
		}
		send("u1-0-1-9001-1-1")
		send("u1-0-1-9002-1-1")
		srv.Advance(c.gone)
		send("u1-0-0-9001-0-0")
		st := srv.State("u1")
		if st.Status != c.want {
			t.Errorf("%s: %v, want %v", c.name, st.Status, c.want)
		}
		send("u1-1-1-9003-1-1")
		srv.Advance(10 * time.Second)
		send("u1-0-0-9001-0-0") // is sent again
		if st = srv.State("u1"); st.Status != presence.Online {
			t.Errorf("%s, and the word comes again: %v, want online", c.name, st.Status)
		}
	}
}

// TestRestart: a WuKongIM that was restarted numbers its connections from one, so the same words
// come again; none of them is lost.
func TestRestart(t *testing.T) {
	for _, later := range []time.Duration{time.Minute, 9 * time.Minute} {
		srv := sourcetest.Open(t, webhook.Source{Kind: wukongim.Kind{}, Secret: sourcetest.Secret, Lease: time.Hour}, 1767225700000)
		said := func(word string, want presence.Status) {
			t.Helper()
			c := call(word)
			sign(&c, sourcetest.Secret, 0)
			if status, body := srv.Send(c); status != http.StatusOK {
				t.Fatalf("%s is answered %d %s", word, status, body)
			}
			if st := srv.State("u1"); st.Status != want {
				t.Errorf("%v later: %s leaves %v, want %v", later, word, st.Status, want)
			}
		}
		said("u1-0-1-1-1-1", presence.Online)
		srv.Advance(20 * time.Second)
		said("u1-0-0-1-0-0", presence.Offline)
		srv.Advance(later)
		said("u1-0-1-1-1-1", presence.Online)
		srv.Advance(20 * time.Second)
		said("u1-0-0-1-0-0", presence.Offline)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`["u1-0-1-9001-1-1","u-2-1-0-9002-0-0"]`)
	f.Add(`["u1-0-1",7,"----"]`)
	sourcetest.Fuzz(f, wukongim.Kind{}, webhook.Source{}, sign)
}
