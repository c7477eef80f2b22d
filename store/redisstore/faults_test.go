//go:build faults

package redisstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
	"rollcall/store/storetest"
)

// TestFaultContractOverTLS keeps the law over connections on which both sides show certificates. It
// is no fault, but long.
func TestFaultContractOverTLS(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		s := shared(t, overTLS)
		s.server.Do(t, "FLUSHALL")
		return harness(t, config("rediss://"+s.server.Addr+s.files()))
	})
}

func TestFaultOutageOfAMinute(t *testing.T) {
	for name, a := range absences {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outage(t, a, time.Minute, redisstore.DefaultConfig().Stale)
		})
	}
}

// TestFaultNodeKilled: a process with 5,000 sockets is killed. Two survivors race; all sessions end
// once, none early, all within 17 seconds of its last beat.
func TestFaultNodeKilled(t *testing.T) {
	server := redistest.Run(t)
	url := "redis://" + server.Addr
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), doomedURL+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	defer kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the node said %q, %v", line, err)
	}
	here, there := startNode(t, config(url), "here"), startNode(t, config(url), "there")
	peers := numbered("socket", doomedSockets)
	here.see(patience, presence.Online, peers...)
	there.see(patience, presence.Online, peers...)
	kill()
	value, _ := server.Do(t, "HGET", "rc:nodes", "doomed").(string)
	var deadline presence.Millis
	if _, err := fmt.Sscan(value, &deadline); err != nil {
		t.Fatalf("the beat of the node reads %q", value)
	}
	first, last := presence.Millis(0), presence.Millis(0)
	for last == 0 {
		gone := 0
		for _, n := range []*node{here, there} {
			at := n.st.Now()
			got, _, err := n.ask(peers...)
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range got {
				if st == presence.Offline {
					gone++
				}
			}
			if gone > 0 && first == 0 {
				first = at
			}
		}
		if gone == 2*len(peers) {
			last = here.st.Now()
		}
		if here.st.Now() > deadline.Add(10*time.Second) {
			t.Fatalf("ten seconds after the lease %d of %d are gone", gone, 2*len(peers))
		}
		time.Sleep(10 * time.Millisecond)
	}
	beat := deadline.Add(-15 * time.Second)
	t.Logf("after the last beat the first session ended after %v and the last after %v", first.Sub(beat), last.Sub(beat))
	if first < deadline {
		t.Errorf("a session ended %v early", deadline.Sub(first))
	}
	if last.Sub(beat) > 17*time.Second {
		t.Errorf("the last session ended %v after the last beat", last.Sub(beat))
	}
	for begun := time.Now(); here.turned.Load()+there.turned.Load() < doomedSockets && time.Since(begun) < 5*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second)
	if n := here.turned.Load() + there.turned.Load(); n != doomedSockets {
		t.Errorf("%d sessions were ended, want %d once each", n, doomedSockets)
	}
}

// TestFaultNodeCutOff: one node cannot reach Redis for longer than its lease. The others end its
// sockets, for they cannot know better; when it is back it says them again at once.
func TestFaultNodeCutOff(t *testing.T) {
	server := redistest.Run(t)
	proxy := redistest.RunProxy(t, server.Addr)
	cfg := config("redis://" + proxy.Addr)
	cfg.Deadline, cfg.Spool = 250*time.Millisecond, t.TempDir()
	cut := startNode(t, cfg, "cut")
	well := startNode(t, config("redis://"+server.Addr), "well")
	peers := numbered("socket", 300)
	say := func() error {
		var reports []presence.Report
		for _, p := range peers {
			reports = append(reports, cut.socket(presence.KindOnline, p))
		}
		return cut.report(reports...)
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	// What a gateway does when the store is back.
	cut.svc.OnReturn(func(presence.Millis) <-chan struct{} {
		go func() { _ = say() }()
		return nil
	})
	well.see(patience, presence.Online, peers...)
	proxy.Freeze()
	well.see(patience, presence.Offline, peers...)
	proxy.Cut()
	proxy.Thaw()
	took := well.see(patience, presence.Online, peers...)
	t.Logf("back %v after the cut was healed", took.Round(time.Millisecond))
	time.Sleep(2 * time.Second)
	well.see(patience, presence.Online, peers...)
}

// TestFaultSlowToLoad: Redis is killed and comes back loading for seconds.
func TestFaultSlowToLoad(t *testing.T) {
	outage(t, absence{
		func(s *redistest.Server) { s.Kill() },
		func(t *testing.T, s *redistest.Server) {
			started := make(chan error, 1)
			go func() {
				started <- s.Start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
			}()
			loading := 0
			for {
				select {
				case err := <-started:
					if err != nil {
						t.Fatal(err)
					}
					if loading == 0 {
						t.Fatal("it never was loading: the fault did not take hold")
					}
					return
				case <-time.After(5 * time.Millisecond):
					if _, err := s.Try("PING"); err != nil && strings.Contains(err.Error(), "LOADING") {
						loading++
					}
				}
			}
		},
	}, 3*time.Second, 10*time.Second)
}

// TestFaultPolicyChangedLater: an operator sets an eviction policy under which peers that are
// online would go.
func TestFaultPolicyChangedLater(t *testing.T) {
	server := redistest.Run(t)
	n := startNode(t, config("redis://"+server.Addr), "n")
	n.ready(patience)
	server.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	for begun := time.Now(); n.st.Ready() == nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("the node calls itself ready")
		}
	}
	if !strings.Contains(n.st.Ready().Error(), "allkeys-lru") {
		t.Errorf("it does not say why: %v", n.st.Ready())
	}
	server.Do(t, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
	n.ready(patience)
}

// A load reports on many peers through one node and remembers what was acknowledged last of each.
type load struct {
	n       *node
	acked   []atomic.Int64 // the kind of the last report that was acknowledged
	reports atomic.Int64
	failed  atomic.Int64
}

// run reports until ctx ends: each peer is one worker's, so that the order of its words is known.
func (l *load) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i += workers {
				p := i % len(l.acked)
				if p%workers != w {
					continue
				}
				kind := presence.KindOnline
				if presence.Kind(l.acked[p].Load()) == presence.KindOnline {
					kind = presence.KindOffline
				}
				r := presence.Report{
					App: "app", Peer: presence.PeerID(fmt.Sprint("load", p)), Source: presence.SourceAPI, Session: "s", Kind: kind,
					At: l.n.st.Now(), Lease: time.Hour,
				}
				if err := l.n.report(r); err != nil {
					l.failed.Add(1)
					continue
				}
				l.reports.Add(1)
				l.acked[p].Store(int64(kind))
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// missing returns how many acknowledged words other does not see.
func (l *load) missing(other *node) int {
	peers := make([]string, len(l.acked))
	for i := range peers {
		peers[i] = fmt.Sprint("load", i)
	}
	got, age, err := other.ask(peers...)
	if err != nil || age > 0 {
		return len(peers)
	}
	n := 0
	for i, st := range got {
		switch presence.Kind(l.acked[i].Load()) {
		case presence.KindOnline:
			if st != presence.Online {
				n++
			}
		case presence.KindOffline:
			if st != presence.Offline {
				n++
			}
		}
	}
	return n
}

// settled waits until other sees all that was acknowledged.
func (l *load) settled(t *testing.T, other *node, within time.Duration) {
	t.Helper()
	begun := time.Now()
	for l.missing(other) > 0 {
		if time.Since(begun) > within {
			t.Fatalf("%v after the load %d of %d acknowledged words are missing", within, l.missing(other), len(l.acked))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%d reports acknowledged, %d refused; none missing %v after the load", l.reports.Load(), l.failed.Load(),
		time.Since(begun).Round(time.Millisecond))
}

func pair(t *testing.T, url string) (here, there *node) {
	cfg := config(url)
	cfg.Deadline, cfg.Log = 250*time.Millisecond, logger(t)
	cfg.Spool = t.TempDir()
	here = startNode(t, cfg, "here")
	cfg.Spool = t.TempDir()
	return here, startNode(t, cfg, "there")
}

// under runs the load while fault does its work, and sees that nothing that was acknowledged is
// missing afterwards.
func under(t *testing.T, url string, fault func(here, there *node)) {
	pace := redistest.NewPace(t)
	here, there := pair(t, url)
	steady := numbered("steady", 100)
	for _, p := range steady {
		if err := here.report(here.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	there.see(patience, presence.Online, steady...)
	l := &load{n: here, acked: make([]atomic.Int64, 400)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var w witness
	wg.Go(func() { l.run(ctx, 8) })
	wg.Go(func() { w.watch(ctx, there, steady) })
	time.Sleep(time.Second)
	fault(here, there)
	time.Sleep(2 * time.Second)
	cancel()
	wg.Wait()
	here.ready(patience)
	there.ready(patience)
	l.settled(t, there, pace.Allow(5*time.Second))
	t.Log(&w)
	if w.offline.Load() > 0 {
		t.Errorf("the witness was told %d made-up words", w.offline.Load())
	}
	if l.reports.Load() < 100 {
		t.Errorf("only %d reports: there was no load", l.reports.Load())
	}
	t.Logf("here %v", here.st.Stats())
}

func TestFaultSentinelFailover(t *testing.T) {
	for name, a := range map[string]func(*redistest.Server){
		"the primary is killed": func(s *redistest.Server) { s.Kill() },
		"the primary freezes":   func(s *redistest.Server) { s.Freeze() },
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.RunSentinels(t, 2)
			under(t, sentinelURL(s), func(here, _ *node) {
				old, err := s.Primary()
				if err != nil {
					t.Fatal(err)
				}
				a(old)
				begun := time.Now()
				for {
					p, err := s.Primary()
					if err == nil && p != old {
						break
					}
					if time.Since(begun) > patience {
						t.Fatal("there was no failover: the fault did not take hold")
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Logf("failover after %v", time.Since(begun).Round(time.Millisecond))
				here.ready(patience)
				t.Logf("ready again %v after the fault", time.Since(begun).Round(time.Millisecond))
				old.Thaw()
			})
		})
	}
}

// TestFaultManyOnOneNode: the peers on a node are listed whatever their number, though reading them
// all takes longer than a call may.
func TestFaultManyOnOneNode(t *testing.T) {
	server := redistest.Run(t)
	n := startNode(t, config("redis://"+server.Addr), "n")
	const many, batch = 100_000, 1000
	reports := make([]presence.Report, batch)
	for i := 0; i < many; i += batch {
		for k, p := range numbered(fmt.Sprint("peer", i, "-"), batch) {
			reports[k] = n.socket(presence.KindOnline, p)
		}
		if err := n.report(reports...); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config("redis://" + server.Addr)
	cfg.Deadline = 100 * time.Millisecond
	st := open(t, cfg)
	begun := time.Now()
	keys, err := st.OnNode(t.Context(), "n", 1<<20)
	took := time.Since(begun)
	if err != nil || len(keys) != many {
		t.Errorf("%d peers are on the node after %v (%v), want %d", len(keys), took, err, many)
	}
	if took < cfg.Deadline {
		t.Errorf("they are read in %v: the test is too small", took)
	}
}

// TestFaultFailoverByHand: Sentinels let the old primary take writes for ten seconds more. The link
// does not stay there when the calls have left: it would find itself well and receive nothing of
// what others write.
func TestFaultFailoverByHand(t *testing.T) {
	pace := redistest.NewPace(t)
	s := redistest.RunSentinels(t, 1)
	n := startNode(t, config(sentinelURL(s)), "n")
	if out, err := exec.Command("redis-cli", "-u", "redis://"+s.Addrs[0], "SENTINEL", "FAILOVER", redistest.Master).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "OK") {
		t.Fatalf("%s, %v", out, err)
	}
	on := func(i int) int {
		return strings.Count(fmt.Sprint(s.Servers[i].Do(t, "CLIENT", "LIST")), "name=rollcall")
	}
	for begun, since := time.Now(), (time.Time{}); ; time.Sleep(50 * time.Millisecond) {
		before, after := on(0), on(1)
		switch {
		case after == 0 && time.Since(begun) > patience:
			t.Fatal("nothing moves to the new primary: the fault did not take hold")
		case after == 0:
		case before == 0:
			n.ready(patience)
			return
		case since.IsZero():
			since = time.Now()
			t.Logf("the calls go to the new primary after %v", since.Sub(begun).Round(time.Millisecond))
		case time.Since(since) > pace.Allow(4*time.Second):
			t.Fatalf("%v after the calls the link is still at the old primary", time.Since(since))
		}
	}
}

func TestFaultClusterPrimaryKilled(t *testing.T) {
	c := redistest.RunCluster(t, 3, true)
	under(t, clusterURL(c), func(here, there *node) {
		before := here.st.Epoch()
		c.Servers[1].Kill()
		begun := time.Now()
		for len(c.Primaries()) < 3 {
			if time.Since(begun) > patience {
				t.Fatal("no replica was promoted: the fault did not take hold")
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("promoted after %v", time.Since(begun).Round(time.Millisecond))
		here.ready(patience)
		t.Logf("ready again %v after the fault", time.Since(begun).Round(time.Millisecond))
		if here.st.Epoch() == before {
			t.Error("the epoch is the same after a promotion")
		}
	})
}

// TestFaultReshard moves 500 slots while reports and queries run: no caller notices.
func TestFaultReshard(t *testing.T) {
	c := redistest.RunCluster(t, 3, true)
	under(t, clusterURL(c), func(here, there *node) {
		from := fmt.Sprint(c.Servers[0].Do(t, "CLUSTER", "MYID"))
		to := fmt.Sprint(c.Servers[1].Do(t, "CLUSTER", "MYID"))
		out, err := exec.Command("redis-cli", "--cluster", "reshard", c.Servers[0].Addr, "--cluster-from", from, "--cluster-to", to,
			"--cluster-slots", "500", "--cluster-yes").CombinedOutput()
		if err != nil {
			t.Fatalf("reshard: %v\n%s", err, out)
		}
		if n := strings.Count(string(out), "Moving slot"); n < 500 {
			t.Fatalf("%d slots were moved: the fault did not take hold", n)
		}
		for _, n := range []*node{here, there} {
			st := n.st.Stats()
			if st["outages"] != 0 || st["stale_answers"] != 0 || st["spooled"] != 0 || st["links_lost"] != 0 {
				t.Errorf("the move was noticed: %v", st)
			}
		}
	})
}

// TestFaultClusterSlotsLost: the ids of a lost primary are refused, others are answered as before.
func TestFaultClusterSlotsLost(t *testing.T) {
	c := redistest.RunCluster(t, 3, false)
	cfg := config(clusterURL(c))
	cfg.Deadline, cfg.NearCache, cfg.Log, cfg.Spool = 250*time.Millisecond, -1, logger(t), t.TempDir()
	st := open(t, cfg)
	n := &node{t: t, name: "n", st: st, svc: presence.NewService(st, presence.DefaultConfig())}
	peers := numbered("p", 60)
	for _, p := range peers {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	c.Servers[2].Kill()
	lost, kept := 0, 0
	for begun := time.Now(); time.Since(begun) < 8*time.Second; {
		lost, kept = 0, 0
		for _, p := range peers {
			got, _, err := n.ask(p)
			switch {
			case err != nil:
				lost++
			case got[0] == presence.Online:
				kept++
			default:
				t.Fatalf("%s is %v: a made-up word", p, got[0])
			}
		}
	}
	t.Logf("%d ids refused, %d answered", lost, kept)
	// Reports that need nothing of the lost primary take the direct road: another process sees
	// them.
	fresh := numbered("fresh", 60)
	for _, p := range fresh {
		if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
			t.Errorf("a hook with a third of the slots lost: %v", err)
		}
	}
	other := cfg
	other.Spool = ""
	second := open(t, other)
	seen := 0
	for _, p := range fresh {
		out := make([]presence.Status, 1)
		if _, err := second.Statuses(t.Context(), "app", [][]byte{[]byte(p)}, second.Now(), out); err == nil && out[0] == presence.Online {
			seen++
		}
	}
	t.Logf("%d of %d hooks with a third of the slots lost are seen by another process", seen, len(fresh))
	if seen < len(fresh)/4 || seen == len(fresh) {
		t.Errorf("%d of %d hooks went the direct road", seen, len(fresh))
	}
	defer func() {
		// With full coverage asked for, the rest of the cluster refuses, too; no word is made up,
		// and it ends with its cause.
		whole := func(want string) {
			for _, s := range c.Servers[:2] {
				s.Do(t, "CONFIG", "SET", "cluster-require-full-coverage", want)
				// it looks at its state when a slot changes
				_, _ = s.Try("CLUSTER", "DELSLOTS", "16383")
			}
		}
		whole("yes")
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if _, err := c.Servers[0].Try("GET", "x"); err != nil && strings.Contains(err.Error(), "CLUSTERDOWN") {
				break
			}
			if time.Since(begun) > patience {
				t.Fatal("the cluster does not go down: the fault did not take hold")
			}
		}
		for _, p := range peers {
			if got, _, err := n.ask(p); err == nil && got[0] != presence.Online {
				t.Errorf("%s is %v while the cluster is down: a made-up word", p, got[0])
			}
		}
		whole("no")
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			again := 0
			for _, p := range peers {
				if got, _, err := n.ask(p); err == nil && got[0] == presence.Online {
					again++
				}
			}
			if again == kept {
				break
			}
			if time.Since(begun) > patience {
				t.Fatalf("the cluster is up, and %d of %d are answered", again, kept)
			}
		}
	}()
	if lost == 0 || kept == 0 || lost+kept != len(peers) {
		t.Errorf("%d ids refused and %d answered of %d", lost, kept, len(peers))
	}
	if st.Ready() == nil {
		t.Error("the node calls itself ready with a third of the slots lost")
	}
}

// TestFaultSmallOnes plays what breaks for a moment, one after the other, under load.
func TestFaultSmallOnes(t *testing.T) {
	server := redistest.Run(t, durable...)
	proxy := redistest.RunProxy(t, server.Addr)
	during := func(d, every time.Duration, fault func()) {
		for begun := time.Now(); time.Since(begun) < d; time.Sleep(every) {
			fault()
		}
	}
	counted := func(name string) func(*node) bool {
		return func(here *node) bool { return here.st.Stats()[name] > 0 }
	}
	var paused, there time.Duration
	faults := []struct {
		name string
		play func()
		took func(here *node) bool
	}{
		{"scripts are flushed all the time", func() { during(3*time.Second, 5*time.Millisecond, func() { server.Do(t, "SCRIPT", "FLUSH") }) }, counted("scripts_reloaded")},
		{"connections are killed every 100 ms", func() {
			during(3*time.Second, 100*time.Millisecond, func() { server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") })
		}, counted("links_lost")},
		{"connections are cut every 100 ms", func() { during(3*time.Second, 100*time.Millisecond, func() { proxy.Cut() }) }, counted("links_lost")},
		{"redis pauses for 200 ms at a time", func() {
			during(3*time.Second, 500*time.Millisecond, func() {
				server.Do(t, "CLIENT", "PAUSE", "200", "ALL")
				begun := time.Now()
				server.Do(t, "GET", "any")
				paused = max(paused, time.Since(begun))
			})
		}, func(*node) bool { return paused > 150*time.Millisecond }},
		{"redis is frozen for two seconds", func() { server.Freeze(); time.Sleep(2 * time.Second); server.Thaw() }, counted("outages")},
		{
			"bytes come one at a time", func() { proxy.Slice(1); time.Sleep(3 * time.Second); proxy.Slice(0) },
			func(*node) bool { return proxy.Sliced() > 50_000 },
		},
		{"every chunk takes 50 ms", func() {
			proxy.Delay(50 * time.Millisecond)
			defer proxy.Delay(0)
			begun := time.Now()
			if c, err := redistest.Dial(proxy.Addr); err == nil {
				_, _ = c.Do("PING")
				c.Close()
			}
			there = time.Since(begun)
			time.Sleep(3*time.Second - there)
		}, func(*node) bool { return there > 100*time.Millisecond && proxy.Delayed() > 50 }},
		{"the network is a black hole for five seconds", func() { proxy.Freeze(); time.Sleep(5 * time.Second); proxy.Cut(); proxy.Thaw() }, counted("outages")},
		{"memory is full", func() {
			server.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
			time.Sleep(3 * time.Second)
			server.Do(t, "CONFIG", "SET", "maxmemory", "0")
		}, counted("spooled")},
		{"it is a replica for three seconds", func() {
			server.Do(t, "REPLICAOF", "127.0.0.1", "1")
			time.Sleep(3 * time.Second)
			server.Do(t, "REPLICAOF", "NO", "ONE")
		}, counted("outages")},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			server.Do(t, "FLUSHALL")
			under(t, "redis://"+proxy.Addr, func(here, _ *node) {
				for begun := time.Now(); ; {
					if f.play(); f.took(here) {
						break
					}
					if time.Since(begun) > patience {
						t.Fatal("the fault did not take hold")
					}
				}
				t.Logf("%d chunks sliced, %d delayed, %d connections cut", proxy.Sliced(), proxy.Delayed(), proxy.Cuts())
			})
		})
	}
}
