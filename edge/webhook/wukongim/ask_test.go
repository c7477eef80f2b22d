package wukongim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/wukongim"
	"rollcall/presence"
)

const askKey = "the-manager-token"

// product answers as WuKongIM documents its call onlinestatus.
func product(answer []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /user/onlinestatus", func(w http.ResponseWriter, r *http.Request) {
		var in []string
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case r.Header.Get("token") != askKey:
			w.WriteHeader(http.StatusUnauthorized)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		case len(in) == 0:
			_, _ = io.WriteString(w, `{"status":200}`)
		case slices.Contains(in, "u1"):
			_, _ = w.Write(answer)
		default:
			_, _ = io.WriteString(w, "[]")
		}
	})
	return mux
}

func suite(answer []byte) audittest.Suite {
	return audittest.Suite{
		Auditor: wukongim.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{Key: askKey}},
		Product: product(answer), Peers: []presence.PeerID{"u1", "u2", "u3"},
		Want: map[presence.PeerID]webhook.Found{"u1": {Online: true}, "u2": {}, "u3": {}},
		Asks: func(*http.Request) bool { return true }, Unnamed: true, Free: true,
		Count: func(_ *http.Request, body []byte) int {
			var in []string
			_ = json.Unmarshal(body, &in)
			return len(in)
		},
	}
}

func fixture(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/onlinestatus.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(fixture(t))) }

// TestAskOlder: versions before 2 send the ids of those online.
func TestAskOlder(t *testing.T) { audittest.Run(t, suite([]byte(`["u1"]`))) }

func FuzzAnswer(f *testing.F) {
	f.Add(string(fixture(f)))
	f.Add(`["u1",{"uid":"u2","online":"0"}]`)
	audittest.Fuzz(f, suite(fixture(f)))
}
