package generic_test

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/generic"
	"rollcall/internal/api"
	"rollcall/presence"
)

const askKey = "the-key-for-asking"

// backend answers as docs/sources.md says.
func backend(tb testing.TB) http.Handler {
	fixture, err := os.ReadFile("testdata/online.json")
	if err != nil {
		tb.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		stamp := r.Header.Get(api.TimeHeader)
		right := "v2=" + hex.EncodeToString(api.Sign(askKey, stamp, "POST", "/im/online?of=chat", body))
		if r.Header.Get(api.SignatureHeader) != right || r.Method != "POST" || r.RequestURI != "/im/online?of=chat" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var in struct {
			App   string
			Peers []string
		}
		if json.Unmarshal(body, &in) != nil || in.App != audittest.App {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = w.Write(fixture)
	})
}

func suite(tb testing.TB) audittest.Suite {
	return audittest.Suite{
		Auditor: generic.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{Key: askKey}}, Path: "/im/online?of=chat",
		Product: backend(tb), Peers: []presence.PeerID{"u1", "u2", "u3", "u4", "u5"}, At: 1767225600123,
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{
				{ID: "phone-7f3e", Platform: "ios", Since: 1767225000000}, {ID: "desk", Platform: "mac", Since: 1767220000000},
			}},
			"u2": {Online: true}, "u3": {}, "u5": {},
		},
		Asks: func(*http.Request) bool { return true },
		Count: func(_ *http.Request, body []byte) int {
			var in struct{ Peers []string }
			_ = json.Unmarshal(body, &in)
			return len(in.Peers)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	b, err := os.ReadFile("testdata/online.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"at":"1767225600123","peers":{"u1":{"online":true,"sessions":[{"session":""}]},"u2":null}}`)
	audittest.Fuzz(f, suite(f))
}

// A product that cannot be asked has a backend that answers for it.
func TestCheckAsk(t *testing.T) {
	for _, c := range []struct{ url, key, want string }{
		{"https://x/", askKey, ""},
		{"", askKey, "reconcile.url is missing; of generic"},
		{"https://x/", "", "reconcile.key is missing"},
	} {
		s := webhook.Source{Kind: generic.Kind{}, Reconcile: webhook.Reconcile{URL: c.url, Key: c.key}}
		if err := (generic.Kind{}).CheckAsk(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
