package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// TestFindings: two parts of an answer about one peer must agree, and a peer that was not asked
// about is ignored.
func TestFindings(t *testing.T) {
	phone := webhook.Sessions([]webhook.FoundSession{{ID: "phone"}, {ID: "phone"}})
	for _, c := range []struct {
		name string
		add  func(f *webhook.Findings)
		want map[presence.PeerID]webhook.Found
	}{
		{"one word", func(f *webhook.Findings) { f.Add("a", phone) }, map[presence.PeerID]webhook.Found{"a": phone}},
		{"the same twice", func(f *webhook.Findings) { f.Add("a", phone); f.Add("a", phone) }, map[presence.PeerID]webhook.Found{"a": phone}},
		{"two words", func(f *webhook.Findings) { f.Add("a", phone); f.Add("a", webhook.Found{}); f.Add("a", phone) }, map[presence.PeerID]webhook.Found{}},
		{"other sessions", func(f *webhook.Findings) { f.Add("a", phone); f.Add("a", webhook.Found{Online: true}) }, map[presence.PeerID]webhook.Found{}},
		{"another peer", func(f *webhook.Findings) { f.Add("c", phone); f.Drop("c") }, map[presence.PeerID]webhook.Found{}},
		{"left out after all", func(f *webhook.Findings) { f.Add("a", phone); f.Drop("a"); f.Add("b", webhook.Found{}) }, map[presence.PeerID]webhook.Found{"b": {}}},
		{"a session without a name", func(f *webhook.Findings) { f.Add("a", webhook.Sessions([]webhook.FoundSession{{ID: "phone"}, {}})) }, map[presence.PeerID]webhook.Found{}},
		{"a session whose name is no text", func(f *webhook.Findings) { f.Add("a", webhook.Sessions([]webhook.FoundSession{{ID: "\xff"}})) }, map[presence.PeerID]webhook.Found{}},
	} {
		got, err := webhook.InParts([]presence.PeerID{"a", "b"}, 2, func(_ []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
			c.add(f)
			return 1, nil
		})
		if err != nil || got.At != 1 || !reflect.DeepEqual(got.Peers, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// TestVeryManySessions: no state keeps them.
func TestVeryManySessions(t *testing.T) {
	list := make([]webhook.FoundSession, 1000)
	for i := range list {
		list[i].ID = presence.SessionID(fmt.Sprint(i))
	}
	if f := webhook.Sessions(append(list, list...)); !f.Listed || len(f.Sessions) != 1000 {
		t.Errorf("of 1000 sessions: %v %d", f.Listed, len(f.Sessions))
	}
	if f := webhook.Sessions(append(list, webhook.FoundSession{ID: "more"})); !f.Online || f.Listed || f.Sessions != nil {
		t.Errorf("of 1001 sessions: %v %d", f.Listed, len(f.Sessions))
	}
}

// TestInParts: the time of the whole is the earliest, and one error ends it.
func TestInParts(t *testing.T) {
	peers := []presence.PeerID{"a", "b", "c", "d", "e"}
	times, calls := []presence.Millis{30, 10, 20}, 0
	ask := func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
		for _, p := range part {
			f.Add(p, webhook.Found{})
		}
		calls++
		return times[calls-1], nil
	}
	got, err := webhook.InParts(peers, 2, ask)
	if err != nil || got.At != 10 || len(got.Peers) != 5 || calls != 3 {
		t.Errorf("%+v, %v in %d calls", got, err, calls)
	}
	times, calls = []presence.Millis{30, 0, 20}, 0
	if got, _ := webhook.InParts(peers, 2, ask); got.At != 0 {
		t.Errorf("one part without a time: %d", got.At)
	}
	failed := errors.New("no")
	got, err = webhook.InParts(peers, 2, func(part []presence.PeerID, f *webhook.Findings) (presence.Millis, error) {
		f.Add(part[0], webhook.Found{})
		return 0, failed
	})
	if !errors.Is(err, failed) || got.Peers != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestPasses: a token is made once, again when it is refused, and not kept when it is refused new.
func TestPasses(t *testing.T) {
	made := 0
	obtain := func() (string, error) { made++; return fmt.Sprint("token-", made), nil }
	right := "token-1"
	use := func(token string) (presence.Millis, error) {
		if token != right {
			return 0, webhook.StatusError(http.StatusUnauthorized)
		}
		return 7, nil
	}
	p := new(webhook.Passes)
	for range 3 {
		if at, err := p.WithPass("key", obtain, use); at != 7 || err != nil {
			t.Fatalf("%d, %v", at, err)
		}
	}
	if made != 1 {
		t.Errorf("%d tokens were made, want 1", made)
	}
	right = "token-2" // the first has ended
	if _, err := p.WithPass("key", obtain, use); err != nil || made != 2 {
		t.Errorf("%v, %d tokens", err, made)
	}
	right = "none"
	for range 2 {
		if _, err := p.WithPass("key", obtain, use); !errors.Is(err, webhook.ErrRefused) {
			t.Errorf("a product that refuses its own tokens: %v", err)
		}
	}
	if made != 4 {
		t.Errorf("%d tokens were made, want one for each call", made)
	}
	right = "token-5"
	if _, err := (*webhook.Passes)(nil).WithPass("key", obtain, use); err != nil {
		t.Errorf("without a place to keep it: %v", err)
	}
}

// TestQueryHidesTheAddress: it may hold a signature.
func TestQueryHidesTheAddress(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:1/x?usersig=the-signature", "http://[::1/x?usersig=the-signature", "nothing://x?usersig=the-signature", "http://h/\x7fusersig=the-signature"} {
		q := webhook.Query{URL: url, Max: 10, Header: http.Header{"Authorization": {"the-signature\n"}}}
		if _, _, err := q.Do(t.Context(), http.DefaultClient); err == nil || strings.Contains(err.Error(), "the-signature") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
