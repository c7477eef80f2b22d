package main

import "testing"

func TestIDs(t *testing.T) {
	for peer, want := range map[int]string{0: "user-0000000000", 1234567: "user-0001234567", 2 * maxPeers: "user-0200000000"} {
		if got := string(appendID(nil, peer)); got != want {
			t.Errorf("id of peer %d: got %s, want %s", peer, got, want)
		}
	}
}

func TestTruth(t *testing.T) {
	tr := newTruth(10_000, 1)
	on := 0
	for p := range tr.state {
		if tr.of(p) == online {
			on++
		}
	}
	if on < 4800 || on > 5200 {
		t.Errorf("%d of 10000 peers are online, want about half", on)
	}
	before := tr.of(7)
	tr.turn(7)
	if tr.of(7) == before || (tr.of(7) != online && tr.of(7) != offline) {
		t.Errorf("peer 7 turned from %q to %q", before, tr.of(7))
	}
	if got := tr.of(10_000); got != unknown {
		t.Errorf("a peer nobody reported is %q, want %q", got, unknown)
	}
}
