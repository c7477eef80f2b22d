package presence_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// TestSendersWhoseClocksAreOffAreKnown: each is counted with how far it is off, one that is right
// is not, and their number is bounded.
func TestSendersWhoseClocksAreOffAreKnown(t *testing.T) {
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, t0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	svc := presence.NewService(st, presence.DefaultConfig())
	report := func(app, node string, off, lease time.Duration) presence.Verdict {
		t.Helper()
		r := sessionReport(t, "on@0")
		r.App, r.Device, r.Lease = presence.AppID(app), node, lease
		if node != "" {
			r.Node = presence.NodeID(node)
		}
		r.At = t0.Add(off)
		out := make([]presence.Outcome, 1)
		if err := svc.Report(t.Context(), []presence.Report{r}, t0, out); err != nil {
			t.Fatal(err)
		}
		return out[0].Verdict
	}
	report("right", "", 0, time.Hour)
	report("right", "", 10*time.Second, time.Hour)
	report("right", "", -30*time.Second, time.Hour)
	report("ahead", "n1", 20*time.Second, 0)
	report("ahead", "n1", 21*time.Second, 0)
	report("ahead", "n2", time.Hour, 0)
	far := sessionReport(t, "on@0")
	far.App, far.At = "far", 1<<47-1
	if err := svc.Report(t.Context(), []presence.Report{far}, t0, make([]presence.Outcome, 1)); err != nil {
		t.Fatal(err)
	}
	if v := report("behind", "", -90*time.Second, time.Minute); v != presence.Expired {
		t.Errorf("a minute's lease, 90 s old: %v", v)
	}
	if v := report("old", "", -25*time.Hour, time.Minute); v != presence.Stale {
		t.Errorf("a day old: %v", v)
	}
	got := ""
	for _, c := range svc.Counters().Clocks() {
		got += fmt.Sprintln(c.App, c.Node, c.Off, c.Reports)
	}
	if want := "far  2190000h0m0s 1\nold  -25h0m0s 1\nahead n2 1h0m0s 1\nbehind  -1m30s 1\nahead n1 21s 2\n"; got != want {
		t.Errorf("clocks:\n%swant\n%s", got, want)
	}
	if n := svc.Counters().Ahead(); n != 4 {
		t.Errorf("%d reports were ahead, want 4", n)
	}
	for i := range 1000 {
		report(fmt.Sprint("app", i), "", time.Hour, 0)
	}
	if n := len(svc.Counters().Clocks()); n != 256 {
		t.Errorf("%d senders are kept, want 256", n)
	}
}
