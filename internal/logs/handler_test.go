package logs_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"rollcall/internal/logs"
)

func TestPeersStayOutOfTheLog(t *testing.T) {
	for _, format := range []bool{false, true} {
		for mode, want := range map[string]string{"plain": "tom", "": "tom", "hash": logs.HashOf("tom"), "off": ""} {
			var out strings.Builder
			log := logs.New(&out, logs.Options{JSON: format, Level: slog.LevelDebug, Peers: mode}).With("peer", "tom")
			log.Warn("peer state damaged; peer reset", "session", "tom", "device", "tom", "member", "tom", "bytes", 3)
			if n := strings.Count(out.String(), "tom"); n != 0 && want != "tom" {
				t.Errorf("%q: %d ids are in %s", mode, n, out.String())
			}
			if n := strings.Count(out.String(), want); want != "" && n != 4 {
				t.Errorf("%q: %s is in %s %d times, want 4", mode, want, out.String(), n)
			}
			if !strings.Contains(out.String(), "bytes") {
				t.Errorf("%q: what names no person is missing in %s", mode, out.String())
			}
		}
	}
}

func TestEveryLineInJSONHasAnEvent(t *testing.T) {
	var out strings.Builder
	log := logs.New(&out, logs.Options{JSON: true, Level: slog.LevelInfo}).With("a", 1)
	log.Info("peer state damaged; peer reset")
	log.Debug("not written")
	var line struct{ Msg, Event string }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line.Event != "peer_state_damaged_peer_reset" || line.Msg == "" {
		t.Errorf("%s: %+v, %v", out.String(), line, err)
	}
}
