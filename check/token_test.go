package check_test

import (
	"testing"

	"rollcall/check"
)

// A server that takes user tokens is checked with one.
func TestAServerThatTakesUserTokens(t *testing.T) {
	url := "http://" + startRollcall(t, "ROLLCALL_GATE_ASK=token", "ROLLCALL_GATE_PRESENT=token")
	results := run(t, "", url, "--hold", "1s")
	if len(results) < 10 {
		t.Errorf("%d checks were made", len(results))
	}
	for name, r := range results {
		if r.Result == check.Failed {
			t.Errorf("%s failed: %s", name, r.Text)
		}
	}
}
