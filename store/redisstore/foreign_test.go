package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/presence"
)

// A book keeps what a store logs.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// lines returns how many lines have all the words.
func (b *book) lines(words ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for line := range strings.Lines(b.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

// newer raises the format of the state of a peer, as if a later rollcall had written it.
func newer(t *testing.T, do func(testing.TB, ...string) any, peer string) {
	t.Helper()
	key := "rc:{onOffStatus:" + peer + "}:s"
	b, _ := do(t, "GET", key).(string)
	if len(b) < 9 {
		t.Fatalf("%s has no state", peer)
	}
	do(t, "SETRANGE", key, "8", string([]byte{b[8] + 2<<4}))
}

// TestStatesOfANewerRollcallAreLeftAlone: in a rolling upgrade an old node meets states that it
// cannot read. It keeps the reports on them until it is replaced, answers by the summary, and does
// everything else as ever.
func TestStatesOfANewerRollcallAreLeftAlone(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	var log book
	cfg.Log, cfg.Spool = log.logger(), t.TempDir()
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom"), n.hook(presence.KindOnline, "ann"), n.socket(presence.KindOnline, "eve"),
		n.hook(presence.KindOnline, "bob"), n.hook(presence.KindOffline, "bob")); err != nil {
		t.Fatal(err)
	}
	theirs := []string{"tom", "bob", "eve"}
	var before []any
	for _, p := range theirs {
		newer(t, server.Do, p)
		// A newer rollcall writes the summary, too, and so signals the change.
		server.Do(t, "SET", "onOffStatus:"+p, fmt.Sprint(server.Do(t, "GET", "onOffStatus:"+p)), "KEEPTTL")
		before = append(before, server.Do(t, "GET", "rc:{onOffStatus:"+p+"}:s"))
	}
	n.see(patience, presence.Online, "tom", "ann", "eve")
	n.see(patience, presence.Offline, "bob")

	for range 2 {
		if err := n.report(n.hook(presence.KindOffline, "tom"), n.hook(presence.KindOffline, "ann"), n.hook(presence.KindOnline, "new")); err != nil {
			t.Fatal(err)
		}
		n.ready(patience)
		n.see(patience, presence.Offline, "ann")
		n.see(patience, presence.Online, "new", "tom")
		if err := n.report(n.hook(presence.KindOnline, "ann")); err != nil {
			t.Fatal(err)
		}
	}
	if waits := n.st.Stats()["spool_waiting"]; waits != 2 {
		t.Errorf("%d reports wait, want the 2 on tom", waits)
	}
	// The newer one ends tom; no node here knows better.
	server.Do(t, "SET", "onOffStatus:tom", "0", "EX", "1000")
	n.see(patience, presence.Offline, "tom")
	if c, err := n.st.Counts(t.Context(), "app", n.st.Now()); err != nil || c.Online != 3 || c.Known != 5 {
		t.Errorf("counted are %+v, %v; want 3 of 5 online", c, err)
	}
	out := make([]presence.Summary, 1)
	if _, err := n.st.Summaries(t.Context(), []presence.Key{{App: "app", Peer: "eve"}}, out); err != nil || out[0].Status != presence.Online || out[0].Rev == 0 {
		t.Errorf("the summary of eve is %+v, %v", out[0], err)
	}
	if err := n.st.Load(t.Context(), presence.Key{App: "app", Peer: "eve"}, &presence.State{}); !errors.Is(err, presence.ErrNewer) {
		t.Errorf("the state of eve is read as %v, want that it is newer", err)
	}

	// Neither the sweep, nor reaping, nor the audit touches them; they keep no other peer from it.
	far := n.st.Now().Add(8 * 24 * time.Hour)
	if due, err := n.st.Due(t.Context(), far, 1); err != nil || len(due) != 1 {
		t.Errorf("due are %v, %v; want one that can be settled", due, err)
	}
	if _, err := n.svc.Sweep(t.Context(), far); err == nil {
		t.Error("a lost node whose sessions a newer rollcall is to end is said to be done with")
	}
	n.see(patience, presence.Offline, "ann")
	if held := server.Do(t, "HEXISTS", "rc:nodes", "n"); held != int64(1) {
		t.Error("the node was forgotten before its sessions were ended")
	}
	if _, err := n.st.Audit(t.Context(), n.st.Now()); err != nil {
		t.Errorf("audit: %v", err)
	}
	for i, p := range theirs {
		if is := server.Do(t, "GET", "rc:{onOffStatus:"+p+"}:s"); is != before[i] {
			t.Errorf("the state of %s was %q and is %q", p, before[i], is)
		}
	}
	if said := log.lines("peer state has a newer format", "reads=2"); said != 1 {
		t.Errorf("the log names the newer format %d times, want once", said)
	}

	// What waits is delivered by the next process, once it can read the states.
	n.kill()
	for _, p := range theirs {
		key := "rc:{onOffStatus:" + p + "}:s"
		b, _ := server.Do(t, "GET", key).(string)
		server.Do(t, "SETRANGE", key, "8", string([]byte{b[8] - 2<<4}))
	}
	again := startNode(t, cfg, "again")
	again.see(patience, presence.Offline, "tom")
	again.ready(patience)
	if waits := again.st.Stats()["spool_waiting"]; waits != 0 {
		t.Errorf("%d reports still wait", waits)
	}
}

// TestOldWaitersAreKnown: a node that starts with reports on peers of a newer rollcall in its spool
// lets those of all others pass.
func TestOldWaitersAreKnown(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	cfg.Spool = t.TempDir()
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom")); err != nil {
		t.Fatal(err)
	}
	newer(t, server.Do, "tom")
	server.Do(t, "SET", "onOffStatus:tom", "1")
	if err := n.report(n.hook(presence.KindOffline, "tom")); err != nil {
		t.Fatal(err)
	}
	n.kill()
	again := startNode(t, cfg, "again")
	again.ready(patience)
	if err := again.report(again.hook(presence.KindOnline, "ann")); err != nil {
		t.Fatal(err)
	}
	again.see(patience, presence.Online, "ann", "tom")
	if st := again.st.Stats(); st["spool_waiting"] != 1 || st["spooled"] != 0 {
		t.Errorf("%d reports wait and %d were spooled, want 1 and none", st["spool_waiting"], st["spooled"])
	}
}

// TestIndexesOfAnotherType: keys of another type, put by another program where rollcall keeps its
// indexes, are never touched. Reports that need one wait in the spool, the others go on, and the
// store is not ready until the keys are gone.
func TestIndexesOfAnotherType(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	var log book
	cfg.Log, cfg.Spool = log.logger(), t.TempDir()
	bucket := func(peer string) uint32 { return crc32.ChecksumIEEE([]byte(":"+peer)) % 64 }
	// A peer whose index has the wrong type, and one whose index has not.
	here, there := "tom", ""
	for i := 0; there == ""; i++ {
		if p := fmt.Sprint("ann", i); bucket(p) != bucket(here) {
			there = p
		}
	}
	lease := fmt.Sprint("rc:lease:", bucket(here))
	n := startNode(t, cfg, "n")
	server.Do(t, "SET", lease, "another program's")
	soon := func(peer string) presence.Report {
		return presence.Report{App: "app", Peer: presence.PeerID(peer), Source: "x", Session: "s", Kind: presence.KindOnline, At: n.st.Now(), Lease: time.Hour}
	}
	if err := n.report(soon(there), n.hook(presence.KindOnline, "third")); err != nil {
		t.Fatalf("a report: %v", err)
	}
	if spooled := n.st.Stats()["spooled"]; spooled != 0 {
		t.Errorf("%d reports went to the spool", spooled)
	}
	if err := n.report(soon(here)); err != nil {
		t.Fatalf("a report that has to wait: %v", err)
	}
	if spooled := n.st.Stats()["spooled"]; spooled != 1 {
		t.Errorf("%d reports went to the spool, want the one", spooled)
	}
	n.see(patience, presence.Online, here, there, "third")

	later := n.st.Now().Add(2 * time.Hour)
	if _, err := n.svc.Sweep(t.Context(), later); err == nil {
		t.Error("the sweep does not report the index")
	}
	if _, _, err := n.st.List(t.Context(), "app", "", 10, n.st.Now()); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("a list that cannot be whole: %v, want presence.ErrUnavailable", err)
	}
	server.Do(t, "DEL", "rc:nodes")
	server.Do(t, "SET", "rc:nodes", "another program's")
	if err := n.st.Heartbeat(t.Context(), "n", 15*time.Second, false, n.st.Now()); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("a heartbeat that is not written: %v, want presence.ErrUnavailable", err)
	}
	if err := n.st.Ready(); err == nil || n.st.Stats()["foreign_indexes"] == 0 {
		t.Error("the store is ready")
	}
	for _, k := range []string{lease, "rc:nodes"} {
		if got := server.Do(t, "GET", k); got != "another program's" {
			t.Errorf("%s was touched: %v", k, got)
		}
		server.Do(t, "DEL", k)
	}
	if lines := log.lines("index key has the wrong type", "key="+lease+" ", "rename or delete it"); lines != 1 {
		t.Errorf("the log names %s %d times, want once", lease, lines)
	}
	n.ready(patience)
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		keys, _ := n.st.Due(t.Context(), later, 10)
		if slices.ContainsFunc(keys, func(k presence.Key) bool { return k.Peer == presence.PeerID(here) }) {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("the keys are gone, and %v are due", keys)
		}
	}
	if peers, _, err := n.st.List(t.Context(), "app", "", 10, n.st.Now()); err != nil || len(peers) < 2 {
		t.Errorf("listed are %v, %v", peers, err)
	}
}

// TestForeignPeerKeysAreLogged: a key of another type in the place of a peer's own is written over
// by the next report, and the log says so; what is only removed is not ours to remove.
func TestForeignPeerKeysAreLogged(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	var log book
	cfg.Log = log.logger()
	n := startNode(t, cfg, "n")
	spoil := func() {
		server.Do(t, "DEL", "rc:{onOffStatus:tom}:s", "onOffStatus:ann")
		server.Do(t, "HSET", "rc:{onOffStatus:tom}:s", "a", "b")
		server.Do(t, "LPUSH", "onOffStatus:ann", "a")
	}
	spoil()
	n.see(patience, presence.Unknown, "tom", "ann")
	if err := n.report(n.hook(presence.KindOnline, "tom"), n.hook(presence.KindOnline, "ann")); err != nil {
		t.Fatal(err)
	}
	n.see(patience, presence.Online, "tom", "ann")
	const said = "peer key of the wrong type overwritten"
	if a, b := log.lines(said, "tom", "state=true", "summary=false"), log.lines(said, "ann", "state=false", "summary=true"); a != 1 || b != 1 {
		t.Errorf("the log tells of tom %d times and of ann %d times, want once each", a, b)
	}
	if st := n.st.Stats(); st["overwritten"] != 2 || st["spooled"] != 0 {
		t.Errorf("the counts are %v", st)
	}
	server.Do(t, "DEL", "onOffStatus:ann")
	server.Do(t, "LPUSH", "onOffStatus:ann", "a")
	if err := n.svc.Erase(context.Background(), []presence.Key{{App: "app", Peer: "ann"}}, n.st.Now()); err != nil {
		t.Fatal(err)
	}
	if got := server.Do(t, "TYPE", "onOffStatus:ann"); got != "list" {
		t.Errorf("erasing a peer removed a key that is not ours: it is %v now", got)
	}
}
