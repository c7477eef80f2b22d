//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/outagetest"
)

// window is the reorder window of the nodes of a world, and hooks of one peer come further apart
// than that: so that the reference need not know to the millisecond when a node has received one.
// Within the window, order is played in fake time.
const window = 300 * time.Millisecond

// A world is three nodes, each a process with a way to Redis of its own that can be cut.
type world struct {
	t     *testing.T
	redis faulty
	nodes [outagetest.Nodes]*member
	hooks int // acknowledged
	lists int // of replicas
	turns int // changes that replicas were given
}

// faulty is a Redis that can be stopped, and can come back without what it had.
type faulty struct {
	stop, start, lose func()
	// url returns what a node is started with; cut and join are for its way alone, and nil where it
	// has none.
	url func(node int) (url string, cut, join func())
}

// A member is a node.
type member struct {
	w         *world
	dir       string
	url       string
	cut, join func()
	ports     [2]int

	// Held for reading while a request to it is under way, and for writing while it is killed.
	mu   sync.RWMutex
	cmd  *exec.Cmd
	gone chan struct{}
}

const worldSettings = `
presence: {window: 300ms}
log: {level: debug}
feed: {always: true, peers: %d}
`

// remembered is how many changed peers each node remembers: the first one too few.
var remembered = [outagetest.Nodes]int{3, 100, 100}

func newWorld(t *testing.T, redis faulty) *world {
	t.Helper()
	w := &world{t: t, redis: redis}
	for i := range w.nodes {
		m := &member{w: w, dir: t.TempDir(), ports: [2]int{freePort(t), freePort(t)}}
		m.url, m.cut, m.join = redis.url(i)
		if err := os.WriteFile(filepath.Join(m.dir, "rollcall.yaml"), []byte(fmt.Sprintf(worldSettings, remembered[i])), 0o600); err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = m
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.kill() })
	}
	return w
}

// freePort returns a port that a node may listen on now and after each restart: it is below those
// that the system gives to clients.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 12_000 + rand.IntN(18_000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port of 127.0.0.1 between 12000 and 30000 is free")
	return 0
}

// play plays the schedule of a seed and holds every node and watcher to the reference. It returns
// how long after the heal all agreed.
func (w *world) play(seed uint64, losses bool) time.Duration {
	s := outagetest.Draw(seed, outagetest.Options{Peers: 6, Hooks: 36, Length: 6 * time.Second, Kills: true, Losses: losses})
	peers := make([]presence.PeerID, s.Peers)
	for i := range peers {
		peers[i] = presence.PeerID(fmt.Sprintf("s%d-p%d", seed, i))
	}
	streams := make([]*stream, len(w.nodes))
	for i, m := range w.nodes {
		streams[i] = m.watch(peers)
		defer func() {
			streams[i].stop()
			streams[i].done.Wait()
		}()
	}
	replicas := []*replica{w.replicate(w.nodes[:]...)}
	for _, m := range w.nodes {
		replicas = append(replicas, w.replicate(m))
	}
	defer func() {
		for _, r := range replicas {
			r.close()
			w.lists += r.lists
			w.turns += r.changes
		}
	}()
	rules := presence.DefaultRules()
	rules.Window, rules.Replay = window, presence.ReplayWithin
	ref := outagetest.NewReference(rules)
	var mu sync.Mutex
	var running sync.WaitGroup
	turns := make([]sync.Mutex, s.Peers) // one hook of a peer at a time
	next := make([]time.Time, s.Peers)
	begun := time.Now()
	for i, step := range s.Steps {
		time.Sleep(time.Until(begun.Add(step.At)))
		m := w.nodes[step.Node]
		switch step.Do {
		case outagetest.Hook:
			r := step.Report
			if r.Session != "" || r.Policy == presence.PolicyLast { // these hooks have neither
				r.Session, r.Source, r.Policy = "", presence.SourceLeanCloud, presence.PolicySum
			}
			p := step.Peer
			if !turns[p].TryLock() {
				continue
			}
			if time.Now().Before(next[p]) {
				turns[p].Unlock()
				continue
			}
			running.Go(func() {
				defer turns[p].Unlock()
				m.mu.RLock()
				defer m.mu.RUnlock()
				r.Peer, r.ID = peers[p], fmt.Sprint(seed, "/", i)
				r.At = presence.Millis(time.Now().UnixMilli())
				if err := m.hook(&r); err != nil {
					w.t.Errorf("seed %d: %v: %v\n%s", seed, step, err, m.log())
					return
				}
				mu.Lock()
				ref.Acknowledged(r, r.At)
				w.hooks++
				mu.Unlock()
				next[p] = time.Now().Add(2*window + 200*time.Millisecond)
			})
		case outagetest.Cut:
			if m.cut != nil {
				m.cut()
			}
		case outagetest.Join:
			if m.join != nil {
				m.join()
			}
		case outagetest.Stop:
			w.redis.stop()
		case outagetest.Start:
			w.redis.start()
		case outagetest.Kill:
			m.mu.Lock()
			m.kill()
			running.Go(func() {
				defer m.mu.Unlock()
				w.redis.start() // a node does not start without
				if m.join != nil {
					m.join()
				}
				if err := m.start(); err != nil {
					w.t.Error(err)
				}
			})
		case outagetest.Keep:
		case outagetest.Lose:
			if w.redis.lose != nil {
				w.redis.lose()
			}
		}
	}
	running.Wait()
	w.redis.start()
	for _, m := range w.nodes {
		if m.join != nil {
			m.join()
		}
	}
	return w.agree(&s, peers, streams, replicas, ref)
}

// agree waits until every node answers, and every watcher was last notified of, what the reference
// says.
func (w *world) agree(s *outagetest.Schedule, peers []presence.PeerID, streams []*stream, replicas []*replica, ref *outagetest.Reference) time.Duration {
	healed := time.Now()
	for {
		wrong := w.differences(peers, streams, replicas, ref)
		if len(wrong) == 0 {
			return time.Since(healed)
		}
		if time.Since(healed) > patience || w.t.Failed() {
			w.t.Errorf("%v after the heal:\n%s\n%v", time.Since(healed), strings.Join(wrong, "\n"), s)
			return time.Since(healed)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *world) differences(peers []presence.PeerID, streams []*stream, replicas []*replica, ref *outagetest.Reference) (wrong []string) {
	now := presence.Millis(time.Now().UnixMilli())
	for i, m := range w.nodes {
		got, err := m.ask(peers)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("node %d: %v", i, err))
			continue
		}
		for k, p := range peers {
			want := ref.Status(p, now)
			if got[k] != want {
				wrong = append(wrong, fmt.Sprintf("node %d: %s is %v, want %v\n%s", i, p, got[k], want, ref.Story(p)))
			}
			if last := streams[i].latest(p); last != want.String() {
				wrong = append(wrong, fmt.Sprintf("node %d: the last update of %s is %q, want %v\n%s", i, p, last, want, ref.Story(p)))
			}
		}
	}
	listed, err := w.nodes[0].list()
	if err != nil {
		return append(wrong, fmt.Sprintf("list of node 0: %v", err))
	}
	for _, p := range peers {
		for i, r := range replicas {
			if want := slices.Contains(listed, string(p)); r.has(p) != want {
				wrong = append(wrong, fmt.Sprintf("replica %d: %s is online: %v, and in the list: %v\n%s", i, p, !want, want, ref.Story(p)))
			}
		}
	}
	return wrong
}

// alone is one Redis behind a proxy for each node.
func alone(t *testing.T) faulty {
	server := redistest.Run(t)
	f := faulty{
		stop: func() { server.Freeze() },
		start: func() {
			if !server.Running() {
				if err := server.Start(); err != nil {
					t.Error(err)
				}
			}
			server.Thaw()
		},
		lose: func() { // what it had is in no file
			server.Thaw()
			server.Kill()
		},
	}
	f.url = func(int) (string, func(), func()) {
		p := redistest.RunProxy(t, server.Addr)
		return "redis://" + p.Addr, func() { p.Freeze() }, func() { p.Thaw() }
	}
	return f
}

// seeds returns n seeds from from on.
func seeds(from, n uint64) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = from + uint64(i)
	}
	return list
}

// playOn plays seeds in so many worlds at a time, whatever the number of processors: they wait more
// than they work.
func playOn(t *testing.T, redis func(t *testing.T) faulty, losses bool, worlds int, seeds []uint64) {
	var mu sync.Mutex
	var longest time.Duration
	hooks, lists, turns := 0, 0, 0
	var playing sync.WaitGroup
	for some := range slices.Chunk(seeds, (len(seeds)+worlds-1)/worlds) {
		w := newWorld(t, redis(t))
		playing.Go(func() {
			for _, seed := range some {
				took := w.play(seed, losses)
				mu.Lock()
				longest = max(longest, took)
				mu.Unlock()
				if t.Failed() {
					return
				}
			}
			mu.Lock()
			hooks, lists, turns = hooks+w.hooks, lists+w.lists, turns+w.turns
			mu.Unlock()
		})
	}
	playing.Wait()
	t.Logf("%d schedules, %d hooks, %d lists and %d changes of replicas; all agreed at most %v after a heal", len(seeds), hooks, lists, turns, longest.Round(time.Millisecond))
	if (hooks < 10*len(seeds) || lists < 4*len(seeds) || turns < 10*len(seeds)) && !t.Failed() {
		t.Errorf("%d hooks were played, and replicas had %d lists and %d changes: too few to show anything", hooks, lists, turns)
	}
}

// TestThreeNodesAgreeAfterAnOutage plays a few schedules with real nodes on a real Redis; make
// test-faults plays hundreds.
func TestThreeNodesAgreeAfterAnOutage(t *testing.T) { playOn(t, alone, true, 4, seeds(0, 4)) }
