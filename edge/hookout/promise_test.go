package hookout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// A storeOf is the store as one node sees it: as the Redis store does, it gives a node that writes
// a first lease, so that a node that was given up and writes before its next heartbeat is found
// lost again.
type storeOf struct {
	*embedded.Store
	node presence.NodeID
}

func (s storeOf) Update(ctx context.Context, keys []presence.Key, at presence.Millis, merge presence.Merge) error {
	if beats, err := s.Heartbeats(ctx, []presence.NodeID{s.node}); err == nil && !beats[0] {
		if err := s.Heartbeat(ctx, s.node, presence.NodeLease, false, at); err != nil {
			return err
		}
	}
	return s.Store.Update(ctx, keys, at, merge)
}

func now() presence.Millis { return presence.MillisOf(time.Now()) }

// akin: the device is behind the tilde.
func akin(a, b presence.SessionID) bool {
	_, x, _ := strings.Cut(string(a), "~")
	_, y, _ := strings.Cut(string(b), "~")
	return x == y
}

// TestWhatIsSentOnlineIsSentOffline: whatever clients and nodes do, and whichever dies when, with
// its disk or without, the hooks of each client alternate (each may come more than once), and the
// last one says what the client is, once all is quiet.
func TestWhatIsSentOnlineIsSentOffline(t *testing.T) {
	for _, shared := range []bool{true, false} {
		playSeeds(t, 0, 40, shared)
	}
}

// TestEndsOfLostNodesKeepTheirOrder: the stories in which a node that had taken sessions over once
// forgot them, sent their ends out of order, or waited for a node that waited for it.
func TestEndsOfLostNodesKeepTheirOrder(t *testing.T) {
	for _, story := range []struct {
		name   string
		seed   uint64
		shared bool
	}{
		{"an end waits for another node to send it, which waits for an older session that has moved here", 1229, true},
		{"the same between three nodes, two of them cut off", 1535, true},
		{"an end comes back from the node that had taken it over, before older ones", 10025, true},
		{"no node runs for longer than an older session of a client may take to end", 1065, false},
	} {
		t.Run(story.name, func(t *testing.T) { playSeeds(t, story.seed, story.seed+1, story.shared) })
	}
}

func playSeeds(t *testing.T, from, to uint64, shared bool) {
	for seed := from; seed < to; seed++ {
		synctest.Test(t, func(t *testing.T) {
			if err := play(t, seed, shared); err != nil {
				t.Errorf("seed %d, shared %t: %v", seed, shared, err)
			}
		})
	}
}

// play plays one story, and returns what is wrong with it.
func play(t *testing.T, seed uint64, shared bool) error {
	store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		return err
	}
	f := &fleet{t: t, rng: rand.New(rand.NewPCG(seed, 7)), net: rand.New(rand.NewPCG(seed, 8)), store: store, shared: shared, dir: t.TempDir(), begun: time.Now()}
	defer func() {
		for _, n := range slices.Clone(f.nodes) {
			n.kill()
		}
		time.Sleep(time.Minute)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range 4 {
		f.peers = append(f.peers, &client{name: fmt.Sprint("peer", i)})
	}
	f.start(0)
	if shared {
		f.start(1)
		f.start(2)
	}
	var story []string
	quiet := func() error {
		f.mu.Lock()
		f.down = false
		f.mu.Unlock()
		time.Sleep(4 * time.Minute)
		err := f.check()
		if err == nil {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("%w\n%s\nthe app was sent\n%s", err, strings.Join(story, "\n"), strings.Join(f.received, "\n"))
	}
	for range 3 {
		for range 15 {
			story = append(story, fmt.Sprintf("%8.3f %s", time.Since(f.begun).Seconds(), f.step()))
		}
		if err := quiet(); err != nil {
			return err
		}
		story = append(story, "all is quiet")
	}
	for _, c := range f.peers {
		if c.ss != nil && !c.on.dead {
			c.on.end(c, c.ss, presence.CauseLogout)
		}
	}
	if err := quiet(); err != nil {
		return err
	}
	for _, n := range f.nodes {
		if owed := n.sender.Stats().Owed; owed != 0 {
			return fmt.Errorf("%s owes %d hooks when all is over\n%s\nthe app was sent\n%s", n.id, owed, strings.Join(story, "\n"), strings.Join(f.received, "\n"))
		}
	}
	return nil
}
