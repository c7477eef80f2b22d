package ejabberd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/ejabberd"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

const askKey = "the-password-of-the-administrator"

// product answers as ejabberd documents user_sessions_info.
func product(tb testing.TB) http.Handler {
	sessions := fixture(tb)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/user_sessions_info", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if user, key, _ := r.BasicAuth(); user != "admin@im.example" || key != askKey {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"status":"error","code":10,"message":"You are not authorized to call this command."}`)
			return
		}
		w.Header().Set("Date", "Thu, 01 Jan 2026 00:10:00 GMT")
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case err != nil || in["host"] != "im.example":
			w.WriteHeader(http.StatusBadRequest)
		case in["user"] == "u1":
			_, _ = w.Write(sessions)
		default:
			_, _ = io.WriteString(w, "[]")
		}
	})
	return mux
}

func fixture(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/user_sessions_info.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func suite(tb testing.TB) audittest.Suite {
	const at = 1767226200000
	return audittest.Suite{
		Auditor: ejabberd.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{User: "admin@im.example", Key: askKey, Domain: "im.example"}},
		Path: "/api", Product: product(tb), Peers: []presence.PeerID{"u1", "u2"}, At: at, Free: true, Unnamed: true,
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{{ID: "phone", Since: at - 231_000}, {ID: "web", Since: at - 9000}}},
			"u2": {},
		},
		Asks:  func(*http.Request) bool { return true },
		Count: func(*http.Request, []byte) int { return 1 },
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	f.Add(string(fixture(f)))
	f.Add(`[{"resource":"","uptime":"9"},{"resource":1,"uptime":-1}]`)
	audittest.Fuzz(f, suite(f))
}

// TestSessionsHaveTheNamesOfEvents: a session of the answer is the one that the module reports.
func TestSessionsHaveTheNamesOfEvents(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: ejabberd.Kind{}, Secret: sourcetest.Secret}, opened+60_000)
	c := call(online("u1@im.example/phone", opened, opened), online("u1@im.example/web", opened, opened))
	c.Header = map[string]string{}
	sign(&c, sourcetest.Secret, opened+60_000)
	if status, body := srv.Send(c); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	st := srv.State("u1")
	for _, x := range suite(t).Want["u1"].Sessions {
		if !slices.ContainsFunc(st.Sessions, func(s presence.Session) bool { return s.ID == x.ID }) {
			t.Errorf("%s is no session of %+v", x.ID, st.Sessions)
		}
	}
	if len(st.Sessions) != 2 {
		t.Errorf("there are %+v", st.Sessions)
	}
}

// TestName: a peer whose name no user can have is not asked about, since a server might cut it.
func TestName(t *testing.T) {
	for _, c := range []struct{ by, peer, user, host string }{
		{"", "u1", "u1", "im.example"},
		{"local", "u1", "u1", "im.example"},
		{"jid", "u1@other.example", "u1", "other.example"},
		{"", "u1@im.example", "", ""},
		{"", "u1/web", "", ""},
		{"jid", "u1", "", ""},
		{"jid", "@im.example", "", ""},
		{"jid", "u1@", "", ""},
		{"jid", "u1@im.example/web", "", ""},
		{"jid", "u1@a@b", "", ""},
		{"", "a b", "", ""},
	} {
		s := webhook.Source{User: c.by, Reconcile: webhook.Reconcile{Domain: "im.example"}}
		user, host, ok := ejabberd.Name(&s, presence.PeerID(c.peer))
		if ok != (c.user != "") || ok && (user != c.user || host != c.host) {
			t.Errorf("%+v: %q %q %v", c, user, host, ok)
		}
	}
}

func TestCheckAsk(t *testing.T) {
	for _, c := range []struct{ by, url, domain, want string }{
		{"", "http://x", "im.example", ""},
		{"jid", "http://x", "", ""},
		{"", "http://x", "", "reconcile.domain is missing"},
		{"", "", "im.example", "reconcile.url is missing"},
	} {
		s := webhook.Source{Kind: ejabberd.Kind{}, User: c.by, Reconcile: webhook.Reconcile{URL: c.url, Domain: c.domain}}
		if err := (ejabberd.Kind{}).CheckAsk(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
