package tencent_test

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
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/tencent"
	"rollcall/presence"
)

const askKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"

// product answers as query_online_status is documented, to the peers of the fixture; others are
// unknown to it.
func product(tb testing.TB) http.Handler {
	fixture, err := os.ReadFile("testdata/query_online_status.json")
	if err != nil {
		tb.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q := r.URL.Query()
		var in struct {
			Peers  []string `json:"To_Account"`
			Detail int      `json:"IsNeedDetail"`
		}
		switch err := json.Unmarshal(body, &in); {
		case r.Method != "POST" || r.URL.Path != "/v4/openim/query_online_status" || q.Get("contenttype") != "json" || q.Get("random") == "":
			w.WriteHeader(http.StatusNotFound)
		case q.Get("sdkappid") != "1400000000" || q.Get("identifier") != "administrator":
			_, _ = io.WriteString(w, `{"ActionStatus":"FAIL","ErrorCode":60010,"ErrorInfo":"need administrator"}`)
		case !tencent.Signed(q.Get("usersig"), "1400000000", "administrator", askKey):
			_, _ = io.WriteString(w, `{"ActionStatus":"FAIL","ErrorCode":70009,"ErrorInfo":"signature of `+audittest.Planted+`"}`)
		case err != nil || in.Detail != 1:
			_, _ = io.WriteString(w, `{"ActionStatus":"FAIL","ErrorCode":90001,"ErrorInfo":"Fail to Parse json"}`)
		case slices.Contains(in.Peers, "u1"):
			_, _ = w.Write(fixture)
		default:
			_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[],"ErrorList":[{"To_Account":"`+in.Peers[0]+`","ErrorCode":70107}]}`)
		}
	})
}

func suite(tb testing.TB) audittest.Suite {
	session := func(class string) webhook.FoundSession {
		return webhook.FoundSession{ID: presence.SessionID(class), Platform: class}
	}
	return audittest.Suite{
		Auditor: tencent.Kind{}, Source: webhook.Source{AppID: "1400000000", Reconcile: webhook.Reconcile{Key: askKey}},
		Product: product(tb), Peers: []presence.PeerID{"u1", "u2", "u3", "u4", "u5", "u6"},
		Want: map[presence.PeerID]webhook.Found{
			"u1": {Online: true, Listed: true, Sessions: []webhook.FoundSession{session("ios"), session("web")}},
			"u2": {}, "u3": {}, "u5": {Online: true}, "u6": {},
		},
		Asks: func(*http.Request) bool { return true },
		Count: func(_ *http.Request, body []byte) int {
			var in struct {
				Peers []string `json:"To_Account"`
			}
			_ = json.Unmarshal(body, &in)
			return len(in.Peers)
		},
	}
}

func TestAsk(t *testing.T) { audittest.Run(t, suite(t)) }

func FuzzAnswer(f *testing.F) {
	b, err := os.ReadFile("testdata/query_online_status.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"ActionStatus":"OK","ErrorCode":"0","QueryResult":[{"To_Account":"u1","Status":"Online","Detail":[null,{"Platform":1}]}],"ErrorList":null}`)
	audittest.Fuzz(f, suite(f))
}

// TestSessionsHaveTheNamesOfEvents: a session of the answer is the one that the callback reports.
func TestSessionsHaveTheNamesOfEvents(t *testing.T) {
	srv := sourcetest.Open(t, webhook.Source{Kind: tencent.Kind{}, Secret: sourcetest.Secret, AppID: "1400000000"}, now)
	for _, platform := range []string{"IOS", "Web"} {
		c := call(platform, "Login", "Register", 1767225600123)
		sign(&c, sourcetest.Secret, now)
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

// TestRegions: another region is another address, and a query in it has no place.
func TestRegions(t *testing.T) {
	s := webhook.Source{Kind: tencent.Kind{}, Reconcile: webhook.Reconcile{Key: askKey, URL: "https://adminapisgp.im.qcloud.com/"}}
	if err := (tencent.Kind{}).CheckAsk(&s); err != nil {
		t.Error(err)
	}
	s.Reconcile.URL = "http://adminapisgp.im.qcloud.com"
	if err := (tencent.Kind{}).CheckAsk(&s); err == nil || !strings.HasPrefix(err.Error(), "reconcile.url is http") {
		t.Errorf("without TLS: %v", err)
	}
	s.Reconcile.URL = "http://127.0.0.1:8080?usersig=x"
	if err := (tencent.Kind{}).CheckAsk(&s); err == nil || !strings.HasPrefix(err.Error(), "reconcile.url ") {
		t.Errorf("with a query: %v", err)
	}
}
