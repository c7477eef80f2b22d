package feed_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/feed"
	"rollcall/presence"
)

// A replica is kept as the contract says: it lists when a page says so, and puts changes in.
type replica struct {
	*client
	rng    *rand.Rand
	online map[presence.PeerID]bool
	// Pages of a list under way are read between other steps, as a slow reader does.
	listing bool
	next    string
	lists   int
}

// step reads one page of the list or of the changes.
func (r *replica) step() {
	r.Helper()
	if r.listing {
		peers, next, err := r.store.List(context.Background(), app, r.next, 1+r.rng.IntN(10), r.Leases(now()))
		if err != nil {
			r.Fatal(err)
		}
		for _, p := range peers {
			r.online[p] = true
		}
		r.next, r.listing = next, next != ""
		return
	}
	p, err := r.of.Read(context.Background(), app, r.cursor, 1+r.rng.IntN(5), 0)
	if err != nil {
		r.Fatal(err)
	}
	r.cursor = p.Cursor
	if p.ListAgain {
		r.online, r.listing, r.next = map[presence.PeerID]bool{}, true, ""
		r.lists++
	}
	for _, c := range p.Changes {
		delete(r.online, c.Peer)
		if c.Status == presence.Online {
			r.online[c.Peer] = true
		}
	}
}

// settled reads until the list is whole and there are no more changes.
func (r *replica) settled() string {
	for range 10_000 {
		before, listing := r.cursor, r.listing
		if r.step(); !listing && before == r.cursor {
			break
		}
	}
	return set(r.online)
}

func set(online map[presence.PeerID]bool) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(online)))
}

// world draws what happens: two nodes over one store, each with a feed.
type world struct {
	*house
	*rand.Rand
	cfg      feed.Config
	feeds    []*feed.Feed
	replicas []*replica
}

func (w *world) peer() string { return fmt.Sprint("p", w.IntN(12)) }

func (w *world) step() {
	peer, session := w.peer(), fmt.Sprint(w.IntN(2))
	switch n := w.IntN(100); {
	case n < 30:
		w.report(on, peer, session, lease([]time.Duration{0, 20 * time.Second, time.Hour}[w.IntN(3)]))
	case n < 40:
		w.report(off, peer, session, logout)
	case n < 50:
		w.report(off, peer, session, lost(time.Duration(w.IntN(15))*time.Second))
	case n < 52:
		if err := w.Erase(context.Background(), []presence.Key{{App: app, Peer: presence.PeerID(peer)}}, now()); err != nil {
			w.Fatal(err)
		}
	case n < 60:
		w.sweep()
	case n < 75:
		time.Sleep(time.Duration(w.IntN(4000)) * time.Millisecond)
	case n < 95:
		w.replicas[w.IntN(len(w.replicas))].step()
	case n < 97:
		w.replicas[w.IntN(len(w.replicas))].of = w.feeds[w.IntN(len(w.feeds))]
	case n < 98: // a node is killed, and another takes its place
		w.restart(w.IntN(len(w.feeds)))
	case n < 99:
		w.outage()
	default:
		time.Sleep(time.Minute)
	}
}

func (w *world) restart(i int) {
	dead := w.feeds[i]
	dead.Close()
	w.feeds[i] = w.newFeed(w.cfg)
	if w.IntN(2) == 0 {
		w.feeds[i].Keep(app)
	}
	for _, r := range w.replicas {
		if r.of == dead {
			r.of = w.feeds[w.IntN(len(w.feeds))]
		}
	}
}

// outage cuts the link; what others write meanwhile is not signalled.
func (w *world) outage() {
	w.store.since.Store(time.Now().UnixNano())
	time.Sleep(time.Duration(w.IntN(20)) * time.Second)
	for range w.IntN(10) {
		w.report(on, w.peer(), "0")
		w.report(off, w.peer(), "0", logout)
	}
	time.Sleep(time.Second)
	w.store.mend()
}

func TestAReplicaEqualsTheListAfterQuiet(t *testing.T) {
	lists, on, histories := 0, 0, 300
	for seed := range uint64(histories) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, seed))
			cfg := feed.DefaultConfig()
			cfg.Peers, cfg.Keep = []int{3, 8, 100}[rng.IntN(3)], []time.Duration{20 * time.Second, time.Hour}[rng.IntN(2)]
			w := &world{house: open(t, cfg), Rand: rng, cfg: cfg}
			w.feeds = []*feed.Feed{w.feed, w.newFeed(cfg)}
			for range 3 {
				w.replicas = append(w.replicas, &replica{client: &client{house: w.house, of: w.feeds[rng.IntN(2)]}, rng: rng, online: map[presence.PeerID]bool{}})
			}
			for range 150 {
				w.step()
			}
			for range 30 { // quiet
				time.Sleep(time.Second)
				w.sweep()
			}
			truth, _, err := w.store.List(context.Background(), app, "", 1000, w.Leases(now()))
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprint(slices.Sorted(slices.Values(truth)))
			for i, r := range w.replicas {
				if got := r.settled(); got != want {
					t.Errorf("seed %d, replica %d: %s, want %s", seed, i, got, want)
				}
				lists += r.lists
			}
			on += len(truth)
			for _, f := range w.feeds {
				f.Close()
			}
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d histories, %d lists, %d peers online at the ends", histories, lists, on)
	if lists < histories || on < histories {
		t.Errorf("%d histories had %d lists and %d peers online at the ends: they try nothing", histories, lists, on)
	}
}
