//go:build faults && linux

package main

import (
	"maps"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// A scene is a load, and watchers who have all seen how things stand.
type scene struct {
	load   *load
	public *public
	moving []presence.PeerID
}

func newScene(t *testing.T, url string) *scene {
	t.Helper()
	s := &scene{load: newLoad(t, url, peersNamed("steady", 200)), moving: peersNamed("h", 200)}
	sockets := peersNamed("socket", 50)
	still := map[string]string{}
	for _, p := range s.load.steady {
		if err := s.load.hook(p, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peersNamed("away", 50) {
		if s.load.hook(p, true) != nil || s.load.hook(p, false) != nil {
			t.Fatal("a hook was refused")
		}
		still[string(p)] = "offline"
	}
	s.load.left = nil // these stay
	for _, p := range append(s.load.steady[:50:50], sockets...) {
		still[string(p)] = "online"
	}
	s.public = newPublic(t, url, still, names(s.moving), names(sockets))
	s.public.agree(still)
	return s
}

// settled waits until all watchers know how the peers of the load are, and checks everything.
func (s *scene) settled() {
	want := s.load.statuses(s.moving)
	maps.Copy(want, s.public.still)
	s.public.agree(want)
	s.load.check()
	s.public.check()
}

const between = 3 * time.Second // of two restarts under load

// TestFaultAnUpgradeLosesNothing: under load the server is replaced by a newer build and by the
// older one again, behind a socket that stays open. Every hook and query is answered, none twice
// sent; what was acknowledged is answered afterwards, and watchers are notified of nothing but
// what was reported.
func TestFaultAnUpgradeLosesNothing(t *testing.T) {
	older, newer := built(t, "0.2.0"), built(t, "0.3.0")
	u := newUnit(t, true)
	if err := u.start(older); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, u.address())
	stop := s.load.run()
	time.Sleep(between)
	for _, program := range []string{newer, older, newer} {
		t.Logf("restarted in %v", u.restart(program).Round(time.Millisecond))
		time.Sleep(between)
	}
	stop()
	s.settled()
	if t.Failed() {
		t.Log(u.log())
	}
}

// drainDelay is how long a node that is about to be stopped is out of the balancer; the Helm chart
// has such a delay, of seconds.
const drainDelay = time.Second

// TestFaultARollingRestartLosesNothing: the same, with three nodes on a Redis behind a balancer,
// replaced one after the other.
func TestFaultARollingRestartLosesNothing(t *testing.T) {
	older, newer := built(t, "0.2.0"), built(t, "0.3.0")
	store := "redis://" + redistest.Run(t).Addr
	var nodes []*unit
	for range 3 {
		u := newUnit(t, false, "--store", store, "--set", "proxies=127.0.0.1")
		if err := u.start(older); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, u)
	}
	b := newBalancer(t, nodes)
	s := newScene(t, b.URL)
	stop := s.load.run()
	time.Sleep(between)
	for _, u := range nodes {
		b.leave(u)
		time.Sleep(drainDelay)
		t.Logf("restarted in %v", u.restart(newer).Round(time.Millisecond))
		b.leave(nil)
		time.Sleep(between)
	}
	stop()
	s.settled()
	if t.Failed() {
		for _, u := range nodes {
			t.Log(u.log())
		}
	}
}
