//go:build faults

package redisstore_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
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
