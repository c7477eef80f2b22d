package leancloud_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/leancloud"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

const askKey = "the-master-key"

// product answers as LeanCloud documents check-online.
func product(tb testing.TB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /1.2/rtm/clients/check-online", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			IDs []string `json:"client_ids"`
		}
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case r.Header.Get("X-LC-Id") != audittest.App || r.Header.Get("X-LC-Key") != askKey+",master":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":401,"error":"Unauthorized."}`)
		case err != nil || len(in.IDs) > 20:
			w.WriteHeader(http.StatusBadRequest)
		case slices.Contains(in.IDs, "Tom"):
			_, _ = w.Write(fixture(tb))
		default:
			_, _ = io.WriteString(w, `{"results":[]}`)
		}
	})
	return mux
}

func fixture(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/check_online.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func suite(tb testing.TB) audittest.Suite {
	return audittest.Suite{
		Auditor: leancloud.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{Key: askKey}},
		Product: product(tb), Peers: []presence.PeerID{"Tom", "Jerry"}, Want: map[presence.PeerID]webhook.Found{"Tom": {Online: true}, "Jerry": {}},
		Asks: func(*http.Request) bool { return true }, Unnamed: true,
		Count: func(_ *http.Request, body []byte) int {
			var in struct {
				IDs []string `json:"client_ids"`
			}
			_ = json.Unmarshal(body, &in)
			return len(in.IDs)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	f.Add(string(fixture(f)))
	f.Add(`{"results":["Jerry","Tom","Jerry"],"more":{}}`)
	audittest.Fuzz(f, suite(f))
}

// TestHooksHaveADoorOfTheirOwn: a call of the source is refused with the paths of the hooks.
func TestHooksHaveADoorOfTheirOwn(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: leancloud.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	status, body := srv.Send(sourcetest.Call{Body: `{"peerId":"Tom"}`, Header: map[string]string{"Authorization": "Bearer " + sourcetest.Secret}})
	if status != http.StatusNotFound || !strings.Contains(body, "/1.1/functions/_clientOnline") {
		t.Errorf("%d %s", status, body)
	}
	if st := srv.State("Tom"); st.Status != presence.Unknown {
		t.Errorf("Tom is %v", st.Status)
	}
}

func TestCheck(t *testing.T) {
	asked := webhook.Reconcile{Every: time.Hour, URL: "https://api.example.com", Key: askKey}
	for _, c := range []struct {
		id        presence.Source
		reconcile webhook.Reconcile
		want      string
	}{
		{"leancloud", asked, ""},
		{"old", asked, "id is "},
		{"leancloud", webhook.Reconcile{}, "reconcile is missing"},
	} {
		s := webhook.Source{ID: c.id, Kind: leancloud.Kind{}, Reconcile: c.reconcile}
		if err := (leancloud.Kind{}).Check(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
