package conformance_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/server/config"
)

// Peers turn, connections break, the server restarts and has little memory of changes, and the
// replica is ended and begun again: in the end it has who is online.
func TestReplicasEndRightWhateverHappens(t *testing.T) {
	eachClient(t, func(t *testing.T, argv []string) {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, func(cfg *config.Config) { cfg.Feed.Feed.Peers, cfg.Data = 4, dir })
				r := &replicated{T: t, rng: rand.New(rand.NewPCG(seed, 1)), stage: s, driven: drive(t, argv, s.proxy.url(), "master"), truth: map[string]bool{}, known: map[string]bool{}}
				r.begin()
				for range 60 {
					r.move()
				}
				s.proxy.heal()
				r.settle()
				if r.lists < 2 {
					t.Errorf("it listed %d times: the test tries nothing", r.lists)
				}
			})
		}
	})
}

// A replicated plays at random, and keeps what is true and what the replica has.
type replicated struct {
	*testing.T
	rng          *rand.Rand
	stage        *stage
	driven       *driven
	down         bool
	truth, known map[string]bool
	lists        int
}

func (r *replicated) begin() {
	r.Helper()
	r.driven.say(command(map[string]any{"do": "replicate", "name": "r"}))
}

func (r *replicated) move() {
	r.Helper()
	switch n := r.rng.IntN(20); {
	case n == 0:
		r.stage.proxy.cut()
		r.down = true
	case n < 4:
		r.stage.proxy.heal()
		r.down = false
	case n == 4:
		r.stage.do(r.T, step{Server: "restart"})
		r.down = false
	case n == 5:
		r.driven.say(command(map[string]any{"do": "end", "name": "r"}))
		for v := r.driven.receive(); v["ended"] == nil; v = r.driven.receive() {
			r.take(v)
		}
		r.begin()
	case n == 6 && !r.down:
		r.settle()
	default:
		peer := fmt.Sprint("p", r.rng.IntN(8))
		state := []string{"online", "offline"}[r.rng.IntN(2)]
		r.stage.do(r.T, step{Server: "report", Peer: peer, State: state})
		if delete(r.truth, peer); state == "online" {
			r.truth[peer] = true
		}
	}
}

// take takes what the client says.
func (r *replicated) take(v map[string]any) {
	r.Helper()
	switch {
	case v["listed"] != nil:
		r.lists++
		clear(r.known)
		for _, peer := range strings.Fields(v["online"].(string)) {
			r.known[peer] = true
		}
	case v["replica"] != nil:
		peer, status, _ := strings.Cut(v["peer"].(string), "=")
		if delete(r.known, peer); status == "online" {
			r.known[peer] = true
		}
	default:
		r.Fatalf("received %v", v)
	}
}

// settle waits until the replica has what is true.
func (r *replicated) settle() {
	r.Helper()
	for end := time.After(2 * patience); !maps.Equal(r.known, r.truth); {
		select {
		case v := <-r.driven.lines:
			r.take(v)
		case <-end:
			r.Fatalf("the replica has %v; online are %v", slices.Sorted(maps.Keys(r.known)), slices.Sorted(maps.Keys(r.truth)))
		}
	}
	for { // what it still says must not change that
		select {
		case v := <-r.driven.lines:
			r.take(v)
			continue
		default:
		}
		return
	}
}
