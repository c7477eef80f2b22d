// Package sourcetest tries a kind of source with calls as its product sends them: in every order,
// twice, unsigned, signed with another secret, altered and late.
package sourcetest

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// A Call is one request of a product.
type Call struct {
	Method string // POST when empty
	Path   string // below the source, with its query: "/command?key=value"
	Header map[string]string
	Body   string
}

// A Story is what a product sends about one peer, in the order of what happened.
type Story struct {
	Name  string
	Peer  string
	Calls []Call
	Want  presence.Status
	// Once says that a call which is repeated counts again, since it names nothing to know it by.
	Once bool
	// Open are the ids of the sessions that are open at the end; nil is not looked at.
	Open []string
}

// A Suite is what there is to try of a kind.
type Suite struct {
	Kind webhook.Kind
	// Source are the settings of the source. App, ID, Kind, Lease and Hold are filled in, and
	// Secret is set to [Secret] when it is empty.
	Source webhook.Source
	// Sign proves a call with a secret at a time; it may change all of it.
	Sign func(c *Call, secret string, at presence.Millis)
	// Covers says that the proof covers the body, so that no byte of it may change.
	Covers bool
	// Window is how old a proof may be; 0: it does not age.
	Window time.Duration
	// Ordered says that the product names no times, so the order of arrival counts.
	Ordered bool
	// Now is when the calls arrive, in Unix milliseconds.
	Now     presence.Millis
	Stories []Story
}

// Secret is the secret of a suite that names none.
const Secret = "rcSecret"

// Run tries everything.
func Run(t *testing.T, s Suite) {
	if s.Source.Secret == "" {
		s.Source.Secret = Secret
	}
	d := s.Kind.Defaults()
	s.Source.Kind, s.Source.Lease, s.Source.Hold = s.Kind, d.Lease, d.Hold
	if err := s.Kind.Check(&s.Source); err != nil {
		t.Fatalf("the settings: %v", err)
	}
	if d.Lease <= 0 || d.Lease > presence.MaxLease || d.Hold < 0 || d.Hold > presence.MaxHold {
		t.Errorf("the defaults are %+v", d)
	}
	if len(s.Stories) == 0 {
		t.Fatal("there is no story")
	}
	for _, story := range s.Stories {
		t.Run(story.Name, func(t *testing.T) { s.orders(t, story) })
	}
	t.Run("proof", s.proof)
	t.Run("signed by the kind", s.ours)
	t.Run("recorded", s.recorded)
	t.Run("nonsense", s.nonsense)
}

// signed returns c with a proof made with secret at at.
func (s *Suite) signed(c Call, secret string, at presence.Millis) Call {
	if c.Header = maps.Clone(c.Header); c.Header == nil {
		c.Header = map[string]string{}
	}
	s.Sign(&c, secret, at)
	return c
}

// orders plays a story in each of its orders, with calls repeated, and expects the same end.
func (s *Suite) orders(t *testing.T, story Story) {
	first := ""
	for n, order := range permutations(len(story.Calls), s.Ordered) {
		srv := Open(t, s.Source, s.Now)
		for k, i := range order {
			if s.Ordered {
				srv.now += 10
			}
			c := s.signed(story.Calls[i], s.Source.Secret, srv.now)
			times := 1 + (n+k)%2 // every other one is repeated
			if story.Once {
				times = 1
			}
			for range times {
				if status, body := srv.Send(c); status != http.StatusOK || len(body) > 1000 {
					t.Fatalf("order %v: call %d is answered %d %.200s", order, i, status, body)
				}
			}
		}
		st := srv.State(story.Peer)
		if st.Status != story.Want {
			t.Fatalf("order %v: %s is %v, want %v; sessions %+v, slots %+v", order, story.Peer, st.Status, story.Want, st.Sessions, st.Slots)
		}
		open := srv.open(&st)
		if story.Open != nil && open != fmt.Sprint(story.Open) {
			t.Fatalf("order %v: open are %s, want %q", order, open, story.Open)
		}
		if first == "" {
			first = open
		} else if open != first {
			t.Fatalf("order %v: open are %s, in another order %s", order, open, first)
		}
	}
}

// proof refuses what is not proven, before it is read.
func (s *Suite) proof(t *testing.T) {
	c := s.Stories[0].Calls[0]
	source := s.Source
	source.SecretOld = "an-older-secret"
	srv := Open(t, source, s.Now)
	refused := func(name string, c Call, secure bool) {
		t.Helper()
		status, _ := srv.send(c, secure)
		if status != http.StatusUnauthorized && status != http.StatusForbidden || srv.reads.Load() != 0 {
			t.Errorf("%s: %d, read %d times; want it refused unread", name, status, srv.reads.Load())
		}
	}
	refused("without a proof", c, true)
	refused("with another secret", s.signed(c, "another-secret", s.Now), true)
	if s.Window > 0 {
		refused("late", s.signed(c, source.Secret, s.Now.Add(-s.Window-time.Second)), true)
		refused("from the future", s.signed(c, source.Secret, s.Now.Add(s.Window+time.Second)), true)
	}
	if s.Covers {
		right := s.signed(c, source.Secret, s.Now)
		for i := 0; i < len(right.Body) && !t.Failed(); i++ {
			one := right
			one.Body = right.Body[:i] + string(right.Body[i]^1) + right.Body[i+1:]
			refused(fmt.Sprintf("with byte %d changed", i), one, true)
		}
	}
	if s.Kind.Defaults().Open {
		refused("over plain HTTP, where nothing protects the body", s.signed(c, source.Secret, s.Now), false)
	}
	s.apps(t)
	if st := srv.State(s.Stories[0].Peer); st.Status != presence.Unknown {
		t.Errorf("what was refused made %s %v", s.Stories[0].Peer, st.Status)
	}
	for _, secret := range source.Secrets() {
		if status, body := srv.Send(s.signed(c, secret, s.Now)); status != http.StatusOK {
			t.Errorf("with one of two secrets: %d %s", status, body)
		}
	}
}

// apps refuses a call that names another app, whether a secret proves it or its network does.
func (s *Suite) apps(t *testing.T) {
	if _, named := s.Kind.(webhook.AppNamer); named == (s.Source.AppID == "") {
		t.Errorf("the calls name an app: %v; the source has %q", named, s.Source.AppID)
	}
	if s.Source.AppID == "" {
		return
	}
	proven := s.Source
	proven.AppID += "0"
	near := s.Source
	near.Secret, near.Allow = "", []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	far := near
	far.AppID += "0"
	c := s.signed(s.Stories[0].Calls[0], s.Source.Secret, s.Now)
	for _, source := range []webhook.Source{proven, far} {
		srv := Open(t, source, s.Now)
		if status, _ := srv.Send(c); status != http.StatusUnauthorized || srv.reads.Load() != 0 || srv.Stats().Unproven != 1 {
			t.Errorf("of another app, with the secret %q: %d, %+v", source.Secret, status, srv.Stats())
		}
	}
	srv := Open(t, near, s.Now)
	if status, body := srv.Send(s.Stories[0].Calls[0]); status != http.StatusOK {
		t.Errorf("not signed, from a network that is allowed: %d %s", status, body)
	}
}

// nonsense is signed and says nothing: it makes no panic and no change.
func (s *Suite) nonsense(t *testing.T) {
	srv := Open(t, s.Source, s.Now)
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `0`, `""`, `{`, `[null]`, `[[]]`, `[""]`, "\x00", `{"a":{"b":[1,2,{"c":null}]}}`, strings.Repeat("[", 5000),
		`{"event":null,"status":{},"user":[],"userid":[1],"timestamp":"x","time":-1,"Info":[],"eventType":9,"seq":1e300}`,
	} {
		c := s.Stories[0].Calls[0]
		c.Body = body
		status, answer := srv.Send(s.signed(c, s.Source.Secret, s.Now))
		if status != http.StatusOK && status != http.StatusBadRequest && status != http.StatusUnauthorized {
			t.Errorf("%.40q: %d %.100s", body, status, answer)
		}
	}
	if n := srv.Stats().Accepted; n != 0 {
		t.Errorf("nonsense was accepted %d times", n)
	}
}

// permutations returns the orders of n calls: all of up to five, some of more, and one of calls
// whose order counts, which is played with every other call repeated, and then the others.
func permutations(n int, ordered bool) [][]int {
	line := make([]int, n)
	for i := range line {
		line[i] = i
	}
	if ordered {
		return [][]int{line, line}
	}
	if n > 5 {
		reverse := make([]int, n)
		for i := range reverse {
			reverse[i] = n - 1 - i
		}
		all := [][]int{line, reverse}
		for shift := 1; shift < n; shift++ {
			all = append(all, append(append([]int{}, line[shift:]...), line[:shift]...))
		}
		return all
	}
	var all [][]int
	var place func(k int)
	place = func(k int) {
		if k == n {
			all = append(all, append([]int{}, line...))
			return
		}
		for i := k; i < n; i++ {
			line[k], line[i] = line[i], line[k]
			place(k + 1)
			line[k], line[i] = line[i], line[k]
		}
	}
	place(0)
	return all
}

// Fuzz sends signed bodies: none of them may make anything but an answer.
func Fuzz(f *testing.F, kind webhook.Kind, source webhook.Source, sign func(*Call, string, presence.Millis)) {
	const now = 1767225700000
	source.Kind, source.Secret = kind, Secret
	srv := Open(f, source, now)
	f.Fuzz(func(t *testing.T, body string) {
		c := Call{Body: body, Header: map[string]string{}}
		sign(&c, Secret, now)
		switch status, answer := srv.Send(c); status {
		case http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%q is answered %d %s", body, status, answer)
		}
	})
}
