package redisstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestIndexesLostWithAPrimaryComeBack: a primary of a Cluster fails over, and its replica has none
// of the index entries, nor the nodes, that lay there; what they name lies on the others, and the
// replay of the journal finds nothing to write. Long before the hour has passed lists and sweeps
// find all of it, by the work of one node.
func TestIndexesLostWithAPrimaryComeBack(t *testing.T) {
	t.Parallel()
	c := redistest.RunCluster(t, 3, true)
	cfg := config(clusterURL(c))
	cfg.Deadline = 2 * time.Second
	cfg.Spool = t.TempDir()
	here := startNode(t, cfg, "here")
	cfg.Spool = t.TempDir()
	there := startNode(t, cfg, "there")

	// A node that is gone, and whose turn to be found lost has not come.
	if err := here.st.Heartbeat(t.Context(), "gone", time.Hour, false, here.st.Now()); err != nil {
		t.Fatal(err)
	}
	hooked, orphaned := numbered("hooked", 60), numbered("orphaned", 60)
	var reports []presence.Report
	for i := range hooked {
		o := here.socket(presence.KindOnline, orphaned[i])
		o.Node = "gone"
		reports = append(reports, here.hook(presence.KindOnline, hooked[i]), o)
	}
	if err := here.report(reports...); err != nil {
		t.Fatal(err)
	}
	there.see(patience, presence.Online, hooked...)
	there.see(patience, presence.Online, orphaned...)

	const lost = 1 // the primary of rc:nodes, slot 7028
	primary, replica := c.Servers[lost], c.Servers[lost+3]
	dropped := int64(0)
	keys, _ := primary.Do(t, "KEYS", "rc:*").([]any)
	for _, k := range keys {
		key, _ := k.(string)
		if strings.HasPrefix(key, "rc:lease:") || strings.HasPrefix(key, "rc:node:gone:") {
			n, _ := primary.Do(t, "ZCARD", key).(int64)
			primary.Do(t, "DEL", key)
			dropped += n
		}
	}
	primary.Do(t, "HDEL", "rc:nodes", "gone")
	if dropped == 0 {
		t.Fatal("no index lies on the primary: nothing is lost")
	}
	eventually(t, "the replica has it", func() bool {
		return primary.Do(t, "WAIT", "1", "1000") == int64(1)
	})
	primary.Kill()
	replica.Do(t, "CLUSTER", "FAILOVER", "TAKEOVER")
	here.ready(patience)
	there.ready(patience)

	begun := time.Now()
	eventually(t, "who is online is in the list", func() bool {
		list, _, err := there.st.List(t.Context(), "app", "", 1000, there.st.Now())
		return err == nil && !slices.ContainsFunc(hooked, func(p string) bool { return !slices.Contains(list, presence.PeerID(p)) })
	})
	t.Logf("the list is whole %v after the return", time.Since(begun).Round(time.Millisecond))
	eventually(t, "the sweep finds whose lease has run out", func() bool {
		due, err := there.st.Due(t.Context(), there.st.Now().Add(8*24*time.Hour), 1000)
		return err == nil && len(due) == len(hooked)
	})
	eventually(t, "the node that is gone is known, and who is on it", func() bool {
		on, err := there.st.OnNode(t.Context(), "gone", 1000)
		known := replica.Do(t, "HEXISTS", "rc:nodes", "gone") == int64(1)
		got, _, asked := there.ask(orphaned...)
		ended := asked == nil && !slices.Contains(got, presence.Online) // on a slow machine
		return ended || err == nil && known && len(on) == len(orphaned)
	})
	there.see(patience, presence.Online, hooked...)
	eventually(t, "what was missing is counted", func() bool {
		return here.st.Stats()["unindexed"]+there.st.Stats()["unindexed"] == dropped
	})
	claims := 0
	for _, s := range c.Primaries() {
		keys, _ := s.Do(t, "KEYS", "rc:claim:audit*").([]any)
		claims += len(keys)
	}
	if claims != 1 {
		t.Errorf("%d claims of an audit, want 1: one node is enough", claims)
	}
}
