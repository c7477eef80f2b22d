package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/internal/redistest"
	"rollcall/internal/wake"
	"rollcall/presence"
	"rollcall/store/redisstore"
	"rollcall/watch"
)

const patience = redistest.Patience

// A node is one rollcall process as far as the store is concerned: the rules over it, with a sweep
// and a beat.
type node struct {
	t    testing.TB
	name presence.NodeID
	st   *redisstore.Store
	svc  *presence.Service

	stop   context.CancelFunc
	wg     sync.WaitGroup
	turned atomic.Int64 // peers that the sweep ended
}

func startNode(t testing.TB, cfg redisstore.Setup, name presence.NodeID) *node {
	t.Helper()
	st, err := cfg.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, name: name, st: st, svc: presence.NewService(st, presence.DefaultConfig())}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	again := wake.NewSignal()
	n.svc.OnReturn(func(presence.Millis) <-chan struct{} {
		again.Wake()
		return nil
	})
	n.wg.Go(func() {
		beat, sweep := time.NewTicker(5*time.Second), time.NewTicker(500*time.Millisecond)
		defer beat.Stop()
		defer sweep.Stop()
		_ = st.Heartbeat(ctx, name, 15*time.Second, false, st.Now())
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				_ = st.Heartbeat(ctx, name, 15*time.Second, false, st.Now())
			case <-again:
				_ = st.Heartbeat(ctx, name, 15*time.Second, false, st.Now())
			case <-sweep.C:
				k, _ := n.svc.Sweep(ctx, st.Now())
				n.turned.Add(int64(k))
			}
		}
	})
	t.Cleanup(n.kill)
	return n
}

// kill ends the node without a goodbye, as far as the others can see.
func (n *node) kill() {
	n.stop()
	n.wg.Wait()
	_ = n.st.Close()
}

func (n *node) report(reports ...presence.Report) error {
	return n.svc.Report(context.Background(), reports, n.st.Now(), make([]presence.Outcome, len(reports)))
}

// hook is a report as LeanCloud's hooks bring it: no session, no time of its own, no id.
func (n *node) hook(kind presence.Kind, peer string) presence.Report {
	return presence.Report{
		App: "app", Peer: presence.PeerID(peer), Source: presence.SourceLeanCloud, Kind: kind, At: n.st.Now(),
	}
}

// socket is a session that hangs on the beat of the node.
func (n *node) socket(kind presence.Kind, peer string) presence.Report {
	return presence.Report{
		App: "app", Peer: presence.PeerID(peer), Source: presence.SourceGateway, Session: "s", Node: n.name, Kind: kind, At: n.st.Now(),
	}
}

func (n *node) ask(peers ...string) ([]presence.Status, time.Duration, error) {
	ids := make([][]byte, len(peers))
	for i, p := range peers {
		ids[i] = []byte(p)
	}
	out := make([]presence.Status, len(peers))
	age, err := n.st.Statuses(context.Background(), "app", ids, n.svc.Leases(n.st.Now()), out)
	return out, age, err
}

// see waits until all peers are as wanted, as this node sees them, and returns how long that took.
func (n *node) see(within time.Duration, want presence.Status, peers ...string) time.Duration {
	n.t.Helper()
	begun := time.Now()
	for {
		got, age, err := n.ask(peers...)
		wrong := 0
		for _, st := range got {
			if st != want {
				wrong++
			}
		}
		if err == nil && age == 0 && wrong == 0 {
			return time.Since(begun)
		}
		if time.Since(begun) > within {
			n.t.Errorf("after %v %d of %d peers are not %v (error %v, age %v)", within, wrong, len(peers), want, err, age)
			return within
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// warm waits until the cache answers for all peers.
func (n *node) warm(peers ...string) {
	n.t.Helper()
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		before := n.st.Stats()["near_cache_misses"]
		_, _, _ = n.ask(peers...)
		if n.st.Stats()["near_cache_misses"] == before {
			return
		}
		if time.Since(begun) > patience {
			n.t.Fatal("the cache does not get warm")
		}
	}
}

// ready waits until the store does all that it should.
func (n *node) ready(within time.Duration) {
	n.t.Helper()
	for begun := time.Now(); n.st.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > within {
			n.t.Fatalf("after %v it is not ready: %v", within, n.st.Ready())
		}
	}
}

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, i)
	}
	return list
}

// A witness asks one node all the time and remembers the worst of its answers.
type witness struct {
	asked, fresh, aged, refused atomic.Int64
	offline                     atomic.Int64 // made-up words
	slowest                     atomic.Int64 // ns
	words                       atomic.Int64 // sent to a watcher
	oldest                      atomic.Int64 // ns, the greatest age of an answer
}

// watch asks for peers that are online throughout.
func (w *witness) watch(ctx context.Context, n *node, peers []string) {
	for ctx.Err() == nil {
		begun := time.Now()
		got, age, err := n.ask(peers...)
		took := time.Since(begun)
		w.asked.Add(1)
		w.slowest.Store(max(w.slowest.Load(), int64(took)))
		switch {
		case errors.Is(err, presence.ErrUnavailable):
			w.refused.Add(1)
		case err != nil:
			n.t.Errorf("a query: %v", err)
		case age > 0:
			w.aged.Add(1)
			w.oldest.Store(max(w.oldest.Load(), int64(age)))
		default:
			w.fresh.Add(1)
		}
		if err == nil {
			for _, st := range got {
				if st != presence.Online {
					w.offline.Add(1)
				}
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// follow watches the peers through a hub of the node, and counts every word that is not online.
func (w *witness) follow(ctx context.Context, n *node, peers []string) {
	hub := watch.New(watch.DefaultConfig(), watch.Deps{Service: n.svc, Source: n.st, Now: n.st.Now})
	defer hub.Close(watch.ReasonShutdown)
	ids := make([]presence.PeerID, len(peers))
	for i, p := range peers {
		ids[i] = presence.PeerID(p)
	}
	watcher, err := hub.Watch(ctx, ask.View{App: "app", Viewer: ask.Public}, ids, presence.DetailFull, "")
	if err != nil {
		n.t.Errorf("watch: %v", err)
		return
	}
	for {
		batch, err := watcher.Next(ctx)
		if err != nil {
			return
		}
		for _, u := range batch.Updates {
			w.words.Add(1)
			if u.Status != presence.Online {
				w.offline.Add(1)
			}
		}
	}
}

func (w *witness) String() string {
	return fmt.Sprintf("%d asked: %d fresh, %d flagged (oldest %v), %d refused, %d made-up words; slowest %v", w.asked.Load(), w.fresh.Load(),
		w.aged.Load(), time.Duration(w.oldest.Load()).Round(time.Millisecond), w.refused.Load(), w.offline.Load(),
		time.Duration(w.slowest.Load()).Round(time.Millisecond))
}

// doomedURL has this test binary be a node that holds sockets until it is killed.
const doomedURL = "ROLLCALL_TEST_DOOMED_NODE"

const doomedSockets = 5000

func doomed(url string) {
	ctx := context.Background()
	st, err := config(url).Open(ctx)
	if err != nil {
		panic(err)
	}
	n := &node{name: "doomed", st: st, svc: presence.NewService(st, presence.DefaultConfig())}
	beat := func() {
		if err := st.Heartbeat(ctx, n.name, 15*time.Second, false, st.Now()); err != nil {
			panic(err)
		}
	}
	beat()
	peers := numbered("socket", doomedSockets)
	for i := 0; i < len(peers); i += 500 {
		var reports []presence.Report
		for _, p := range peers[i : i+500] {
			reports = append(reports, n.socket(presence.KindOnline, p))
		}
		if err := n.report(reports...); err != nil {
			panic(err)
		}
	}
	fmt.Println("ready")
	for range time.Tick(5 * time.Second) {
		beat()
	}
}
