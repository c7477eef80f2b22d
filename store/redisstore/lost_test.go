package redisstore_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestLostPrimaryStopsOnlyItsOwn: a primary of a Cluster is lost and not replaced. The sweep goes
// on with what lies on the others, whole; a report on a peer that can be reached does not wait for
// those in its batch that cannot; and when the primary is back the rest is settled. With the
// primary of the node beats lost no node is found lost.
func TestLostPrimaryStopsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	c := redistest.RunCluster(t, 3, false)
	cfg := config(clusterURL(c))
	cfg.Deadline = 2 * time.Second // the primaries that are well are to stay so on a busy machine
	var log book
	cfg.Log = log.logger()
	owner := func(key string) int {
		slot, _ := c.Servers[0].Do(t, "CLUSTER", "KEYSLOT", key).(int64)
		for i := range c.Servers {
			if int(slot) < (i+1)*16384/3 {
				return i
			}
		}
		t.Fatalf("nobody owns slot %d", slot)
		return 0
	}
	beats := owner("rc:nodes")
	for phase, lost := range map[string]int{"the primary of the beats": beats, "another primary": (beats + 1) % 3} {
		t.Run(phase, func(t *testing.T) {
			c.AwaitWell(t)
			for _, s := range c.Servers {
				s.Do(t, "FLUSHALL")
			}
			cfg := cfg
			cfg.Spool = t.TempDir()
			here := startNode(t, cfg, "here")
			cfg.Spool = t.TempDir()
			there := startNode(t, cfg, "there")
			bucket := func(peer string) uint32 { return crc32.ChecksumIEEE([]byte(":"+peer)) % 64 }
			// What a peer needs to be ended, besides a node's index.
			reached := func(peer string) bool {
				return owner("onOffStatus:"+peer) != lost && owner(fmt.Sprint("rc:lease:", bucket(peer))) != lost
			}
			leased, noded, mixed := numbered("leased", 60), numbered("noded", 60), numbered("mixed", 60)
			var reports []presence.Report
			for i := range leased {
				r := presence.Report{App: "app", Peer: presence.PeerID(leased[i]), Source: "x", Session: "s", Kind: presence.KindOnline, At: here.st.Now(), Lease: 30 * time.Second}
				g := r
				g.Peer, g.Node, g.Lease = presence.PeerID(noded[i]), "gone", 0
				reports = append(reports, r, g)
			}
			if err := here.report(reports...); err != nil {
				t.Fatal(err)
			}
			there.see(patience, presence.Online, leased...)
			said := log.lines("redis unreachable")

			c.Servers[lost].Freeze()
			t.Cleanup(c.Servers[lost].Thaw)
			eventually(t, "both nodes know that the primary is lost", func() bool {
				return here.st.Ready() != nil && there.st.Ready() != nil && log.lines("redis unreachable") == said+2
			})
			reports = reports[:0]
			var direct []string
			waits := int64(0)
			for _, p := range mixed {
				reports = append(reports, here.hook(presence.KindOnline, p))
				if reached(p) {
					direct = append(direct, p)
				} else {
					waits++
				}
			}
			if err := here.report(reports...); err != nil {
				t.Fatalf("a batch for all primaries: %v", err)
			}
			there.see(patience, presence.Online, direct...)
			if st := here.st.Stats(); st["spooled"] != waits || waits == 0 {
				t.Errorf("%d reports were spooled, want the %d that need the lost primary", st["spooled"], waits)
			}

			later := there.st.Now().Add(time.Minute)
			// What cannot be settled now does not stand in the way of what can, however little is
			// asked for at once.
			if due, err := there.st.Due(t.Context(), later, 1); !errors.Is(err, presence.ErrUnavailable) || len(due) != 1 || !reached(string(due[0].Peer)) {
				t.Errorf("due is %v, %v; want one that can be reached, and the error", due, err)
			}
			var err error
			for range 3 { // one sweep ends 512 at once; errors of the first are to stop none
				_, err = there.svc.Sweep(t.Context(), later)
			}
			if !errors.Is(err, presence.ErrUnavailable) {
				t.Errorf("the sweep returns %v, want presence.ErrUnavailable for what it could not reach", err)
			}
			for _, p := range leased {
				if o := owner("onOffStatus:" + p); o != lost {
					want := "1"
					if reached(p) {
						want = "0"
					}
					if got := c.Servers[o].Do(t, "GET", "onOffStatus:"+p); got != want {
						t.Errorf("%s is %v in Redis after the sweep, want %s", p, got, want)
					}
				}
			}
			for _, p := range noded {
				if o := owner("onOffStatus:" + p); o != lost {
					want := "1"
					if lost != beats && reached(p) && owner(fmt.Sprint("rc:node:gone:", bucket(p))) != lost {
						want = "0"
					}
					if got := c.Servers[o].Do(t, "GET", "onOffStatus:"+p); got != want {
						t.Errorf("%s of the lost node is %v in Redis after the sweep, want %s", p, got, want)
					}
				}
			}
			if _, err := there.st.Counts(t.Context(), "app", later); !errors.Is(err, presence.ErrUnavailable) {
				t.Errorf("counts of a part: %v, want presence.ErrUnavailable", err)
			}
			if _, _, err := there.st.List(t.Context(), "app", "", 1000, later); !errors.Is(err, presence.ErrUnavailable) {
				t.Errorf("a list of a part: %v, want presence.ErrUnavailable", err)
			}
			if n := log.lines("redis unreachable") - said; n != 2 {
				t.Errorf("the log of two nodes says %d times that redis is down, want once each", n)
			}

			c.Servers[lost].Thaw()
			here.ready(patience)
			there.ready(patience)
			there.see(patience, presence.Online, mixed...)
			// the other node may be ending some of its sessions
			eventually(t, "the lost node is forgotten", func() bool {
				if _, err := there.svc.Sweep(t.Context(), later); err != nil {
					t.Errorf("a sweep after the return: %v", err)
					return true
				}
				return c.Servers[beats].Do(t, "HEXISTS", "rc:nodes", "gone") == int64(0)
			})
			for _, p := range append(leased, noded...) {
				if got := c.Servers[owner("onOffStatus:"+p)].Do(t, "GET", "onOffStatus:"+p); got != "0" {
					t.Errorf("%s is %v in Redis after the return, want 0", p, got)
				}
			}
			if n := here.st.Stats()["spool_waiting"]; n != 0 {
				t.Errorf("%d reports still wait", n)
			}
		})
	}
}
