package mongooseim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/mongooseim"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

const askKey = "the-password-of-the-listener"

type question struct {
	Query     string            `json:"query"`
	Variables map[string]string `json:"variables"`
}

// product answers as MongooseIM documents its GraphQL API for administrators.
func product(tb testing.TB) http.Handler {
	sessions := fixture(tb)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/graphql", func(w http.ResponseWriter, r *http.Request) {
		var in question
		if user, key, _ := r.BasicAuth(); user != "admin" || key != askKey {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Date", "Thu, 01 Jan 2026 00:10:00 GMT")
		err := json.NewDecoder(r.Body).Decode(&in)
		if err != nil || !strings.HasPrefix(in.Query, "query($u0:JID!") || !strings.Contains(in.Query, "{session{u0:listUserSessions(user:$u0){user}") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if in.Variables["u0"] == "u1@im.example" && in.Variables["u1"] == "u2@im.example" {
			_, _ = w.Write(sessions)
			return
		}
		none := map[string]any{}
		for name := range in.Variables {
			none[name] = nil
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"session": none}})
	})
	return mux
}

func fixture(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/list_user_sessions.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func suite(tb testing.TB) audittest.Suite {
	const at = 1767226200000
	return audittest.Suite{
		Auditor: mongooseim.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{User: "admin", Key: askKey, Domain: "im.example"}},
		Path: "/api/graphql", Product: product(tb), Peers: []presence.PeerID{"u1", "u2", "u3"}, At: at, Unnamed: true,
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{{ID: "phone"}, {ID: "web"}}},
			"u2": {},
		},
		Asks: func(*http.Request) bool { return true },
		Count: func(_ *http.Request, body []byte) int {
			var in question
			_ = json.Unmarshal(body, &in)
			return len(in.Variables)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	f.Add(string(fixture(f)))
	f.Add(`{"data":{"session":{"u0":[{"user":"U1@im.example/","uptime":"1"}],"u1":[null],"u9":[]}}}`)
	audittest.Fuzz(f, suite(f))
}

// TestSessionsHaveTheNamesOfEvents: a session of the answer is the one that the event names.
func TestSessionsHaveTheNamesOfEvents(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: mongooseim.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	for _, resource := range []string{"phone", "web"} {
		c := sourcetest.Call{Header: map[string]string{}, Body: fmt.Sprintf(`{"user_id":"u1@im.example/%s","present":true,"ts":1767225600123}`, resource)}
		sign(&c, sourcetest.Secret, 0)
		if status, body := srv.Send(c); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
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

func TestCheckAsk(t *testing.T) {
	for _, c := range []struct{ by, url, user, domain, want string }{
		{"", "http://x", "admin", "im.example", ""},
		{"jid", "http://x", "admin", "", ""},
		{"", "http://x", "admin", "", "reconcile.domain is missing"},
		{"", "http://x", "", "im.example", "reconcile.user is missing"},
		{"", "", "admin", "im.example", "reconcile.url is missing"},
	} {
		s := webhook.Source{Kind: mongooseim.Kind{}, User: c.by, Reconcile: webhook.Reconcile{URL: c.url, User: c.user, Key: askKey, Domain: c.domain}}
		if err := (mongooseim.Kind{}).CheckAsk(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
