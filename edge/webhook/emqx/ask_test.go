package emqx_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/audittest"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

const askKey = "the-secret-key"

type answer struct {
	Data []map[string]any `json:"data"`
	Meta map[string]any   `json:"meta"`
}

func fixture(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/clients.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// product answers as EMQX 5.6 and later document GET /clients: only the fields that were asked
// for, of the clients with one of the names, page by page. Before, it knows no fields and takes the
// last of several names.
func product(tb testing.TB, old bool) http.Handler {
	var all answer
	if err := json.Unmarshal(fixture(tb), &all); err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v5/clients", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if id, key, _ := r.BasicAuth(); id != "the-api-key" || key != askKey {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":"BAD_API_KEY_OR_SECRET","message":"Check api_key/api_secret"}`)
			return
		}
		if len(r.RequestURI) > 7000 {
			w.WriteHeader(http.StatusRequestURITooLong)
			return
		}
		names := q["username"]
		if old && len(names) > 1 {
			names = names[len(names)-1:]
		}
		out := answer{Data: []map[string]any{}}
		for _, row := range all.Data {
			if names != nil && !slices.Contains(names, row["username"].(string)) {
				continue
			}
			some := map[string]any{}
			for k, v := range row {
				if old || slices.Contains(strings.Split(q.Get("fields"), ","), k) {
					some[k] = v
				}
			}
			if old {
				some["proto_name"] = "MQTT"
			}
			out.Data = append(out.Data, some)
		}
		limit, _ := strconv.Atoi(q.Get("limit"))
		page, _ := strconv.Atoi(q.Get("page"))
		page = max(page, 1)
		from, to := min((page-1)*limit, len(out.Data)), min(page*limit, len(out.Data))
		out.Meta = map[string]any{"page": page, "limit": limit, "count": len(out.Data), "hasnext": to < len(out.Data)}
		out.Data = out.Data[from:to]
		_ = json.NewEncoder(w).Encode(out)
	})
	return mux
}

func suite(tb testing.TB) audittest.Suite {
	return audittest.Suite{
		Auditor: emqx.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{KeyID: "the-api-key", Key: askKey}},
		Product: product(tb, false), Peers: []presence.PeerID{"u1", "u2", "u3", "u4"},
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{
				{ID: "u1-phone", Since: 1767225600100, Incarnation: 1767225600100}, {ID: "u1-desk", Since: 1767225540000, Incarnation: 1767225540000},
			}},
			"u2": {}, "u3": {}, "u4": {},
		},
		Asks: func(r *http.Request) bool { return r.URL.Query().Has("username") || r.URL.Query().Has("clientid") }, Unnamed: true,
		Count: func(r *http.Request, _ []byte) int {
			if r.URL.Query().Get("page") != "1" {
				return 0
			}
			return len(r.URL.Query()["username"])
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	f.Add(string(fixture(f)))
	f.Add(`{"data":[{"clientid":"u1-phone","username":"u1","connected":true,"connected_at":"2026-01-01T00:00:00Z"}],"meta":{"hasnext":true}}`)
	audittest.Fuzz(f, suite(f))
}

// TestAnOlderEMQXIsRefused: it would leave out all but one of several clients.
func TestAnOlderEMQXIsRefused(t *testing.T) {
	srv := httptest.NewServer(product(t, true))
	defer srv.Close()
	s := webhook.Source{Kind: emqx.Kind{}, Reconcile: webhook.Reconcile{URL: srv.URL, KeyID: "the-api-key", Key: askKey}}
	for _, peers := range [][]presence.PeerID{{"u4", "u1"}, {"u1", "u4"}} {
		if got, err := (emqx.Kind{}).Ask(t.Context(), srv.Client(), &s, peers); !errors.Is(err, webhook.ErrRefused) || !strings.Contains(err.Error(), "5.6") {
			t.Errorf("%v: %+v, %v", peers, got, err)
		}
	}
}

// TestSessionsHaveTheNamesOfEvents: a session of the answer, with its incarnation, is the one that
// the event reports.
func TestSessionsHaveTheNamesOfEvents(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: emqx.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	c := sourcetest.Call{Header: map[string]string{}, Body: `{"event":"client.connected","clientid":"u1-phone","username":"u1","connected_at":1767225600100,"timestamp":1767225600103}`}
	sign(&c, sourcetest.Secret, 0)
	if status, body := srv.Send(c); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	st, want := srv.State("u1"), suite(t).Want["u1"].Sessions[0]
	if len(st.Sessions) != 1 || st.Sessions[0].ID != want.ID || st.Sessions[0].Incarnation != want.Incarnation {
		t.Errorf("%+v, the answer has %+v", st.Sessions, want)
	}
}

func TestCheckAsk(t *testing.T) {
	for _, c := range []struct{ user, url, id, want string }{
		{"", "http://x", "id", ""},
		{"clientid", "http://x", "id", ""},
		{"client_attrs.uid", "http://x", "id", "reconcile is set and user is client_attrs.uid"},
		{"", "", "id", "reconcile.url is missing"},
		{"", "http://x", "", "reconcile.key_id is missing"},
	} {
		s := webhook.Source{Kind: emqx.Kind{}, User: c.user, Reconcile: webhook.Reconcile{URL: c.url, KeyID: c.id, Key: askKey}}
		if err := (emqx.Kind{}).CheckAsk(&s); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
