//go:build faults

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestFaultThreeNodesOnRedis plays two hundred schedules: nodes are cut off, paused Redis, Redis
// that comes back empty, killed nodes.
func TestFaultThreeNodesOnRedis(t *testing.T) { playOn(t, alone, true, 8, seeds(1000, 200)) }

// TestFaultThreeNodesOnSentinels stops primaries for so long that a replica takes over. What
// replicas have not got yet is reported again.
func TestFaultThreeNodesOnSentinels(t *testing.T) {
	playOn(t, func(t *testing.T) faulty {
		s := redistest.RunSentinels(t, 2)
		var stopped *redistest.Server
		f := faulty{
			stop: func() {
				if p, err := s.Primary(); err == nil && stopped == nil {
					stopped = p
					p.Freeze()
				}
			},
			start: func() {
				if stopped != nil {
					stopped.Thaw()
					stopped = nil
				}
			},
			url: func(int) (string, func(), func()) {
				return "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + redistest.Master, nil, nil
			},
		}
		return f
	}, false, 2, seeds(2000, 12))
}

// TestFaultThreeNodesOnACluster kills primaries, whose replicas take over.
func TestFaultThreeNodesOnACluster(t *testing.T) {
	playOn(t, func(t *testing.T) faulty {
		c := redistest.RunCluster(t, 3, true)
		turn := 0
		var killed *redistest.Server
		return faulty{
			stop: func() {
				if p := c.Primaries(); killed == nil && len(p) > 0 {
					killed = p[turn%len(p)]
					turn++
					killed.Kill()
				}
			},
			start: func() {
				if killed == nil {
					return
				}
				time.Sleep(time.Second) // a replica takes over meanwhile, or does not
				if err := killed.Start(); err != nil {
					t.Error(err)
				}
				killed = nil
			},
			url: func(int) (string, func(), func()) { return "redis://" + strings.Join(c.Addrs(), ","), nil, nil },
		}
	}, false, 1, seeds(3000, 8))
}

// TestFaultAFrozenNodeAnswersNothingOld: a node is frozen while its peers leave at another. When it
// wakes no answer without an age is of before the freeze.
func TestFaultAFrozenNodeAnswersNothingOld(t *testing.T) {
	w := newWorld(t, alone(t))
	sleeper, other := w.nodes[0], w.nodes[1]
	for round := range 3 {
		var peers []presence.PeerID
		for i := range 50 {
			peers = append(peers, presence.PeerID(fmt.Sprintf("r%d-p%d", round, i)))
		}
		all := func(m *member, kind presence.Kind) {
			for _, p := range peers {
				if err := m.hook(&presence.Report{Peer: p, Kind: kind, Cause: presence.CauseLogout}); err != nil {
					t.Fatal(err)
				}
			}
		}
		all(sleeper, presence.KindOnline)
		// And so they are in its near cache.
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			if got, err := sleeper.ask(peers); err == nil && !slices.Contains(got, presence.Offline) && !slices.Contains(got, presence.Unknown) {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the peers do not come online")
			}
		}
		if err := sleeper.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		all(other, presence.KindOffline)
		time.Sleep(time.Duration(4+4*round) * time.Second)
		if err := sleeper.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for woke, fresh := time.Now(), 0; fresh < 20; {
			got, err := sleeper.ask(peers)
			if err != nil { // refused, or with an age
				if time.Since(woke) > patience {
					t.Fatal(err)
				}
				continue
			}
			fresh++
			if slices.Contains(got, presence.Online) {
				t.Fatalf("%v after it woke the node answers as of before, without an age", time.Since(woke))
			}
		}
	}
}

// TestFaultAStarvedNodeDeclaresNoOutage: beside loops that take every processor, with Redis idle,
// hooks at a steady rate make no node call Redis away.
func TestFaultAStarvedNodeDeclaresNoOutage(t *testing.T) {
	w := newWorld(t, alone(t))
	var loops []*exec.Cmd
	defer func() {
		for _, c := range loops {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()
	for range runtime.NumCPU() {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		loops = append(loops, c)
	}
	const rate, long = 200, 40 * time.Second
	var hooks sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	turn := make(chan struct{}, 64)
	for i, begun := 0, time.Now(); time.Since(begun) < long; i++ {
		<-tick.C
		turn <- struct{}{}
		hooks.Go(func() {
			defer func() { <-turn }()
			if err := w.nodes[0].hook(&presence.Report{Peer: presence.PeerID(fmt.Sprint("p", i%500)), Kind: presence.KindOnline}); err != nil {
				t.Error(err)
			}
		})
	}
	hooks.Wait()
	for i, m := range w.nodes {
		log, err := os.ReadFile(filepath.Join(m.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(log), "redis unreachable"); n > 0 {
			t.Errorf("node %d: %d outages were declared while Redis was idle\n%s", i, n, m.log())
		}
	}
}
