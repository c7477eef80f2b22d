package conformance_test

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// A page that is open for days meets outages: the client must not pile up what it tried, and close
// must close.
func TestTheJavaScriptClientInAnOutage(t *testing.T) {
	t.Parallel()
	// Its own patience with a socket that does not open is 30 s.
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "node", "testdata/outage.mjs").CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
