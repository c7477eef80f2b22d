package redisstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestDeadNodeIsReapedOnce: a node with many sessions dies; two survivors race. Every session ends once, none early, all
// within two seconds of the end of its lease. Time is played forward, so nothing waits.
func TestDeadNodeIsReapedOnce(t *testing.T) {
	const sessions = 5000
	_, url := redisOf(t)
	cfg := config(url)
	dead := open(t, cfg)
	svc := presence.NewService(dead, presence.DefaultConfig())
	now := dead.Now()
	ctx := context.Background()
	if err := dead.Beat(ctx, "dead", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	peers := numbered("p", sessions)
	for i := 0; i < sessions; i += 500 {
		var reports []presence.Report
		for _, p := range peers[i : i+500] {
			reports = append(reports, presence.Report{
				App: "app", Peer: presence.PeerID(p), Source: presence.SourceGateway, Session: "s", Node: "dead", Kind: presence.KindOnline, At: now,
			})
		}
		if err := svc.Report(ctx, reports, now, make([]presence.Outcome, len(reports))); err != nil {
			t.Fatal(err)
		}
	}
	var survivors [2]*presence.Service
	for i := range survivors {
		st := open(t, cfg)
		survivors[i] = presence.NewService(st, presence.DefaultConfig())
		if err := st.Beat(ctx, presence.NodeID(fmt.Sprint("alive", i)), time.Hour, false, now); err != nil {
			t.Fatal(err)
		}
	}
	ids := make([][]byte, sessions)
	for i, p := range peers {
		ids[i] = []byte(p)
	}
	count := func(svc *presence.Service, at presence.Millis, want presence.Status) int {
		t.Helper()
		out := make([]presence.Status, sessions)
		if _, err := svc.Statuses(ctx, "app", ids, at, out); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, st := range out {
			if st == want {
				n++
			}
		}
		return n
	}
	var turned atomic.Int64
	sweep := func(at presence.Millis) time.Duration {
		begun := time.Now()
		var wg sync.WaitGroup
		for _, s := range survivors {
			wg.Go(func() {
				n, err := s.Sweep(ctx, at)
				if err != nil {
					t.Error(err)
				}
				turned.Add(int64(n))
			})
		}
		wg.Wait()
		return time.Since(begun)
	}
	early := now.Add(15*time.Second) - 1
	sweep(early)
	if n := count(survivors[0], early, presence.Online); n != sessions || turned.Load() != 0 {
		t.Fatalf("a millisecond before the end of the lease %d of %d are online, %d were ended", n, sessions, turned.Load())
	}
	after := now.Add(15 * time.Second)
	took := sweep(after)
	for range 5 { // one may have left the work to the other
		sweep(after)
	}
	if turned.Load() != sessions {
		t.Errorf("%d sessions were ended, want %d once each", turned.Load(), sessions)
	}
	for i, s := range survivors {
		if n := count(s, after, presence.Offline); n != sessions {
			t.Errorf("survivor %d sees %d of %d offline", i, n, sessions)
		}
	}
	out := make([]presence.Summary, 1)
	if _, err := survivors[0].Summaries(ctx, []presence.Key{{App: "app", Peer: "p7"}}, after, out); err != nil {
		t.Fatal(err)
	}
	if out[0].Cause != presence.CauseNodeLost {
		t.Errorf("the cause is %v, want node_lost", out[0].Cause)
	}
	t.Logf("%d sessions were ended in %v by two survivors, %v each", sessions, took.Round(time.Millisecond), took/sessions)
}

// TestOneProcessHoldsAClaim: of several that ask for one piece of work one gets it, keeps it while it asks, and leaves it to the next when
// it stops asking. Names of any kind stand for different work.
func TestOneProcessHoldsAClaim(t *testing.T) {
	server, url := redisOf(t)
	cfg := config(url)
	a, b := open(t, cfg), open(t, cfg)
	ctx := t.Context()
	if !a.Claim(ctx, "hooks of app", time.Minute) || b.Claim(ctx, "hooks of app", time.Minute) || !a.Claim(ctx, "hooks of app", time.Minute) {
		t.Error("a claim is not held by the first that asked, and by it alone")
	}
	if !b.Claim(ctx, "hooks:of{app}", time.Minute) || !b.Claim(ctx, "", time.Minute) {
		t.Error("another name is claimed too")
	}
	for _, key := range []string{"rc:claim:hooks+of+app", "rc:claim:%"} {
		if ttl, _ := server.Do(t, "TTL", key).(int64); ttl < 1 || ttl > 60 {
			t.Errorf("%s lasts %d s, want up to 60", key, ttl)
		}
	}
	server.Do(t, "DEL", "rc:claim:hooks+of+app") // as when it runs out
	if !b.Claim(ctx, "hooks of app", time.Millisecond) || a.Claim(ctx, "hooks of app", time.Minute) {
		t.Error("a claim that ran out does not go to the next that asks")
	}
}

// TestDeadNodeIsPassedOverAtOnce: queries do not believe a dead node while its sessions are being ended.
func TestDeadNodeIsPassedOverAtOnce(t *testing.T) {
	_, url := redisOf(t)
	st := open(t, config(url))
	svc := presence.NewService(st, presence.DefaultConfig())
	ctx, now := context.Background(), st.Now()
	if err := st.Beat(ctx, "dead", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	report := func(peer string, node presence.NodeID) {
		r := presence.Report{
			App: "app", Peer: presence.PeerID(peer), Source: presence.SourceGateway, Session: presence.SessionID("s" + node), Node: node,
			Kind: presence.KindOnline, At: now,
		}
		if err := svc.Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Beat(ctx, "alive", time.Hour, false, now); err != nil {
		t.Fatal(err)
	}
	report("tom", "dead")
	report("ann", "dead")
	report("ann", "alive")
	if _, err := st.LostNodes(ctx, now.Add(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	out := make([]presence.Status, 2)
	for _, how := range []string{"from redis", "from the cache"} {
		if _, err := svc.Statuses(ctx, "app", [][]byte{[]byte("tom"), []byte("ann")}, now.Add(20*time.Second), out); err != nil {
			t.Fatal(err)
		}
		if out[0] != presence.Offline || out[1] != presence.Online {
			t.Errorf("%s: tom is %v and ann %v, want offline and online", how, out[0], out[1])
		}
	}
	// The node was only stopped, and has told tom again; its beat is yet to come.
	now = now.Add(20 * time.Second)
	report("tom", "dead")
	if _, err := svc.Statuses(ctx, "app", [][]byte{[]byte("tom")}, now.Add(time.Second), out[:1]); err != nil {
		t.Fatal(err)
	}
	if out[0] != presence.Online {
		t.Errorf("tom is %v though the node has just told him, want online", out[0])
	}
}

// TestNodesAgree measures how long after an acknowledgement on one node the other sees it.
func TestNodesAgree(t *testing.T) {
	server := redistest.Run(t)
	cfg := config("redis://" + server.Addr)
	here, there := startNode(t, cfg, "here"), startNode(t, cfg, "there")
	const rounds = 2000
	took := make([]time.Duration, 0, rounds)
	for i := range rounds {
		kind, want := presence.KindOnline, presence.Online
		if i%2 == 1 {
			kind, want = presence.KindOffline, presence.Offline
		}
		if err := here.report(here.hook(kind, "tom")); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if got, _, err := here.ask("tom"); err != nil || got[0] != want {
			t.Fatalf("the node that acknowledged says %v, %v; want %v", got[0], err, want)
		}
		for {
			got, _, err := there.ask("tom")
			if err != nil {
				t.Fatal(err)
			}
			if got[0] == want {
				break
			}
			if time.Since(begun) > time.Second {
				t.Fatal("after a second the other node does not see it")
			}
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("from acknowledged here to visible there: median %v, p99.9 %v, worst of %d %v", took[rounds/2], took[rounds*999/1000], rounds, took[rounds-1])
}

// TestRefusedBeatLosesNobody: while the memory of Redis is full it takes no beats, and nobody is lost for that.
func TestRefusedBeatLosesNobody(t *testing.T) {
	server, url := redisOf(t)
	st := open(t, config(url))
	svc := presence.NewService(st, presence.DefaultConfig())
	ctx, now := t.Context(), st.Now()
	tom := presence.Report{App: "app", Peer: "tom", Source: presence.SourceGateway, Session: "s", Node: "n", Kind: presence.KindOnline, At: now}
	if err := st.Beat(ctx, "n", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	if err := svc.Report(ctx, []presence.Report{tom}, now, make([]presence.Outcome, 1)); err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
	defer server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := st.Beat(ctx, "n", 15*time.Second, false, now); err == nil {
		t.Fatal("the beat is taken: the fault did not take hold")
	}
	later := now.Add(20 * time.Second)
	if _, err := svc.Sweep(ctx, later); err == nil {
		t.Error("a sweep went on while beats are refused")
	}
	got := make([]presence.Status, 1)
	if _, err := svc.Statuses(ctx, "app", [][]byte{[]byte("tom")}, later, got); err != nil || got[0] != presence.Online {
		t.Errorf("tom is %v (error %v), want online", got[0], err)
	}
	if st.Ready() == nil {
		t.Error("the store calls itself ready")
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := st.Beat(ctx, "n", 15*time.Second, false, later); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); st.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("the store does not get ready: %v", st.Ready())
		}
	}
}
