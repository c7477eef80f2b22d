package openim_test

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
	"rollcall/edge/webhook/openim"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/presence"
)

const askKey = "the-secret-of-the-server"

// product answers as OpenIM documents its calls get_admin_token and get_users_online_status.
func product(tb testing.TB) http.Handler {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	token, status := read("admin_token.json"), read("online_status.json")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/auth/get_admin_token", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if json.NewDecoder(r.Body).Decode(&in) != nil || in["secret"] != askKey || in["userID"] != "imAdmin" || r.Header.Get("operationID") == "" {
			_, _ = io.WriteString(w, `{"errCode":1001,"errMsg":"ArgsError","errDlt":"secret invalid"}`)
			return
		}
		_, _ = w.Write(token)
	})
	mux.HandleFunc("POST /api/user/get_users_online_status", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ UserIDs []string }
		if r.Header.Get("token") != "eyJ-the-token-of-imAdmin" {
			_, _ = io.WriteString(w, `{"errCode":1501,"errMsg":"TokenExpiredError","errDlt":"`+audittest.Planted+`"}`)
			return
		}
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case err != nil || r.Header.Get("operationID") == "":
			_, _ = io.WriteString(w, `{"errCode":1001,"errMsg":"ArgsError"}`)
		case slices.Contains(in.UserIDs, "u1"):
			_, _ = w.Write(status)
		default:
			data := []map[string]any{}
			for _, u := range in.UserIDs {
				data = append(data, map[string]any{"userID": u, "status": 0})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"errCode": 0, "data": data})
		}
	})
	return mux
}

func suite(tb testing.TB) audittest.Suite {
	session := func(class string) webhook.FoundSession {
		return webhook.FoundSession{ID: presence.SessionID(class), Platform: class}
	}
	return audittest.Suite{
		Auditor: openim.Kind{}, Source: webhook.Source{Reconcile: webhook.Reconcile{Key: askKey}}, Path: "/api",
		Product: product(tb), Peers: []presence.PeerID{"u1", "u2", "u3", "u4"},
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{session("android"), session("web")}},
			"u2": {},
			"u3": {Online: true, Listed: true, Sessions: []webhook.FoundSession{session("mac")}},
			"u4": {Online: true},
		},
		Asks: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "_status") },
		Count: func(_ *http.Request, body []byte) int {
			var in struct{ UserIDs []string }
			_ = json.Unmarshal(body, &in)
			return len(in.UserIDs)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	b, err := os.ReadFile("testdata/online_status.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"errCode":"0","data":[null,{"userID":"u1","status":"1","detailPlatformStatus":[{"platform":"APad"},{}]}]}`)
	audittest.Fuzz(f, suite(f))
}

// TestATokenThatHasEndedIsReplaced: OpenIM refuses it, and there is a new one for the next call.
func TestATokenThatHasEndedIsReplaced(t *testing.T) {
	passes := new(webhook.Passes)
	if _, err := passes.WithPass(askKey, func() (string, error) { return "eyJ-of-last-year", nil }, func(string) (presence.Millis, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	audittest.Ask(t, suite(t), passes)
}

// TestSessionsHaveTheNamesOfEvents: a session of the answer is the one that the callback reports.
func TestSessionsHaveTheNamesOfEvents(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: openim.Kind{}, Secret: sourcetest.Secret}, 1767225700000)
	for _, platform := range []int{2, 5} {
		c := call(online, platform, 1767225600123)
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
