package rest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestShouldPush: whether a message is pushed, by stories in the events of a source.
func TestShouldPush(t *testing.T) {
	h := open(t)
	at := int64(h.now()) - 1000
	event := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	for _, c := range []struct {
		name   string
		events []string
		want   string // push, quiet, why
	}{
		{"never reported", nil, `true,"quiet":false,"why":"unknown"`},
		{"online, nothing said", []string{`{"state":"online","session":"1"}`}, `true,"quiet":false,"why":"online"`},
		{"on the screen", []string{`{"state":"online","session":"1","activity":"foreground"}`}, `false,"quiet":false,"why":"foreground"`},
		{"on the screen, said later", []string{`{"state":"online","session":"1"}`, `{"state":"touch","session":"1","activity":"foreground"}`}, `false,"quiet":false,"why":"foreground"`},
		{"not used for a day", []string{event(`{"state":"online","session":"1","activity":"foreground","active_at":%d}`, at-86_400_000)}, `true,"quiet":false,"why":"idle"`},
		{"minimised phone beside an idle desktop", []string{`{"state":"online","session":"1","platform":"ios","activity":"background"}`, `{"state":"online","session":"2","platform":"mac","activity":"idle"}`}, `true,"quiet":false,"why":"idle"`},
		{"minimised", []string{`{"state":"online","session":"1","platform":"ios","activity":"background"}`}, `true,"quiet":false,"why":"background"`},
		{"used, then lost", []string{event(`{"state":"online","session":"1","activity":"foreground","time":%d}`, at), event(`{"state":"offline","session":"1","why":"lost","time":%d}`, at+1)}, `true,"quiet":false,"why":"offline"`},
		{"logged out", []string{event(`{"state":"online","session":"1","time":%d}`, at), event(`{"state":"offline","session":"1","why":"logout","time":%d}`, at+1)}, `false,"quiet":false,"why":"unreachable"`},
		{"logged out on one of two", []string{
			event(`{"state":"online","session":"1","platform":"ios","time":%d}`, at), event(`{"state":"offline","session":"1","why":"logout","time":%d}`, at+9),
			event(`{"state":"online","session":"2","platform":"web","time":%d}`, at), event(`{"state":"offline","session":"2","why":"lost","time":%d}`, at+1),
		}, `true,"quiet":false,"why":"offline"`},
		{"token said to be invalid", []string{event(`{"state":"online","session":"1","platform":"ios","time":%d}`, at), event(`{"state":"offline","session":"1","why":"lost","time":%d}`, at+1), event(`{"state":"reach","platform":"ios","reach":"no","time":%d}`, at+2)}, `false,"quiet":false,"why":"unreachable"`},
		{"to make no sound", []string{`{"state":"reach","platform":"ios","reach":"quiet"}`}, `true,"quiet":true,"why":"unknown"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.TB = t
			peer := strings.ReplaceAll(c.name, " ", "-")
			for _, e := range c.events {
				h.events(`{"events":[` + strings.Replace(e, "{", fmt.Sprintf(`{"peer":%q,`, peer), 1) + `]}`)
			}
			h.expect("master", "POST", "/v1/peers/should-push", fmt.Sprintf(`{"peers":[%q,%q]}`, peer, peer), 200,
				fmt.Sprintf(`{"peers":[{"peer":%[1]q,"push":%[2]s},{"peer":%[1]q,"push":%[2]s}]}`, peer, c.want))
		})
	}
	h.TB = t
	h.expect("app", "POST", "/v1/peers/should-push", `{"peers":["a"]}`, 403, ``)
	h.expect("master", "POST", "/v1/peers/should-push", `{}`, 400, `{"code":"invalid","error":"peers is missing: a list of ids"}`)
	h.expect("master", "POST", "/v1/peers/should-push", `{"peers":[]}`, 200, `{"peers":[]}`)
	h.expect("master", "POST", "/v1/peers/should-push", `{"peers":[""]}`, 400, ``)
}

// TestActivityIsDetail: what a user does is in answers for those who see details, and what he has
// and whether pushes get there for the master key only.
func TestActivityIsDetail(t *testing.T) {
	h := open(t)
	at := int64(h.now()) - 5000
	h.events(fmt.Sprintf(`{"events":[
		{"peer":"tom","state":"online","session":"1","platform":"ios","time":%[1]d,"activity":"background","active_at":%[2]d},
		{"peer":"tom","state":"online","session":"2","platform":"web","time":%[1]d},
		{"peer":"tom","state":"offline","session":"2","platform":"web","time":%[3]d,"why":"logout"},
		{"peer":"tom","state":"online","session":"3","platform":"ios","time":%[1]d},
		{"peer":"tom","state":"offline","session":"3","platform":"ios","time":%[3]d}]}`, at, at-100, at+10))
	for _, fields := range []string{"activity", "active_at", "reachable", "sessions"} {
		h.expect("app", "POST", "/v1/peers/query", fmt.Sprintf(`{"peers":["tom"],"fields":[%q]}`, fields), 403, ``)
	}
	h.expect("master", "POST", "/v1/peers/query", `{"peers":["tom","ann"],"fields":["activity","active_at","reachable","sessions"]}`, 200,
		fmt.Sprintf(`{"peers":[{"peer":"tom","status":"online","activity":"background","active_at":%[2]d,"reachable":"yes","sessions":[`+
			`{"source":"api","session":"1","platform":"ios","open":true,"since":%[1]d,"last_seen":%[1]d,"activity":"background","active_at":%[2]d},`+
			`{"source":"api","session":"2","platform":"web","open":false,"since":%[1]d,"last_seen":%[3]d,"cause":"logout"}]},`+
			`{"peer":"ann","status":"unknown","reachable":"unknown","sessions":[]}]}`, at, at-100, at+10))
}

// TestEventsOfActivityAndReachNameWhatIsWrong: each with its field.
func TestEventsOfActivityAndReachNameWhatIsWrong(t *testing.T) {
	h := open(t)
	for event, field := range map[string]string{
		`{"peer":"a","state":"online","session":"1","activity":"asleep"}`:                                     "activity",
		`{"peer":"a","state":"online","session":"1","activity":"unknown"}`:                                    "activity",
		`{"peer":"a","state":"online","activity":"idle"}`:                                                     "activity",
		`{"peer":"a","state":"offline","session":"1","activity":"idle"}`:                                      "activity",
		`{"peer":"a","state":"end_all","activity":"idle"}`:                                                    "activity",
		`{"peer":"a","state":"online","session":"1","activity":[]}`:                                           "activity",
		`{"peer":"a","state":"online","session":"1","active_at":1795866974092}`:                               "active_at",
		`{"peer":"a","state":"online","session":"1","activity":"idle","active_at":1795866974}`:                "active_at",
		`{"peer":"a","state":"online","session":"1","activity":"idle","active_at":"soon"}`:                    "active_at",
		`{"peer":"a","state":"reach","platform":"ios"}`:                                                       "reach",
		`{"peer":"a","state":"reach","platform":"ios","reach":"maybe"}`:                                       "reach",
		`{"peer":"a","state":"reach","platform":"ios","reach":"unknown"}`:                                     "reach",
		`{"peer":"a","state":"reach","session":"1","reach":"no"}`:                                             "session",
		`{"peer":"a","state":"online","session":"1","reach":"yes"}`:                                           "reach",
		`{"peer":"a","state":"reach","reach":"no","platform":"` + strings.Repeat("x", 300) + `"}`:             "platform",
		`{"peer":"a","state":"reach","reach":"no","activity":"idle","platform":"ios"}`:                        "activity",
		`{"peer":"a","state":"touch","session":"1","activity":"idle","active_at":-1,"platform":"ios"}`:        "active_at",
		`{"peer":"a","state":"touch","session":"1","activity":"idle","active_at":99999999999999999,"id":"1"}`: "active_at",
	} {
		res := h.do(as("hook"), "POST", "/v1/events", `{"events":[`+event+`]}`)
		b := make([]byte, 4096)
		n, _ := res.Body.Read(b)
		_ = res.Body.Close()
		if got := string(b[:n]); res.StatusCode != 200 || !strings.Contains(got, `"ignored":1`) || !strings.Contains(got, `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s, want field %s", event, res.StatusCode, got, field)
		}
	}
}

// BenchmarkShouldPush is the CPU of POST /v1/peers/should-push behind the gate, beside that of the
// plain query of the same peers: all online, with an activity and without.
func BenchmarkShouldPush(b *testing.B) {
	h := open(b)
	for _, n := range []int{20, 100, 1000} {
		list, events, plain := make([]string, n), make([]string, n), make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("%q", fmt.Sprintf("user-%d-%06d", n, i))
			events[i] = fmt.Sprintf(`{"user":%s,"state":"touch","session":"conn-%06d","platform":"ios","ttl":36000,"activity":"background"}`, list[i], i)
			plain[i] = fmt.Sprintf(`{"user":%s,"state":"touch","session":"conn-%06d","platform":"ios","ttl":36000}`, list[i], i)
		}
		body := `{"peers":[` + strings.Join(list, ",") + `]}`
		for _, c := range []struct{ name, path, events string }{
			{"query", "query", `{"events":[` + strings.Join(plain, ",") + `]}`},
			{"push", "should-push", `{"events":[` + strings.Join(plain, ",") + `]}`},
			{"push-with-activity", "should-push", `{"events":[` + strings.Join(events, ",") + `]}`},
		} {
			b.Run(fmt.Sprint(c.name, "-", n), func(b *testing.B) {
				h.TB = b
				h.events(c.events)
				b.ReportAllocs()
				for b.Loop() {
					req := httptest.NewRequest(http.MethodPost, "/v1/peers/"+c.path, strings.NewReader(body))
					for name, values := range as("master") {
						req.Header[name] = values
					}
					w := httptest.NewRecorder()
					if h.Config.Handler.ServeHTTP(w, req); w.Code != 200 {
						b.Fatal(w.Body)
					}
				}
			})
		}
	}
}
