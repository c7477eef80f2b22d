package changeout_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
)

// TestTheLastStateOfEveryPeerArrives: whatever peers, receivers and nodes do, and whichever node
// dies when, with its journal or without, what a backend has is what the store has, once all is
// quiet; and while no node dies no peer's version goes back.
func TestTheLastStateOfEveryPeerArrives(t *testing.T) { playSeeds(t, 0, 12) }

func playSeeds(t *testing.T, from, to uint64) {
	for _, shared := range []bool{false, true} {
		for seed := from; seed < to; seed++ {
			synctest.Test(t, func(t *testing.T) {
				if err := play(t, seed, shared); err != nil {
					t.Errorf("seed %d, shared %t: %v", seed, shared, err)
				}
			})
		}
	}
}

func play(t *testing.T, seed uint64, shared bool) error {
	f := newFleet(t, shared)
	rng := rand.New(rand.NewPCG(seed, 12))
	if rng.IntN(3) == 0 {
		f.receiver.MaxBytes = 3000
	}
	if rng.IntN(3) == 0 {
		f.receiver.GiveUp = time.Minute
	}
	var story []string
	f.start(0)
	for range 4 {
		for range 25 {
			f.backend.mu.Lock()
			before := f.runs
			f.backend.mu.Unlock()
			what := f.step(rng)
			story = append(story, what)
			if f.runs != before || strings.HasPrefix(what, "kill") {
				f.backend.mu.Lock()
				f.backend.strict = false // what was under way comes again
				f.backend.mu.Unlock()
			}
		}
		for len(f.nodes) == 0 {
			f.start(0)
		}
		f.backend.answer(0, 0)
		time.Sleep(3 * time.Minute)
		if err := f.check(); err != nil {
			return fmt.Errorf("%w\n%s", err, strings.Join(story, "\n"))
		}
		f.backend.mu.Lock()
		f.backend.strict = true
		f.backend.mu.Unlock()
		story = append(story, "quiet")
	}
	return nil
}

// step does one thing and waits.
func (f *fleet) step(rng *rand.Rand) (what string) {
	defer func() { time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond) }()
	peer := fmt.Sprint("p", rng.IntN(8))
	if n := rng.IntN(30); n < 20 && len(f.nodes) > 0 {
		switch {
		case n < 10:
			f.report(online(peer))
			return "online " + peer
		case n < 15:
			f.report(offline(peer, presence.CauseLogout))
			return "logout " + peer
		}
		f.report(offline(peer, presence.CauseLost))
		return "lost " + peer
	}
	switch n := rng.IntN(10); {
	case n < 2:
		statuses := []int{http.StatusBadGateway, http.StatusForbidden, http.StatusTooManyRequests}
		status := statuses[rng.IntN(len(statuses))]
		f.backend.answer(status, 0)
		return fmt.Sprint("answer ", status)
	case n < 4:
		f.backend.answer(0, time.Duration(rng.IntN(3000))*time.Millisecond)
		return "answer"
	case n < 6 && len(f.nodes) > 0:
		n := f.nodes[rng.IntN(len(f.nodes))]
		n.kill()
		return fmt.Sprint("kill ", n.place)
	case n == 6 && len(f.nodes) > 0:
		n := f.nodes[rng.IntN(len(f.nodes))]
		n.close()
		return fmt.Sprint("stop ", n.place)
	}
	for place := range map[bool]int{true: 3, false: 1}[f.shared] {
		free := true
		for _, n := range f.nodes {
			free = free && n.place != place
		}
		if free {
			f.start(place)
			return fmt.Sprint("start ", place)
		}
	}
	return "wait"
}
