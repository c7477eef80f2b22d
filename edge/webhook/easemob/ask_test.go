package easemob_test

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
	"rollcall/edge/webhook/easemob"
	"rollcall/presence"
)

const askKey = "YXA6-the-client-secret"

// product answers as Easemob documents its calls token and users/batch/status.
func product(tb testing.TB) http.Handler {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	token, status := read("token.json"), read("batch_status.json")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /demo/app/token", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if json.NewDecoder(r.Body).Decode(&in) != nil || in["grant_type"] != "client_credentials" || in["client_id"] != "YXA6-the-id" || in["client_secret"] != askKey {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"`+audittest.Planted+`"}`)
			return
		}
		_, _ = w.Write(token)
	})
	mux.HandleFunc("POST /demo/app/users/batch/status", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Usernames []string }
		if r.Header.Get("Authorization") != "Bearer YWMt-the-token-of-the-app" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case err != nil || len(in.Usernames) > 100:
			w.WriteHeader(http.StatusBadRequest)
		case slices.Contains(in.Usernames, "u1"):
			_, _ = w.Write(status)
		default: // it does not look whether a user exists
			data := []map[string]string{}
			for _, u := range in.Usernames {
				data = append(data, map[string]string{u: "offline"})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"action": "get batch user status", "data": data})
		}
	})
	return mux
}

func suite(tb testing.TB) audittest.Suite {
	return audittest.Suite{
		Auditor: easemob.Kind{}, Source: webhook.Source{AppID: "demo#app", Reconcile: webhook.Reconcile{KeyID: "YXA6-the-id", Key: askKey}},
		Product: product(tb), Peers: []presence.PeerID{"u1", "u2"}, Want: map[presence.PeerID]webhook.Found{"u1": {Online: true}, "u2": {}},
		Asks: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/status") },
		Count: func(_ *http.Request, body []byte) int {
			var in struct{ Usernames []string }
			_ = json.Unmarshal(body, &in)
			return len(in.Usernames)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	b, err := os.ReadFile("testdata/batch_status.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"data":[{"u1":"online","u2":"offline"},null,{"u1":"offline"},{"u2":0}]}`)
	audittest.Fuzz(f, suite(f))
}

// TestATokenThatHasEndedIsReplaced: Easemob refuses it, and there is a new one for the next call.
func TestATokenThatHasEndedIsReplaced(t *testing.T) {
	s := suite(t)
	passes := new(webhook.Passes)
	if _, err := passes.WithPass(askKey, func() (string, error) { return "YWMt-of-last-year", nil }, func(string) (presence.Millis, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	audittest.Ask(t, s, passes)
}

func TestCheckAsk(t *testing.T) {
	for _, c := range []struct{ appid, id, want string }{
		{"demo#app", "id", ""},
		{"", "id", "appid is missing"},
		{"demo", "id", "appid is missing"},
		{"demo#app", "", "reconcile.key_id is missing"},
	} {
		s := webhook.Source{Kind: easemob.Kind{}, AppID: c.appid, Reconcile: webhook.Reconcile{KeyID: c.id, Key: askKey}}
		if err := (easemob.Kind{}).CheckAsk(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
