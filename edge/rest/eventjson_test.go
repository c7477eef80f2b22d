package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// eventTally is what a batch is answered with.
type eventTally struct {
	Accepted, Double, Late, Stale, Ignored, Full int
	Expired                                      int `json:"expired_on_arrival"`
	Errors                                       []struct {
		Index              int
		Field, Code, Error string
	}
}

func (h *house) tally(events string) (t eventTally) {
	h.Helper()
	status, body := h.call("hook", "POST", "/v1/events", `{"events":[`+events+`]}`)
	if status != 200 {
		h.Fatalf("%.300s: %d %s", events, status, body)
	}
	if err := json.Unmarshal([]byte(body), &t); err != nil {
		h.Fatal(err)
	}
	return t
}

// TestOneBadEventStandsAgainstNoOther: whatever is wrong with one event of a batch that is JSON at
// all, the others count, and it is named by its place, its field and a code.
func TestOneBadEventStandsAgainstNoOther(t *testing.T) {
	h := open(t)
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	now := int64(h.now())
	for i, tt := range []struct{ name, event, field, code string }{
		{"half an emoji in the id", `{"user":"a\ud83d","state":"online"}`, "user", "bad_json"},
		{"half an emoji in an unused field", `{"user":"a","state":"online","note":"\ud83d"}`, "note", "bad_json"},
		{"the other half", `{"user":"a","state":"online","note":"\ude00"}`, "note", "bad_json"},
		{"half an emoji in a key", `{"user":"a","state":"online","\ud83d":1}`, "", "bad_json"},
		{"bytes that are not UTF-8", "{\"user\":\"a\",\"state\":\"online\",\"note\":\"\xff\"}", "note", "bad_json"},
		{"a key twice", `{"user":"a","state":"online","state":"offline"}`, "state", "bad_json"},
		{"a key twice in another letter case", `{"user":"a","User":"b","state":"online"}`, "User", "bad_json"},
		{"a key twice below an unused field", `{"user":"a","state":"online","x":{"y":1,"y":2}}`, "x", "bad_json"},
		{"deep nesting in an unused field", `{"user":"a","state":"online","x":` + deep + `}`, "x", "bad_json"},
		{"deep nesting in place of an event", deep, "", "bad_json"},
		{"null", `null`, "", "invalid"},
		{"a text", `"online"`, "", "invalid"},
		{"a list", `[]`, "", "invalid"},
		{"no user", `{"state":"online"}`, "user", "invalid"},
		{"a user of null", `{"user":null,"state":"online"}`, "user", "invalid"},
		{"a user that is too long", `{"user":"` + strings.Repeat("x", 257) + `","state":"online"}`, "user", "invalid"},
		{"a session that is too long", `{"user":"a","session":"` + strings.Repeat("x", 257) + `","state":"online"}`, "session", "invalid"},
		{"an id that is too long", `{"user":"a","id":"` + strings.Repeat("x", 257) + `","state":"online"}`, "id", "invalid"},
		{"a platform that is too long", `{"user":"a","platform":"` + strings.Repeat("x", 257) + `","state":"online"}`, "platform", "invalid"},
		{"an unknown state", `{"user":"a","state":"away"}`, "state", "invalid"},
		{"a state that is a number", `{"user":"a","state":1}`, "state", "invalid"},
		{"a user that is a list", `{"user":["a"],"state":"online"}`, "user", "wrong_type"},
		{"a user that is an object", `{"user":{"id":"a"},"state":"online"}`, "user", "wrong_type"},
		{"a user that is a truth", `{"user":true,"state":"online"}`, "user", "wrong_type"},
		{"a user with a fraction", `{"user":1.5,"state":"online"}`, "user", "wrong_type"},
		{"a user beyond what is exact", `{"user":1e30,"state":"online"}`, "user", "wrong_type"},
		{"a time in seconds", fmt.Sprintf(`{"user":"a","state":"online","time":%d}`, now/1000), "time", "time_in_seconds"},
		{"a time in seconds with a fraction", fmt.Sprintf(`{"user":"a","state":"online","time":%d.25}`, now/1000), "time", "time_in_seconds"},
		{"a time in seconds as a text", fmt.Sprintf(`{"user":"a","state":"online","time":"%d"}`, now/1000), "time", "time_in_seconds"},
		{"a time in microseconds", fmt.Sprintf(`{"user":"a","state":"online","time":%d}`, now*1000), "time", "time_in_microseconds"},
		{"a time in nanoseconds", fmt.Sprintf(`{"user":"a","state":"online","time":%d}`, now*1_000_000), "time", "time_in_nanoseconds"},
		{"a time that is a date", `{"user":"a","state":"online","time":"2026-03-04T05:06:07Z"}`, "time", "wrong_type"},
		{"a time before all", `{"user":"a","state":"online","time":-1}`, "time", "out_of_range"},
		{"a time beyond what is kept", `{"user":"a","state":"online","time":2e14}`, "time", "out_of_range"},
		{"a huge time", `{"user":"a","state":"online","time":1e400}`, "time", "wrong_type"},
		{"a time that is an object", `{"user":"a","state":"online","time":{}}`, "time", "wrong_type"},
		{"a ttl of a year", `{"user":"a","state":"online","session":"1","ttl":31536000}`, "ttl", "out_of_range"},
		{"a ttl below zero", `{"user":"a","state":"online","session":"1","ttl":-1}`, "ttl", "out_of_range"},
		{"a ttl that is a word", `{"user":"a","state":"online","session":"1","ttl":"soon"}`, "ttl", "wrong_type"},
		{"an inc that is a word", `{"user":"a","state":"online","session":"1","inc":"x"}`, "inc", "wrong_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.TB = t
			good := fmt.Sprintf(`{"user":"good%d","state":"online","session":"1"}`, i)
			got := h.tally(good + "," + tt.event + "," + strings.Replace(good, "good", "also", 1))
			if got.Accepted != 2 || got.Ignored != 1 || len(got.Errors) != 1 {
				t.Fatalf("got %+v", got)
			}
			if e := got.Errors[0]; e.Index != 1 || e.Field != tt.field || e.Code != tt.code || e.Error == "" {
				t.Errorf("got %+v, want field %q, code %q", e, tt.field, tt.code)
			}
			for _, peer := range []string{"good", "also"} {
				h.expect("app", "GET", fmt.Sprintf("/v1/peers/%s%d", peer, i), "", 200, fmt.Sprintf(`{"peer":"%s%d","status":"online"}`, peer, i))
			}
		})
	}
	h.TB = t
	// Nor does what stands beside the list.
	deep = strings.Repeat("[", 3000) + strings.Repeat("]", 3000)
	for i, beside := range []string{`"meta":"\ud83d"`, `"\ud83d":1`, `"meta":` + deep, `"meta":1,"meta":2`, "\"meta\":\"\xff\""} {
		h.expect("hook", "POST", "/v1/events", fmt.Sprintf(`{%s,"events":[{"user":"beside%d","state":"online"}]}`, beside, i), 200, "")
		h.expect("hook", "PUT", "/v1/nodes/beside/sessions", fmt.Sprintf(`{"sessions":[{"user":"listed%d","session":"1"}],%s}`, i, beside), 200, "")
		for _, peer := range []string{"beside", "listed"} {
			h.expect("app", "GET", fmt.Sprintf("/v1/peers/%s%d", peer, i), "", 200, fmt.Sprintf(`{"peer":"%s%d","status":"online"}`, peer, i))
		}
	}
	h.expect("hook", "PUT", "/v1/nodes/beside/sessions", `{"time":1,"time":2,"sessions":[]}`, 400, "")
	// What is not JSON at all cannot be taken apart.
	for _, body := range []string{`{"events":[{"user":"x","state":"online"}`, `{"events":[{"user":"x","state":"online"},]}`, `{"events":[{"user":"x" "state":"online"}]}`, `{"events":[],"events":[]}`, `{"events":{}}`, `[]`, `x`} {
		h.expect("hook", "POST", "/v1/events", body, 400, "")
	}
}

// TestAResyncNamesTheBadSession: a session of a list that is not understood is named, and the
// others count. What it names is not ended for it, and where it names nothing the list changes
// nothing: it must not end a session that it fails to name.
func TestAResyncNamesTheBadSession(t *testing.T) {
	h := open(t)
	h.tally(`{"user":"tom","state":"online","session":"1","node":"gw"},{"user":"bob","state":"online","session":"1","node":"gw"}`)
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	n := 0
	put := func(session string) (status int, body, peer string) {
		n++
		peer = fmt.Sprint("x", n)
		status, body = h.call("hook", "PUT", "/v1/nodes/gw/sessions", `{"sessions":[{"user":"`+peer+`","session":"1"},`+session+`,{"user":"tom","session":"1"}]}`)
		return status, body, peer
	}
	for session, code := range map[string]string{
		`null`: "invalid", `7`: "invalid", `["bob","1"]`: "invalid", `{"user":"bob"}`: "invalid", `{"session":"1"}`: "invalid", `{"user":["bob"],"session":"1"}`: "invalid",
		`{"user":"bob","user":"b","session":"1"}`: "bad_json", `{"user":"bob","session":"1","SESSION":"2"}`: "bad_json",
	} {
		status, body, peer := put(session)
		var e struct{ Code, Error string }
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != 400 || e.Code != code || !strings.HasPrefix(e.Error, "session 1") {
			t.Errorf("%s: %d %s", session, status, body)
		}
		h.expect("app", "GET", "/v1/peers/"+peer, "", 200, `{"peer":"`+peer+`","status":"unknown"}`)
	}
	for session, want := range map[string][2]string{
		`{"user":"bob","session":"1","note":"\ud83d"}`: {"bad_json", "note"}, `{"user":"bob","session":"1","note":` + deep + `}`: {"bad_json", "note"},
		`{"user":"bob","session":"1","note":{"a":1,"a":2}}`: {"bad_json", "note"}, `{"user":"bob","session":"1","time":1767225600}`: {"time_in_seconds", "time"},
		`{"peer":"bob","session":"1","ttl":"soon"}`: {"wrong_type", "ttl"}, `{"user":"a","peer":"bob","session":"1"}`: {"invalid", "peer"},
		`{"user":"bob","session":"1","platform":"` + strings.Repeat("p", 3000) + `"}`: {"invalid", "platform"},
	} {
		status, body, peer := put(session)
		var got struct {
			Accepted, Ignored, Ended int
			Errors                   []struct {
				Index       int
				Code, Field string
			}
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.Ignored != 1 || len(got.Errors) != 1 {
			t.Fatalf("%s: %d %s", session, status, body)
		}
		if e := got.Errors[0]; e.Index != 1 || e.Code != want[0] || e.Field != want[1] {
			t.Errorf("%s: got %+v, want %v", session, e, want)
		}
		h.expect("app", "GET", "/v1/peers/"+peer, "", 200, `{"peer":"`+peer+`","status":"online"}`)
		h.expect("app", "GET", "/v1/peers/bob", "", 200, `{"peer":"bob","status":"online"}`)
	}
	// An id that no event can have brought stands against no other either.
	for _, session := range []string{`{"user":"a\ud83d","session":"2"}`, `{"user":"a\u0000","session":"2"}`, `{"user":"` + strings.Repeat("a", 300) + `","session":"2"}`, `{"user":"a","session":"` + strings.Repeat("s", 3000) + `"}`} {
		status, body, peer := put(session)
		if status != 200 || !strings.Contains(body, `"ignored":1,`) {
			t.Errorf("%.80s: %d %s", session, status, body)
		}
		h.expect("app", "GET", "/v1/peers/"+peer, "", 200, `{"peer":"`+peer+`","status":"online"}`)
	}
	h.expect("app", "GET", "/v1/peers/tom", "", 200, `{"peer":"tom","status":"online"}`)
	h.expect("app", "GET", "/v1/peers/bob", "", 200, `{"peer":"bob","status":"offline"}`)
}

// TestPlainMeaningIsTaken: ids that are numbers stand for their digits, times and leases may have
// fractions or be texts, and unused fields may be anything that is JSON.
func TestPlainMeaningIsTaken(t *testing.T) {
	h := open(t)
	now := int64(h.now())
	for _, tt := range []struct{ name, event, peer string }{
		{"a user that is a number", `{"user":42,"state":"online","session":"1"}`, "42"},
		{"a great one", `{"user":12345678901234567890,"state":"online","session":"1"}`, "12345678901234567890"},
		{"one in another form", `{"user":1.2e3,"state":"online","session":"1"}`, "1200"},
		{"less than zero", `{"peer":-7,"state":"online","session":"1"}`, "-7"},
		{"user and peer alike", `{"user":8,"peer":"8","state":"online","session":"1"}`, "8"},
		{"session, platform and id", `{"user":"b","state":"online","session":7,"platform":3,"id":99}`, "b"},
		{"a time with a fraction", fmt.Sprintf(`{"user":"c","state":"online","session":"1","time":%d.75}`, now), "c"},
		{"a time with an exponent", fmt.Sprintf(`{"user":"d","state":"online","session":"1","time":%de-1}`, now*10), "d"},
		{"a time as a text with a fraction", fmt.Sprintf(`{"user":"e","state":"online","session":"1","time":"%d.0"}`, now), "e"},
		{"a ttl with a fraction", `{"user":"f","state":"online","session":"1","ttl":0.5}`, "f"},
		{"nulls", `{"user":"g","state":"online","session":null,"time":null,"ttl":null,"inc":null,"platform":null,"id":null,"why":null,"node":null,"seq":null}`, "g"},
		{"unused fields", `{"user":"h","state":"online","session":"1","x":[[[{"a":[1]}]]],"seq":"nine"}`, "h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.TB = t
			if got := h.tally(tt.event); got.Accepted != 1 {
				t.Fatalf("got %+v", got)
			}
			h.expect("app", "GET", "/v1/peers/"+tt.peer, "", 200, `{"peer":"`+tt.peer+`","status":"online"}`)
		})
	}
}

// TestAClockThatIsAheadKeepsItsOrder: by HTTP, in one batch and across batches, in both orders of
// arrival.
func TestAClockThatIsAheadKeepsItsOrder(t *testing.T) {
	h := open(t)
	n := 0
	for _, ahead := range []int64{0, 9_500, 20_000, 3_600_000, 86_400_000 * 30, -60_000} {
		for _, first := range []string{"online", "offline"} {
			then := map[string]string{"online": "offline", "offline": "online"}[first]
			for _, swapped := range []bool{false, true} {
				for _, batches := range []bool{false, true} {
					n++
					at := int64(h.now()) + ahead
					a := fmt.Sprintf(`{"user":"p%d","state":"%s","session":"s","time":%d}`, n, first, at)
					b := fmt.Sprintf(`{"user":"p%d","state":"%s","session":"s","time":%d}`, n, then, at+900)
					if swapped {
						a, b = b, a
					}
					if batches {
						h.tally(a)
						h.tally(b)
					} else {
						h.tally(a + "," + b)
					}
					h.expect("app", "GET", fmt.Sprintf("/v1/peers/p%d", n), "", 200, fmt.Sprintf(`{"peer":"p%d","status":"%s"}`, n, then))
				}
			}
		}
	}
	// Its lease counts from the receipt.
	h.tally(fmt.Sprintf(`{"user":"leased","state":"online","session":"s","time":%d,"ttl":60}`, int64(h.now())+3_600_000))
	h.ahead.Add(61_000)
	h.expect("app", "GET", "/v1/peers/leased", "", 200, `{"peer":"leased","status":"offline"}`)
}

// TestSeqDecidesWithinASecond: whole-second times, login and logout in the same second: with seq
// the greater is later, without it online wins.
func TestSeqDecidesWithinASecond(t *testing.T) {
	h := open(t)
	at := int64(h.now()) / 1000 * 1000
	n := 0
	for _, tt := range []struct{ on, off, want string }{
		{``, ``, "online"},
		{`,"seq":1`, `,"seq":2`, "offline"},
		{`,"seq":"18"`, `,"seq":"17"`, "online"},
		{`,"seq":0`, `,"seq":1`, "offline"},
		{`,"seq":1767225600123456`, `,"seq":1767225600123457`, "offline"},
	} {
		for _, swapped := range []bool{false, true} {
			for _, batches := range []bool{false, true} {
				n++
				a := fmt.Sprintf(`{"user":"q%d","state":"online","session":"s","time":%d%s}`, n, at, tt.on)
				b := fmt.Sprintf(`{"user":"q%d","state":"offline","session":"s","time":%d%s}`, n, at, tt.off)
				if swapped {
					a, b = b, a
				}
				if batches {
					h.tally(a)
					h.tally(b)
				} else {
					h.tally(a + "," + b)
				}
				h.expect("app", "GET", fmt.Sprintf("/v1/peers/q%d", n), "", 200, fmt.Sprintf(`{"peer":"q%d","status":"%s"}`, n, tt.want))
			}
		}
	}
}

// TestExpiredOnArrivalIsCounted: a sender 90 s slow with a lease of a minute is answered that its
// reports make no peer online.
func TestExpiredOnArrivalIsCounted(t *testing.T) {
	h := open(t)
	got := h.tally(fmt.Sprintf(`{"user":"slow","state":"online","session":"s","time":%d,"ttl":60},{"user":"quick","state":"online","session":"s","ttl":60}`, int64(h.now())-90_000))
	if got.Accepted != 1 || got.Expired != 1 {
		t.Errorf("got %+v", got)
	}
	h.expect("app", "GET", "/v1/peers/slow", "", 200, `{"peer":"slow","status":"offline"}`)
}

// TestAClockThatWasNeverSet: a sender whose clock stands in 1970 or 2000 is answered that its
// reports are stale, and is known by how much.
func TestAClockThatWasNeverSet(t *testing.T) {
	h := open(t)
	for _, at := range []int64{17, 86_400_000, 315_532_800_000, 946_684_800_000} {
		if got := h.tally(fmt.Sprintf(`{"user":"old","state":"online","session":"s","time":%d}`, at)); got.Stale != 1 {
			t.Errorf("%d: %+v", at, got)
		}
		if c := h.service.Counters().Clocks(); len(c) != 1 || c[0].Off > -9000*24*time.Hour {
			t.Errorf("%d: the clocks that are off are %+v", at, c)
		}
	}
}

// TestAResyncOfAClockThatIsFarAhead: a list ends what it does not name, and keeps what it names, by
// the clock of its node, or by that of the server when it has no time.
func TestAResyncOfAClockThatIsFarAhead(t *testing.T) {
	h := open(t)
	for i, timed := range []string{`"time":%d,`, `"time":0,`} {
		ahead := int64(h.now()) + 3_600_000
		node := fmt.Sprintf("gw%d", i)
		h.tally(fmt.Sprintf(`{"user":"gone%[1]d","state":"online","session":"1","node":"%[2]s","time":%[3]d},{"user":"stays%[1]d","state":"online","session":"1","node":"%[2]s","time":%[3]d}`, i, node, ahead))
		h.ahead.Add(40_000)
		if _, err := h.service.Sweep(t.Context(), h.now()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(timed, "%d") {
			timed = fmt.Sprintf(timed, ahead+40_000)
		}
		h.expect("hook", "PUT", "/v1/nodes/"+node+"/sessions", fmt.Sprintf(`{%s"sessions":[{"user":"stays%d","session":"1"}]}`, timed, i), 200, "")
		h.expect("app", "GET", fmt.Sprintf("/v1/peers/stays%d", i), "", 200, fmt.Sprintf(`{"peer":"stays%d","status":"online"}`, i))
		h.ahead.Add(1_000)
		h.expect("hook", "PUT", "/v1/nodes/"+node+"/sessions", fmt.Sprintf(`{%s"sessions":[]}`, strings.Replace(timed, fmt.Sprint(ahead+40_000), fmt.Sprint(ahead+41_000), 1)), 200, "")
		h.expect("app", "GET", fmt.Sprintf("/v1/peers/stays%d", i), "", 200, fmt.Sprintf(`{"peer":"stays%d","status":"offline"}`, i))
	}
}
