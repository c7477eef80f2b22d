//go:build faults

package rest_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/sse"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// A gateway with as many sessions as one resync may name sends its list to a rollcall on Redis:
// first a new list, then the same list again, then an empty one, which ends them all.
func TestFaultResyncOfAHundredThousand(t *testing.T) {
	const sessions, within = 100_000, 5 * time.Second
	server := redistest.Run(t)
	cfg := redisstore.DefaultConfig()
	cfg.Deadline = 10 * time.Second // a slow machine shows in the figures, not as an outage
	st, err := redisstore.Open(t.Context(), cfg, redisstore.Deps{URL: "redis://" + server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	h := buildOn(t, st, presence.DefaultConfig(), func(*gateway.Config, *sse.Config) {})
	pace := redistest.NewPace(t)
	list := make([]string, sessions)
	for i := range list {
		list[i] = fmt.Sprintf(`{"user":"user-%06d","session":"gw1/conn-%06d","platform":"ios","time":%d}`, i, i, int64(h.now())-1000)
	}
	full := `{"sessions":[` + strings.Join(list, ",") + `]}`
	for _, tt := range []struct {
		name, body  string
		done, ended int
	}{
		{"a new list", full, sessions, 0},
		{"the same list", full, sessions, 0},
		{"an empty list", `{"sessions":[]}`, sessions, sessions},
	} {
		h.ahead.Add(1000)
		redis, own, begun := server.CPU(t), cpu(t), time.Now()
		status, body := h.call("hook", "PUT", "/v1/nodes/gw1/sessions", tt.body)
		took := time.Since(begun)
		here, there := cpu(t)-own, server.CPU(t)-redis
		t.Logf("%s of %d sessions (%d KiB): %v, CPU %v here, %v in redis", tt.name, sessions, len(tt.body)>>10, took.Round(time.Millisecond),
			here.Round(time.Millisecond), there.Round(time.Millisecond))
		want := fmt.Sprintf(`{"accepted":%d,"double":0,"late":0,"stale":0,"ignored":0,"full":0,"ended":%d}`, tt.done, tt.ended)
		if status != 200 || strings.TrimSpace(body) != want {
			t.Fatalf("%s: %d %.300s, want %s", tt.name, status, body, want)
		}
		// They work in turn, so on a machine of their own it takes as long as the processors work.
		// Beside others it takes longer, but does not wait for a round trip per session.
		if most := 4 * pace.Allow(within); here+there > within || took > most {
			t.Errorf("%s took %v, CPU %v, want at most %v, CPU %v", tt.name, took, here+there, most, within)
		}
	}
}

// cpu returns the processor time of this process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
