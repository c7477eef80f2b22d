//go:build faults

package redisstore_test

import (
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestFaultAReplacedPrimaryGetsWhatWaited: a primary of a Cluster is killed and a replica takes its
// place. Reports that waited for it are applied when that is so, not at the next look
// after half a minute, and the node is not ready before.
func TestFaultAReplacedPrimaryGetsWhatWaited(t *testing.T) {
	c := redistest.RunCluster(t, 3, true)
	cfg := config(clusterURL(c))
	cfg.Deadline, cfg.Spool = 250*time.Millisecond, t.TempDir()
	here, there := startNode(t, cfg, "here"), startNode(t, cfg2(cfg, t), "there")
	peers := numbered("p", 200)
	report := func(kind presence.Kind, p string) {
		t.Helper()
		if err := here.report(here.hook(kind, p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peers {
		report(presence.KindOnline, p)
	}
	there.see(patience, presence.Online, peers...)
	c.Servers[1].Kill()
	left := peers
	waited := int64(0)
	for begun := time.Now(); len(c.Primaries()) < 3; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 2*patience {
			t.Fatal("no replica was promoted: the fault did not take hold")
		}
		if n := min(5, len(left)); n > 0 {
			for _, p := range left[:n] {
				report(presence.KindOffline, p)
			}
			left = left[n:]
		}
		waited = max(waited, here.st.Stats()["spool_waiting"])
	}
	promoted := time.Now()
	for _, p := range left {
		report(presence.KindOffline, p)
	}
	if waited == 0 {
		t.Fatal("no report waited: the fault did not take hold")
	}
	for {
		waiting := here.st.Stats()["spool_waiting"]
		if ready := here.st.Ready(); waiting > 0 && ready == nil && here.st.Stats()["spool_waiting"] > 0 {
			t.Fatalf("%d reports wait, and the node is ready", waiting)
		} else if waiting == 0 && ready == nil {
			break
		}
		if time.Since(promoted) > patience {
			t.Fatalf("%v after the promotion %d reports wait: %v", time.Since(promoted), waiting, here.st.Ready())
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(promoted)
	t.Logf("%d reports waited; all were applied %v after the promotion", waited, took.Round(time.Millisecond))
	if took > 15*time.Second { // half of the old half minute: the machine may be busy
		t.Errorf("it took %v", took)
	}
	for _, n := range []*node{here, there} {
		n.see(patience, presence.Offline, peers...)
	}
}
