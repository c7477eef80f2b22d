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
	"rollcall/store/redisstore"
)

// dying is a node with sessions that stops sending heartbeats, and the survivors that end them.
// Time is played forward, so nothing waits.
type dying struct {
	t         testing.TB
	server    *redistest.Server
	end       presence.Millis // when the lease of the node is over
	ids       [][]byte
	stores    []*redisstore.Store
	survivors []*presence.Service
	turned    []atomic.Int64 // by survivor
}

func newDying(t testing.TB, cfg redisstore.Setup, server *redistest.Server, sessions, survivors int) *dying {
	t.Helper()
	dead := open(t, cfg)
	svc, now, ctx := presence.NewService(dead, presence.DefaultConfig()), dead.Now(), context.Background()
	if err := dead.Heartbeat(ctx, "dead", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	d := &dying{t: t, server: server, end: now.Add(15 * time.Second), turned: make([]atomic.Int64, survivors)}
	for some := range slices.Chunk(numbered("p", sessions), 500) {
		var reports []presence.Report
		for _, p := range some {
			d.ids = append(d.ids, []byte(p))
			reports = append(reports, presence.Report{
				App: "app", Peer: presence.PeerID(p), Source: presence.SourceGateway, Session: "s", Node: "dead", Kind: presence.KindOnline, At: now,
			})
		}
		if err := svc.Report(ctx, reports, now, make([]presence.Outcome, len(reports))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range survivors {
		st := open(t, cfg)
		if err := st.Heartbeat(ctx, presence.NodeID(fmt.Sprint("alive", i)), time.Hour, false, now); err != nil {
			t.Fatal(err)
		}
		d.stores = append(d.stores, st)
		d.survivors = append(d.survivors, presence.NewService(st, presence.DefaultConfig()))
	}
	return d
}

// count returns how many peers are as wanted at a time, as a survivor sees them.
func (d *dying) count(survivor int, at presence.Millis, want presence.Status) (n int) {
	d.t.Helper()
	out := make([]presence.Status, len(d.ids))
	if _, err := d.stores[survivor].Statuses(context.Background(), "app", d.ids, d.survivors[survivor].Leases(at), out); err != nil {
		d.t.Fatal(err)
	}
	for _, st := range out {
		if st == want {
			n++
		}
	}
	return n
}

// sweep has all survivors sweep at once and returns how long they took.
func (d *dying) sweep(at presence.Millis) time.Duration {
	begun := time.Now()
	var wg sync.WaitGroup
	for i, s := range d.survivors {
		wg.Go(func() {
			n, err := s.Sweep(context.Background(), at)
			if err != nil {
				d.t.Error(err)
			}
			d.turned[i].Add(int64(n))
		})
	}
	wg.Wait()
	return time.Since(begun)
}

// markDead sweeps until the node is forgotten and returns how long that took.
func (d *dying) markDead() (took time.Duration) {
	eventually(d.t, "the dead node is forgotten", func() bool {
		took += d.sweep(d.end)
		return d.t.Failed() || d.server.Do(d.t, "HEXISTS", "rc:nodes", "dead") == int64(0)
	})
	return took
}

// counted checks that every end was counted once, by whatever survivor, and returns the counts.
func (d *dying) counted() (by []int64) {
	d.t.Helper()
	sum, counted := int64(0), int64(0)
	for i := range d.turned {
		by = append(by, d.turned[i].Load())
		sum += by[i]
		counted += d.survivors[i].Counters().Expired(presence.CauseNodeLost)
	}
	if sum != int64(len(d.ids)) || counted != sum {
		d.t.Errorf("%d ends are counted, %d by the tallies, of %d; by survivor %v", sum, counted, len(d.ids), by)
	}
	for i := range d.survivors {
		if n := d.count(i, d.end, presence.Offline); n != len(d.ids) {
			d.t.Errorf("survivor %d sees %d of %d offline", i, n, len(d.ids))
		}
	}
	return by
}

// TestDeadNodeIsReapedOnce: a node with many sessions dies; three survivors race. Every session
// ends once, and none early.
func TestDeadNodeIsReapedOnce(t *testing.T) {
	server, url := redisOf(t)
	var d *dying
	eventually(t, "each survivor ends some", func() bool {
		d = newDying(t, config(url), server, 5000, 3)
		early := d.end - 1
		d.sweep(early)
		if n := d.count(0, early, presence.Online); n != len(d.ids) || d.turned[0].Load() != 0 {
			t.Fatalf("a millisecond before the end of the lease %d of %d are online, %d were ended", n, len(d.ids), d.turned[0].Load())
		}
		took, by := d.markDead(), d.counted()
		t.Logf("%d sessions were ended in %v by survivors %v", len(d.ids), took.Round(time.Millisecond), by)
		return t.Failed() || !slices.Contains(by, 0)
	})
	out := make([]presence.Summary, 1)
	if _, err := d.stores[0].Summaries(t.Context(), []presence.Key{{App: "app", Peer: "p7"}}, out); err != nil {
		t.Fatal(err)
	}
	if out[0].Cause != presence.CauseNodeLost {
		t.Errorf("the cause is %v, want node_lost", out[0].Cause)
	}
}

// unclaimed is a store whose claims have all run out: every survivor is at every session.
type unclaimed struct {
	presence.Store
	presence.Settler
}

// TestOverlappingSurvivorsCountEachEndOnce: claims save work and decide nothing.
func TestOverlappingSurvivorsCountEachEndOnce(t *testing.T) {
	server, url := redisOf(t)
	eventually(t, "the survivors are at the same session", func() bool {
		d := newDying(t, config(url), server, 3000, 3)
		for i, st := range d.stores {
			d.survivors[i] = presence.NewService(unclaimed{st, st}, presence.DefaultConfig())
		}
		d.markDead()
		d.counted()
		conflicts := int64(0)
		for _, st := range d.stores {
			conflicts += st.Stats()["conflicts"]
		}
		return t.Failed() || conflicts > 0
	})
}

// TestOneProcessHoldsAClaim: of several that ask for one piece of work one gets it, keeps it while
// it asks, and leaves it to the next when it stops asking. Names of any kind stand for different
// work.
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

// TestDeadNodeIsPassedOverAtOnce: queries do not believe a dead node while its sessions are being
// ended.
func TestDeadNodeIsPassedOverAtOnce(t *testing.T) {
	_, url := redisOf(t)
	st := open(t, config(url))
	svc := presence.NewService(st, presence.DefaultConfig())
	ctx, now := context.Background(), st.Now()
	if err := st.Heartbeat(ctx, "dead", 15*time.Second, false, now); err != nil {
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
	if err := st.Heartbeat(ctx, "alive", time.Hour, false, now); err != nil {
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
		if _, err := st.Statuses(ctx, "app", [][]byte{[]byte("tom"), []byte("ann")}, svc.Leases(now.Add(20*time.Second)), out); err != nil {
			t.Fatal(err)
		}
		if out[0] != presence.Offline || out[1] != presence.Online {
			t.Errorf("%s: tom is %v and ann %v, want offline and online", how, out[0], out[1])
		}
	}
	// The node was only stopped, and has reported tom again; its heartbeat is yet to come.
	now = now.Add(20 * time.Second)
	report("tom", "dead")
	if _, err := st.Statuses(ctx, "app", [][]byte{[]byte("tom")}, svc.Leases(now.Add(time.Second)), out[:1]); err != nil {
		t.Fatal(err)
	}
	if out[0] != presence.Online {
		t.Errorf("tom is %v though the node has just reported it, want online", out[0])
	}
}

// TestNodesAgree measures how long after an acknowledgement on one node the other sees it.
func TestNodesAgree(t *testing.T) {
	server := redistest.Run(t)
	cfg := config("redis://" + server.Addr)
	here, there := startNode(t, cfg, "here"), startNode(t, cfg, "there")
	pace := redistest.NewPace(t)
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
			if took := time.Since(begun); took > pace.Allow(time.Second) {
				t.Fatalf("after %v the other node does not see it", took)
			}
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("from acknowledged here to visible there: median %v, p99.9 %v, worst of %d %v", took[rounds/2], took[rounds*999/1000], rounds, took[rounds-1])
}

// TestARefusedHeartbeatEndsNoSession: while the memory of Redis is full it takes no heartbeats, and
// no node is lost for that.
func TestARefusedHeartbeatEndsNoSession(t *testing.T) {
	server, url := redisOf(t)
	st := open(t, config(url))
	svc := presence.NewService(st, presence.DefaultConfig())
	ctx, now := t.Context(), st.Now()
	tom := presence.Report{App: "app", Peer: "tom", Source: presence.SourceGateway, Session: "s", Node: "n", Kind: presence.KindOnline, At: now}
	if err := st.Heartbeat(ctx, "n", 15*time.Second, false, now); err != nil {
		t.Fatal(err)
	}
	if err := svc.Report(ctx, []presence.Report{tom}, now, make([]presence.Outcome, 1)); err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
	defer server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := st.Heartbeat(ctx, "n", 15*time.Second, false, now); err == nil {
		t.Fatal("the beat is taken: the fault did not take hold")
	}
	later := now.Add(20 * time.Second)
	if _, err := svc.Sweep(ctx, later); err == nil {
		t.Error("a sweep went on while beats are refused")
	}
	got := make([]presence.Status, 1)
	if _, err := st.Statuses(ctx, "app", [][]byte{[]byte("tom")}, svc.Leases(later), got); err != nil || got[0] != presence.Online {
		t.Errorf("tom is %v (error %v), want online", got[0], err)
	}
	if st.Ready() == nil {
		t.Error("the store calls itself ready")
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := st.Heartbeat(ctx, "n", 15*time.Second, false, later); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); st.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("the store does not get ready: %v", st.Ready())
		}
	}
}
