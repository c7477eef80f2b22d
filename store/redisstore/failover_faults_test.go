//go:build faults

package redisstore_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

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
	cfg.Deadline, cfg.NearCache, cfg.Log, cfg.Spool = 250*time.Millisecond, 0, logger(t), t.TempDir()
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
