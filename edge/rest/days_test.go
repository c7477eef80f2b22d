package rest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

func TestOnlineTime(t *testing.T) {
	h := openTimed(t)
	// From a midnight to come, since the clock of the house only goes forward.
	midnight := h.now()/86_400_000*86_400_000 + 86_400_000
	to := func(m presence.Millis) { h.ahead.Add(int64(m - h.now())) }
	day := func(n int) string {
		return midnight.Add(time.Duration(n) * 24 * time.Hour).Time().Format(time.DateOnly)
	}
	event := func(state string, at presence.Millis) {
		h.events(fmt.Sprintf(`{"events":[{"user":"tom","state":%q,"session":"1","time":%d}]}`, state, at))
	}
	ask := func(want string) {
		t.Helper()
		h.expect("master", "GET", "/v1/peers/tom/online-time", "", 200, want)
	}
	ask(`{"peer":"tom","days":[]}`)
	to(midnight + 1000)
	event("online", midnight-3_600_000)
	event("offline", midnight+1000)
	ask(fmt.Sprintf(`{"peer":"tom","days":[{"day":%q,"online_ms":3600000},{"day":%q,"online_ms":1000}]}`, day(-1), day(0)))
	h.expect("master", "DELETE", "/v1/peers/tom", "", 200, "")
	ask(`{"peer":"tom","days":[]}`)
	h.expect("master", "GET", "/v1/peers/"+strings.Repeat("x", 257)+"/online-time", "", 400, "")
}

func TestOnlineTimeSwitchedOff(t *testing.T) {
	h := open(t)
	h.events(`{"events":[{"user":"tom","state":"online","session":"1"}]}`)
	h.expect("master", "GET", "/v1/peers/tom/online-time", "", 409,
		`{"code":"switched_off","error":"online time is not kept; the setting presence.online_time is off"}`)
}
