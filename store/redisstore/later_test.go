package redisstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"rollcall/internal/spool"
	"rollcall/presence"
)

// spoolRecords writes records as a process that is gone left them.
func spoolRecords(t *testing.T, dir string, records ...string) {
	t.Helper()
	q, err := spool.Open(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([][]byte, len(records))
	for i, r := range records {
		raw[i] = []byte(r)
	}
	if _, err := q.Append(raw); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// unreadRecords returns what stands aside in the directory of a spool.
func unreadRecords(t *testing.T, dir string) (texts []string) {
	t.Helper()
	q, err := spool.Open(filepath.Join(dir, "unread"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	records, err := q.Next(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		texts = append(texts, string(r.Data))
	}
	return texts
}

// TestSpoolOfALaterReleaseIsNeverMisread: records of a later version, kind, cause or policy, and
// those that are no report, change no peer and are kept until a release is started that reads them;
// those of the release before are taken over, and none holds up the others.
func TestSpoolOfALaterReleaseIsNeverMisread(t *testing.T) {
	_, url := redisOf(t)
	cfg := config(url)
	cfg.Spool = t.TempDir()
	var log book
	cfg.Log = log.logger()
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom"), n.hook(presence.KindOnline, "ann")); err != nil {
		t.Fatal(err)
	}
	now := n.st.Now()
	n.kill()

	report := func(peer, rest string) string {
		return fmt.Sprintf(`"Report":{"App":"app","Peer":%q,"Source":"leancloud","At":%d%s}`, peer, now, rest)
	}
	later := []string{
		fmt.Sprintf(`{"Version":2,"Heard":%d,%s}`, now, report("tom", `,"Kind":2`)),
		fmt.Sprintf(`{"Heard":%d,%s}`, now, report("tom", `,"Kind":6`)),
		fmt.Sprintf(`{"Version":1,"Heard":%d,%s}`, now, report("tom", `,"Kind":6,"Session":"s"`)),
		fmt.Sprintf(`{"Heard":%d,%s}`, now, report("tom", `,"Kind":2,"Cause":9`)),
		fmt.Sprintf(`{"Heard":%d,%s}`, now, report("tom", `,"Kind":2,"Policy":3`)),
		fmt.Sprintf(`{"Heard":%d,%s}`, now, report("", `,"Kind":2`)),
		fmt.Sprintf(`{"Heard":%d,"Report":{"App":"app","Peer":"tom","Kind":"offline"}}`, now),
		`{"Heard":0}`,
		`no record`,
	}
	// as the first release wrote it
	before := fmt.Sprintf(`{"Heard":%d,%s}`, now, report("ann", `,"Kind":2,"Cause":1,"ID":"x"`))
	spoolRecords(t, cfg.Spool, append(append(later[:5:5], before), later[5:]...)...)
	for range 2 {
		n = startNode(t, cfg, "n")
		n.see(patience, presence.Offline, "ann")
		n.ready(patience)
		n.see(patience, presence.Online, "tom")
		if st := n.st.Stats(); st["spool_waiting"] != 0 || st["spool_unread"] != int64(len(later)) {
			t.Errorf("%d records wait and %d stand aside, want none and %d", st["spool_waiting"], st["spool_unread"], len(later))
		}
		n.kill()
		if kept := unreadRecords(t, cfg.Spool); fmt.Sprint(kept) != fmt.Sprint(later) {
			t.Errorf("kept are %q, want %q", kept, later)
		}
	}
	if log.lines("spool record set aside") == 0 || log.lines("spool records wait for a later release", fmt.Sprintf("records=%d", len(later))) != 1 {
		t.Error("the log does not say what stands aside")
	}

	// A release that reads a record takes it over: here, one that this release wrote.
	spoolRecords(t, filepath.Join(cfg.Spool, "unread"), fmt.Sprintf(`{"Version":1,"Heard":%d,%s}`, now, report("eve", `,"Kind":1,"ID":"y"`)))
	n = startNode(t, cfg, "n")
	n.see(patience, presence.Online, "eve", "tom")
	n.kill()
	if kept := unreadRecords(t, cfg.Spool); fmt.Sprint(kept) != fmt.Sprint(later) {
		t.Errorf("kept are %q, want %q", kept, later)
	}
}

// TestStatesWithWordsOfALaterReleaseAreLeftAlone: a cause or source that only a later release knows
// is no damage, though the format is one that this release reads: the peer is answered, and nothing
// writes over it.
func TestStatesWithWordsOfALaterReleaseAreLeftAlone(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	cfg.Spool = t.TempDir()
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom"), n.hook(presence.KindOnline, "bob"), n.hook(presence.KindOffline, "bob")); err != nil {
		t.Fatal(err)
	}
	before := map[string]any{}
	for p, to := range map[string]string{"tom": "\x09", "bob": "\x0b"} {
		key := "rc:{onOffStatus:" + p + "}:s"
		server.Do(t, "SETRANGE", key, "9", to)
		server.Do(t, "SET", "onOffStatus:"+p, fmt.Sprint(server.Do(t, "GET", "onOffStatus:"+p)), "KEEPTTL")
		before[p] = server.Do(t, "GET", key)
	}
	n.see(patience, presence.Online, "tom")
	n.see(patience, presence.Offline, "bob")
	if err := n.report(n.hook(presence.KindOffline, "tom"), n.hook(presence.KindOnline, "bob")); err != nil {
		t.Fatal(err)
	}
	n.ready(patience)
	for p, was := range before {
		if is := server.Do(t, "GET", "rc:{onOffStatus:"+p+"}:s"); is != was {
			t.Errorf("the state of %s was %q and is %q", p, was, is)
		}
	}
	if st := n.st.Stats(); st["spool_waiting"] != 2 || st["damaged"] != 0 || st["newer_states"] == 0 {
		t.Errorf("%d reports wait, %d states are damaged, %d newer; want 2, none and some", st["spool_waiting"], st["damaged"], st["newer_states"])
	}
	sum := make([]presence.Summary, 2)
	if _, err := n.st.Summaries(t.Context(), []presence.Key{{App: "app", Peer: "tom"}, {App: "app", Peer: "bob"}}, sum); err != nil ||
		sum[0].Status != presence.Online || sum[1].Status != presence.Offline {
		t.Errorf("the summaries are %+v, %v", sum, err)
	}
}
