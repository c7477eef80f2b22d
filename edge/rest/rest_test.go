package rest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/watch"
)

func TestQuery(t *testing.T) {
	h := open(t)
	at := int64(h.now())
	h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":"online","session":"1"},{"peer":"ann","state":"online","session":"1","time":%d},{"user":"ann","state":"offline","session":"1","why":"logout","time":"%d"}]}`, at-10, at-5))
	tests := []struct {
		name, who, body string
		status          int
		want            string
	}{
		{"in order, duplicates in place", "app", `{"peers":["zed","tom","ann","tom"]}`, 200, `{"peers":[{"peer":"zed","status":"unknown"},{"peer":"tom","status":"online"},{"peer":"ann","status":"offline"},{"peer":"tom","status":"online"}]}`},
		{"none", "app", `{"peers":[]}`, 200, `{"peers":[]}`},
		{"with escapes", "app", `{"peers":["t\u006fm"]}`, 200, `{"peers":[{"peer":"tom","status":"online"}]}`},
		{"an id that needs escapes", "app", `{"peers":["a\"b\\é"]}`, 200, `{"peers":[{"peer":"a\"b\\é","status":"unknown"}]}`},
		{"unknown fields are let be", "app", `{"peers":["tom"],"more":{"x":[1]}}`, 200, `{"peers":[{"peer":"tom","status":"online"}]}`},
		{"fields need the master key", "app", `{"peers":["tom"],"fields":["since"]}`, 403, ``},
		{"cause", "master", `{"peers":["ann"],"fields":["cause"]}`, 200, `{"peers":[{"peer":"ann","status":"offline","cause":"logout"}]}`},
		{"a field that is none", "master", `{"peers":["ann"],"fields":["age"]}`, 400, `{"code":"invalid","error":"there is no field \"age\"; there are since, last_seen, cause, devices, activity, active_at, reachable and sessions"}`},
		{"no list", "app", `{}`, 400, `{"code":"invalid","error":"peers is missing: a list of ids"}`},
		{"null for a list", "app", `{"peers":null}`, 400, `{"code":"invalid","error":"peers is missing: a list of ids"}`},
		{"an empty id", "app", `{"peers":["tom",""]}`, 400, `{"code":"invalid","error":"peer 1: invalid: the peer id is empty"}`},
		{"null for an id", "app", `{"peers":[null]}`, 400, `{"code":"invalid","error":"peer 0 is null"}`},
		{"a number for an id", "app", `{"peers":[1]}`, 400, `{"code":"bad_json","error":"the field \"peers\" has the wrong type"}`},
		{"a string for the list", "app", `{"peers":"tom"}`, 400, `{"code":"bad_json","error":"the field \"peers\" has the wrong type"}`},
		{"an array", "app", `[]`, 400, `{"code":"bad_json","error":"the body has the wrong shape"}`},
		{"nothing", "app", ``, 400, `{"code":"bad_json","error":"the body is not usable JSON: not JSON at byte 0"}`},
		{"two values", "app", `{"peers":[]} {}`, 400, `{"code":"bad_json","error":"the body is not usable JSON: not JSON at byte 13"}`},
		{"a key twice", "app", `{"peers":["tom"],"Peers":["ann"]}`, 400, `{"code":"bad_json","error":"the body is not usable JSON: a key appears twice at byte 24"}`},
		{"half a surrogate", "app", `{"peers":["\ud800"]}`, 400, ``},
		{"not UTF-8", "app", "{\"peers\":[\"\xff\"]}", 400, ``},
		{"too deep", "app", `{"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, 400, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.TB = t
			h.expect(tt.who, "POST", "/v1/peers/query", tt.body, tt.status, tt.want)
		})
	}
}

func TestQueryTakesTenThousandAndNoMore(t *testing.T) {
	h := open(t)
	ids := make([]string, 10_001)
	for i := range ids {
		ids[i] = fmt.Sprintf(`"peer-%d"`, i)
	}
	h.events(`{"events":[{"user":"peer-9999","state":"online"}]}`)
	status, body := h.call("master", "POST", "/v1/peers/query", `{"peers":[`+strings.Join(ids[:10_000], ",")+`]}`)
	var out struct {
		Peers []struct{ Peer, Status string }
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || len(out.Peers) != 10_000 {
		t.Fatalf("%d, %d peers, %v", status, len(out.Peers), err)
	}
	for i, p := range out.Peers {
		want := "unknown"
		if i == 9999 {
			want = "online"
		}
		if p.Peer != "peer-"+strconv.Itoa(i) || p.Status != want {
			t.Fatalf("at %d: %v", i, p)
		}
	}
	h.expect("master", "POST", "/v1/peers/query", `{"peers":[`+strings.Join(ids, ",")+`]}`, 413,
		`{"code":"too_many_peers","error":"one query may name 10000 peers","limit":10000}`)
	h.expect("master", "POST", "/v1/peers/query", `{"peers":["`+strings.Repeat("x", 1<<20)+`"]}`, 413,
		`{"code":"too_large","error":"the body is larger than 1048576 bytes","limit":1048576}`)
}

func TestPollWithSince(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"}]}`)
	ask := func(who, since string) (out struct {
		Peers    []struct{ Peer, Status string }
		Complete bool
		Token    string
	},
	) {
		t.Helper()
		status, body := h.call(who, "POST", "/v1/peers/query", `{"peers":["tom","ann"],"since":"`+since+`"}`)
		if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 {
			t.Fatal(status, body)
		}
		return out
	}
	first := ask("app", "")
	if !first.Complete || len(first.Peers) != 2 {
		t.Fatalf("the first answer is %+v", first)
	}
	h.ahead.Add(10)
	second := ask("app", first.Token)
	h.ahead.Add(10)
	if third := ask("app", second.Token); third.Complete || len(third.Peers) != 0 {
		t.Errorf("with nothing new: %+v", third)
	}
	h.events(`{"events":[{"user":"ann","state":"online","session":"1"}]}`)
	if got := ask("app", second.Token); got.Complete || fmt.Sprint(got.Peers) != "[{ann online}]" {
		t.Errorf("after ann came: %+v", got)
	}
}

func TestOnePeer(t *testing.T) {
	h := open(t)
	h.expect("app", "GET", "/v1/peers/a%2Fb%20c", "", 200, `{"peer":"a/b c","status":"unknown"}`)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1","platform":"ios"},{"user":"tom","state":"online","session":"2","platform":"web"}]}`)
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"online"}`)
	if _, body := h.call("master", "GET", "/v1/peers/tom", ""); !regexp.MustCompile(`^\{"peer":"tom","status":"online","since":\d+,"last_seen":\d+,"devices":\["ios","web"\]\}$`).MatchString(body) {
		t.Errorf("the master sees %s", body)
	}
	h.expect("master", "DELETE", "/v1/peers/tom", "", 200, `{"erased":"tom"}`)
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"unknown"}`)
	h.expect("master", "GET", "/v1/peers/"+strings.Repeat("x", 300), "", 400, "")
}

func TestListPages(t *testing.T) {
	h := open(t)
	want := map[string]bool{}
	var events []string
	for i := range 50 {
		id := fmt.Sprint("peer-", i)
		want[id] = true
		events = append(events, `{"user":"`+id+`","state":"online","session":"1"}`)
	}
	h.events(`{"events":[` + strings.Join(events, ",") + `]}`)
	cursor, pages := "", 0
	for more := true; more; pages++ {
		status, body := h.call("master", "GET", "/v1/peers?online&limit=7&cursor="+cursor, "")
		var out struct {
			Peers  []string
			Cursor string
		}
		if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || len(out.Peers) > 7 {
			t.Fatal(status, body)
		}
		for _, p := range out.Peers {
			if !want[p] && strings.HasPrefix(p, "peer-") {
				t.Errorf("%s is listed twice", p)
			}
			delete(want, p)
		}
		// Others come and go meanwhile.
		h.events(fmt.Sprintf(`{"events":[{"user":"guest-%d","state":"online","session":"1"},{"user":"guest-%d","state":"offline","session":"1"}]}`, pages, pages-1))
		cursor, more = out.Cursor, out.Cursor != ""
	}
	for p := range want {
		t.Errorf("%s is missing", p)
	}
	for _, q := range []string{"", "?online=no", "?online&limit=0", "?online&limit=1001", "?online&limit=-1", "?online&limit=%D9%A3"} {
		h.expect("master", "GET", "/v1/peers"+q, "", 400, "")
	}
}

func TestEvents(t *testing.T) {
	h := open(t)
	at := func(d int64) string { return fmt.Sprint(int64(h.now()) + d) }
	tests := []struct {
		name, events, want string
	}{
		{"an online", `{"user":"tom","state":"online","session":"1","time":` + at(-1000) + `}`, `{"accepted":1,"double":0,"late":0,"stale":0,"ignored":0,"full":0}`},
		{"it is overtaken", `{"user":"tom","state":"offline","session":"1","time":` + at(-2000) + `}`, `{"accepted":0,"double":0,"late":1,"stale":0,"ignored":0,"full":0}`},
		{"too old", `{"user":"tom","state":"offline","session":"1","time":` + at(-25*3600*1000) + `}`, `{"accepted":0,"double":0,"late":0,"stale":1,"ignored":0,"full":0}`},
		{"a custom state", `{"user":"tom","state":"custom"}`, `{"accepted":0,"double":0,"late":0,"stale":0,"ignored":1,"full":0,"errors":[{"index":0,"code":"invalid","error":"invalid: the state \"custom\" is none of online, offline, touch, end_all and reach","field":"state"}]}`},
		{"a sequence number is no time: the order of arrival counts", `{"user":"seq","state":"offline","session":"1","seq":2},{"user":"seq","state":"online","session":"1","seq":1}`, `{"accepted":2,"double":0,"late":0,"stale":0,"ignored":0,"full":0}`},
		{"one bad among good", `{"user":"a","state":"online"},{"user":[7]},{"user":"b","state":"online"}`, `{"accepted":2,"double":0,"late":0,"stale":0,"ignored":1,"full":0,"errors":[{"index":1,"code":"wrong_type","error":"invalid: user is neither a text nor a whole number","field":"user"}]}`},
		{"numbers as strings", `{"user":"c","state":"online","session":"1","time":"` + at(0) + `","ttl":"60","inc":"` + at(-5) + `"}`, `{"accepted":1,"double":0,"late":0,"stale":0,"ignored":0,"full":0}`},
		{"user and peer that differ", `{"user":"a","peer":"b","state":"online"}`, `{"accepted":0,"double":0,"late":0,"stale":0,"ignored":1,"full":0,"errors":[{"index":0,"code":"invalid","error":"invalid: user and peer differ","field":"peer"}]}`},
		{"a misspelt field", `{"user":"a","status":"online"}`, `{"accepted":0,"double":0,"late":0,"stale":0,"ignored":1,"full":0,"errors":[{"index":0,"code":"invalid","error":"invalid: the state is missing: online, offline, touch, end_all or reach","field":"state"}]}`},
		{"none", ``, `{"accepted":0,"double":0,"late":0,"stale":0,"ignored":0,"full":0}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.TB = t
			h.expect("hook", "POST", "/v1/events", `{"events":[`+tt.events+`]}`, 200, tt.want)
		})
	}
	h.TB = t
	// Of many that are not understood the first ten are named.
	var tally struct {
		Ignored int
		Errors  []struct {
			Index int
			Code  string
		}
	}
	_, body := h.call("hook", "POST", "/v1/events", `{"events":[`+strings.Repeat(`{"user":"d","state":"online"},{},`, 11)+`{}]}`)
	if err := json.Unmarshal([]byte(body), &tally); err != nil {
		t.Fatal(err)
	}
	if tally.Ignored != 12 || len(tally.Errors) != 10 || tally.Errors[9].Index != 19 || tally.Errors[9].Code != "invalid" {
		t.Errorf("got %s", body)
	}
	h.expect("hook", "POST", "/v1/events", `{}`, 400, "")
	h.expect("hook", "POST", "/v1/events", `{"events":[`+strings.Repeat(`{},`, 1000)+`{}]}`, 413, `{"code":"too_many_events","error":"one call may carry 1000 events","limit":1000}`)
}

func TestAnEventCountsOnceByItsID(t *testing.T) {
	h := open(t)
	// A source that names neither session nor time: twice the same delivery is one login, so one
	// logout ends it.
	on := `{"events":[{"user":"tom","state":"online","id":"delivery-1"}]}`
	h.events(on)
	h.expect("hook", "POST", "/v1/events", on, 200, `{"accepted":0,"double":1,"late":0,"stale":0,"ignored":0,"full":0}`)
	h.events(`{"events":[{"user":"tom","state":"offline","id":"delivery-2","why":"logout"}]}`)
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"offline"}`)
	// With a session but no time a login that is sent again after the logout would be the newest
	// word.
	on = `{"events":[{"user":"jo","state":"online","session":"1","id":"delivery-3"}]}`
	h.events(on)
	h.ahead.Add(10)
	h.events(`{"events":[{"user":"jo","state":"offline","session":"1","id":"delivery-4","why":"logout"}]}`)
	h.ahead.Add(10)
	h.expect("hook", "POST", "/v1/events", on, 200, `{"accepted":0,"double":1,"late":0,"stale":0,"ignored":0,"full":0}`)
	h.expect("app", "GET", "/v1/peers/jo", "", 200, `{"peer":"jo","status":"offline"}`)
}

func TestNodes(t *testing.T) {
	h := open(t)
	sweep := func() {
		t.Helper()
		if _, err := h.service.Sweep(t.Context(), h.now()); err != nil {
			t.Fatal(err)
		}
	}
	status := func(peer, want string) {
		t.Helper()
		h.expect("app", "GET", "/v1/peers/"+peer, "", 200, `{"peer":"`+peer+`","status":"`+want+`"}`)
	}
	node := func(method, path, body, want string) {
		t.Helper()
		h.expect("hook", method, "/v1/nodes/gw1%231/"+path, body, 200, want)
	}
	h.events(`{"events":[{"user":"tom","state":"online","session":"1","node":"gw1#1"},{"user":"ann","state":"online","session":"2","node":"gw1#1"}]}`)
	node("POST", "beat", `{"lease":60}`, `{"lease":60}`)
	h.ahead.Add(50_000)
	sweep()
	status("tom", "online")
	node("POST", "beat", ``, `{"lease":60}`)
	h.ahead.Add(50_000)
	sweep()
	status("tom", "online")

	node("PUT", "sessions", `{"sessions":[{"user":"tom","session":"1"},{"user":"bob","session":"3"}]}`, `{"accepted":3,"double":0,"late":0,"stale":0,"ignored":0,"full":0,"ended":1}`)
	status("tom", "online")
	status("bob", "online")
	status("ann", "offline")
	h.expect("hook", "PUT", "/v1/nodes/gw1%231/sessions", `{"sessions":[{"user":"tom"}]}`, 400, `{"code":"invalid","error":"session 0: invalid: it has no session id"}`)
	status("tom", "online")

	drained := h.now()
	node("POST", "drain", ``, `{"grace":30}`)
	h.ahead.Add(29_000)
	sweep()
	status("tom", "online")
	h.events(`{"events":[{"user":"tom","state":"online","session":"9","node":"gw2#1"}]}`)
	h.ahead.Add(2_000)
	sweep()
	status("tom", "online")
	status("bob", "offline")
	var bob struct {
		Seen  presence.Millis `json:"last_seen"`
		Cause string
	}
	_, body := h.call("master", "GET", "/v1/peers/bob", "")
	if err := json.Unmarshal([]byte(body), &bob); err != nil || bob.Cause != "drained" || bob.Seen < drained || bob.Seen > drained.Add(20*time.Second) {
		t.Errorf("bob is %s, want last seen at the drain, %d, not at the end of its grace (%v)", body, drained, err)
	}
	h.ahead.Add(31_000) // gw2 sends no heartbeat, so it leases nothing
	sweep()
	status("tom", "online")
	h.expect("hook", "POST", "/v1/nodes/gw1/beat", `{"lease":4000}`, 400, "")
}

// TestANodeLeasesSessionsFromItsFirstHeartbeatOn: a name is no promise. Until the node sends a
// heartbeat, or drains, its sessions have their own leases; from then on they live and end with it,
// whatever came first.
func TestANodeLeasesSessionsFromItsFirstHeartbeatOn(t *testing.T) {
	const (
		event  = `POST events {"events":[{"user":"tom","state":"online","session":"1","node":"emqx@10.0.0.1"}]}`
		short  = `POST events {"events":[{"user":"tom","state":"online","session":"1","node":"emqx@10.0.0.1","ttl":60}]}`
		list   = `PUT nodes/emqx@10.0.0.1/sessions {"sessions":[{"user":"tom","session":"1"}]}`
		brief  = `PUT nodes/emqx@10.0.0.1/sessions {"sessions":[{"user":"tom","session":"1","ttl":60}]}`
		beat   = `POST nodes/emqx@10.0.0.1/beat {}`
		long   = `POST nodes/emqx@10.0.0.1/beat {"lease":300}`
		drain  = `POST nodes/emqx@10.0.0.1/drain {}`
		touch  = `POST events {"events":[{"user":"tom","state":"touch","session":"1","node":"emqx@10.0.0.1","ttl":60}]}`
		unsent = `POST events {"events":[{"user":"ann","state":"online","session":"1","node":"emqx@10.0.0.1","ttl":60}]}`
	)
	for _, tt := range []struct {
		name string
		does string // calls, and "+<seconds>" of quiet
		want string
	}{
		{"an event is no heartbeat", event + " +31 +3600", "online"},
		{"nor are many", event + " +20 " + event + " +31", "online"},
		{"nor is a resync", list + " +31 +3600", "online"},
		{"its own lease ends it", short + " +59", "online"},
		{"and not later", short + " +61", "offline"},
		{"so with a resync", brief + " +61", "offline"},
		{"a heartbeat after it", short + " +5 " + beat + " +29", "online"},
		{"beyond its lease", short + " +5 " + long + " +200 " + beat + " +200", "online"},
		{"then the node ends it", event + " +5 " + beat + " +31", "offline"},
		{"a heartbeat before it", beat + " +5 " + short + " +29", "online"},
		{"it counts as one then", beat + " +25 " + short + " +29", "online"},
		{"and ends with the node", beat + " " + event + " +31", "offline"},
		{"a touch is as good", beat + " " + event + " +25 " + touch + " +25", "online"},
		{"of another peer, too", beat + " " + event + " +25 " + unsent + " +25", "online"},
		{"a drain gives it the grace", event + " " + drain + " +29", "online"},
		{"a drain ends it after", event + " " + drain + " +31", "offline"},
		{"a heartbeat after the lease is too late", short + " +61 " + beat + " +1", "offline"},
		{"a lost node leases nothing more", beat + " +31 " + event + " +31 +3600", "online"},
		{"until it sends a heartbeat again", beat + " +31 " + event + " +5 " + beat + " +31", "offline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t)
			words := strings.Fields(tt.does)
			for i := 0; i < len(words); i++ {
				if seconds, ok := strings.CutPrefix(words[i], "+"); ok {
					n, err := strconv.Atoi(seconds)
					if err != nil {
						t.Fatal(err)
					}
					h.ahead.Add(int64(n) * 1000)
					if _, err := h.service.Sweep(t.Context(), h.now()); err != nil {
						t.Fatal(err)
					}
					continue
				}
				h.expect("hook", words[i], "/v1/"+words[i+1], words[i+2], 200, "")
				h.ahead.Add(1)
				i += 2
			}
			h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"`+tt.want+`"}`)
		})
	}
}

// The answer to reports without a time says that the order of arrival counts: also within one call,
// and one millisecond.
func TestEventsWithoutATimeCountInTheOrderOfArrival(t *testing.T) {
	h := open(t)
	const on, off = `{"user":"%[1]s","state":"online","session":"1"}`, `{"user":"%[1]s","state":"offline","session":"1","why":"logout"}`
	for _, tt := range []struct{ peer, events, status string }{
		{"short", on + "," + off, "offline"},
		{"back", on + "," + off + "," + on, "online"},
		{"gone", on + "," + off + "," + on + "," + off, "offline"},
	} {
		events := strings.ReplaceAll(tt.events, "%[1]s", tt.peer)
		n := strings.Count(events, "user")
		h.expect("hook", "POST", "/v1/events", `{"events":[`+events+`]}`, 200, fmt.Sprintf(`{"accepted":%d,"double":0,"late":0,"stale":0,"ignored":0,"full":0}`, n))
		h.expect("app", "GET", "/v1/peers/"+tt.peer, "", 200, fmt.Sprintf(`{"peer":%q,"status":%q}`, tt.peer, tt.status))
	}
}

// A gateway that was cut off says its sessions again, each with the time at which it began: they
// are online, whatever was concluded meanwhile and however long ago that is.
func TestAResyncBringsBackWhatBeganLongAgo(t *testing.T) {
	h := open(t)
	began := h.now()
	for i, since := range []presence.Millis{began - 3_600_000, began - 48*3_600_000} {
		session := fmt.Sprintf(`{"user":"tom%d","session":"1","time":%d}`, i, since)
		h.expect("hook", "POST", "/v1/nodes/gw%231/beat", "", 200, `{"lease":30}`)
		h.events(`{"events":[` + strings.Replace(session, "{", `{"state":"online","node":"gw#1",`, 1) + `]}`)
		h.ahead.Add(31_000) // the lease of the node is over
		if _, err := h.service.Sweep(t.Context(), h.now()); err != nil {
			t.Fatal(err)
		}
		h.expect("hook", "PUT", "/v1/nodes/gw%231/sessions", `{"sessions":[`+session+`]}`, 200, `{"accepted":1,"double":0,"late":0,"stale":0,"ignored":0,"full":0,"ended":0}`)
		_, body := h.call("master", "GET", fmt.Sprintf("/v1/peers/tom%d", i), "")
		if want := fmt.Sprintf(`{"peer":"tom%d","status":"online","since":%d,`, i, since); !strings.HasPrefix(body, want) {
			t.Errorf("got %s, want %s…", body, want)
		}
		h.expect("hook", "PUT", "/v1/nodes/gw%231/sessions", `{"sessions":[]}`, 200, "")
	}
}

// The clock of a gateway may be a little ahead: what it said before it made the list does not stand
// against the list.
func TestAResyncOfAClockThatIsAhead(t *testing.T) {
	h := open(t)
	ahead := h.now() + 5_000
	h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":"online","session":"1","node":"gw#1","time":%d},{"user":"ann","state":"online","session":"1","node":"gw#1","time":%d}]}`, ahead, ahead+2_000))
	h.expect("hook", "PUT", "/v1/nodes/gw%231/sessions", fmt.Sprintf(`{"time":%d,"sessions":[]}`, ahead+1_000), 200, `{"accepted":1,"double":0,"late":0,"stale":0,"ignored":0,"full":0,"ended":1}`)
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"offline"}`)
	h.expect("app", "GET", "/v1/peers/ann", "", 200, `{"peer":"ann","status":"online"}`)
	h.expect("hook", "PUT", "/v1/nodes/gw%231/sessions", `{"time":-1,"sessions":[]}`, 400, `{"code":"invalid","error":"time is less than 0, or not a number"}`)
}

func sign(stamp, body, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(stamp + "." + body))
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

func TestSignature(t *testing.T) {
	const body = `{"events":[{"user":"u1","state":"online","time":1767225600123}]}`
	if got := sign("1767225600", body, "rcSecret"); got != "v1=42b6cc41a3cd0545e991ae70103ca5bad76bf02b9c9647bff5dbbdd112243bf8" {
		t.Fatalf("the vector gives %s", got)
	}
	h := open(t)
	send := func(stamp, signature, body string) (int, string) {
		t.Helper()
		head := http.Header{"X-Lc-Id": {appID}, api.TimeHeader: {stamp}, api.SignatureHeader: {signature}}
		res := h.do(head, "POST", "/v1/events", body)
		defer func() { _ = res.Body.Close() }()
		var e api.Error
		_ = json.NewDecoder(res.Body).Decode(&e)
		return res.StatusCode, e.Code
	}
	fresh := `{"events":[{"user":"u1","state":"online"}]}`
	stamp := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	tests := []struct {
		name, stamp, signature, body string
		status                       int
		code                         string
	}{
		{"right", stamp(0), sign(stamp(0), fresh, hookKey), fresh, 200, ""},
		{"right among others", stamp(0), "v1=00, v2=ab," + sign(stamp(0), fresh, hookKey), fresh, 200, ""},
		{"a little old", stamp(-290 * time.Second), sign(stamp(-290*time.Second), fresh, hookKey), fresh, 200, ""},
		{"too old", stamp(-310 * time.Second), sign(stamp(-310*time.Second), fresh, hookKey), fresh, 401, "signature_expired"},
		{"too far ahead", stamp(310 * time.Second), sign(stamp(310*time.Second), fresh, hookKey), fresh, 401, "signature_expired"},
		{"another body", stamp(0), sign(stamp(0), fresh, hookKey), fresh + " ", 401, "unauthorized"},
		{"another secret", stamp(0), sign(stamp(0), fresh, masterKey), fresh, 401, "unauthorized"},
		{"another time", stamp(time.Second), sign(stamp(0), fresh, hookKey), fresh, 401, "unauthorized"},
		{"no hex", stamp(0), "v1=zz", fresh, 401, "unauthorized"},
		{"no time", "", sign("", fresh, hookKey), fresh, 401, "signature_expired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, code := send(tt.stamp, tt.signature, tt.body); status != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", status, code, tt.status, tt.code)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	h := open(t, func(cfg *api.Config, _ *watch.Config) {
		cfg.Limits.Ask = limit.Rate{PerSecond: 0.01, Burst: 3}
	})
	for range 3 {
		h.expect("app", "GET", "/v1/peers/tom", "", 200, "")
	}
	res := h.do(as("app"), "GET", "/v1/peers/tom", "")
	_ = res.Body.Close()
	if after, _ := strconv.Atoi(res.Header.Get("Retry-After")); res.StatusCode != 429 || after < 1 || after > 100 {
		t.Errorf("the fourth call: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	h.expect("master", "GET", "/v1/peers/tom", "", 200, "") // another key is another caller
}

func TestNoSuchCall(t *testing.T) {
	h := open(t)
	h.expect("master", "GET", "/v1/nothing", "", 404, `{"code":"not_found","error":"there is no such call"}`)
	h.expect("", "GET", "/openapi/nothing", "", 404, `{"code":"not_found","error":"there is no such page"}`)
	res := h.do(as("master"), "PUT", "/v1/events", "")
	_ = res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("PUT: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	head := as("app")
	head.Set("Content-Encoding", "gzip")
	res = h.do(head, "POST", "/v1/peers/query", "x")
	_ = res.Body.Close()
	if res.StatusCode != 415 {
		t.Errorf("a compressed body: %d", res.StatusCode)
	}
}

func TestCrossOrigin(t *testing.T) {
	h := open(t)
	head := http.Header{"Origin": {"https://app.example"}}
	res := h.do(head, "OPTIONS", "/v1/peers/query", "")
	_ = res.Body.Close()
	if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("pre-flight: %d %v", res.StatusCode, res.Header)
	}
	strict := open(t, func(cfg *api.Config, _ *watch.Config) { cfg.Origins = []string{"https://ours.example"} })
	res = strict.do(head, "OPTIONS", "/v1/peers/query", "")
	_ = res.Body.Close()
	if res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("an origin that is not on the list: %v", res.Header)
	}
}

func TestIDsAreChargedToTheAppKey(t *testing.T) {
	h := open(t, func(cfg *api.Config, _ *watch.Config) {
		cfg.Limits.AskPeers = limit.Rate{PerSecond: 0.01, Burst: 5}
	})
	h.expect("app", "POST", "/v1/peers/query", `{"peers":["a","b","c","d"]}`, 200, "")
	h.expect("app", "POST", "/v1/peers/query", `{"peers":["a","b"]}`, 429, "")
	h.expect("master", "POST", "/v1/peers/query", `{"peers":["a","b","c","d","e","f","g"]}`, 200, "")
}

// What is only known by an end-all is explained by its report, and has a time at which it was seen
// last.
func TestAnEndAllOfAnUnknownPeer(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"peer":"tom","state":"end_all","why":"logout"}]}`)
	if _, body := h.call("master", "GET", "/v1/peers/tom", ""); !regexp.MustCompile(`^\{"peer":"tom","status":"offline","since":(\d+),"last_seen":[1-9]\d+,"cause":"logout"`).MatchString(body) {
		t.Errorf("tom is %s", body)
	}
	if _, body := h.call("master", "GET", "/v1/peers/tom/why", ""); !strings.Contains(body, "the last end that was reported is a logout") {
		t.Errorf("why: %s", body)
	}
}
