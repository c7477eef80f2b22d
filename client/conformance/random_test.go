package conformance_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Watches come and go, peers turn, connections break, in any order: in the end each open watch has
// what is true, and one that was closed says nothing more.
func TestWatchesEndRightWhateverHappens(t *testing.T) {
	eachClient(t, func(t *testing.T, argv []string) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				s := open(t)
				p := &player{
					T: t, rng: rand.New(rand.NewPCG(seed, 0)), stage: s, driven: drive(t, argv, s.proxy.url(), ""),
					truth: map[string]string{}, follows: map[string][]string{}, known: map[string]map[string]string{}, ending: map[string]bool{},
				}
				for _, peer := range playersPeers {
					p.truth[peer] = "unknown"
				}
				for i := range 80 {
					p.move(i)
				}
				s.proxy.heal()
				p.settle()
			})
		}
	})
}

var playersPeers = []string{"a", "b", "c", "d", "e", "f"}

// A player plays at random, and keeps what is true and what the client has said.
type player struct {
	*testing.T
	rng    *rand.Rand
	stage  *stage
	driven *driven
	down   bool

	truth   map[string]string            // by peer
	follows map[string][]string          // by watch that is open
	known   map[string]map[string]string // by watch that is open, by peer
	// Watches that were closed, of which the client has not said so yet.
	ending map[string]bool
}

func (p *player) move(i int) {
	switch p.rng.IntN(8) {
	case 0, 1:
		name := fmt.Sprint("w", i)
		p.follows[name], p.known[name] = pick(p.rng, playersPeers), map[string]string{}
		p.driven.say(command(map[string]any{"do": "watch", "name": name, "peers": p.follows[name]}))
	case 2:
		if open := slices.Sorted(maps.Keys(p.follows)); len(open) > 0 {
			name := open[p.rng.IntN(len(open))]
			p.ending[name] = true
			delete(p.follows, name)
			delete(p.known, name)
			p.driven.say(command(map[string]any{"do": "end", "name": name}))
		}
	case 3:
		p.stage.proxy.cut()
		p.down = true
	case 4:
		p.stage.proxy.heal()
		p.down = false
	case 5:
		if !p.down && p.rng.IntN(3) == 0 {
			p.settle()
		}
	default:
		peer := playersPeers[p.rng.IntN(len(playersPeers))]
		p.truth[peer] = []string{"online", "offline"}[p.rng.IntN(2)]
		p.stage.do(p.T, step{Server: "report", Peer: peer, State: p.truth[peer]})
	}
	for range p.rng.IntN(3) {
		select {
		case v := <-p.driven.lines:
			p.take(v)
		default:
		}
	}
}

// take takes what the client says.
func (p *player) take(v map[string]any) {
	p.Helper()
	if name, ok := v["ended"].(string); ok && p.ending[name] && v["refused"] == nil {
		delete(p.ending, name)
		return
	}
	name, _ := v["update"].(string)
	if p.ending[name] {
		return
	}
	known := p.known[name]
	if known == nil {
		p.Fatalf("received %v", v)
	}
	peer, status, _ := strings.Cut(v["peer"].(string), "=")
	if known[peer] == status {
		p.Fatalf("received %v twice", v)
	}
	known[peer] = status
}

// settle waits until each open watch has what is true, and those that were closed have ended.
func (p *player) settle() {
	p.Helper()
	right := func() bool {
		for name, list := range p.follows {
			for _, peer := range list {
				if p.known[name][peer] != p.truth[peer] {
					return false
				}
			}
		}
		return len(p.ending) == 0
	}
	for end := time.After(2 * patience); !right(); {
		select {
		case v := <-p.driven.lines:
			p.take(v)
		case <-end:
			p.Fatalf("the watches %v know %v; true is %v; still to end: %v", p.follows, p.known, p.truth, p.ending)
		}
	}
}

func pick(rng *rand.Rand, from []string) []string {
	list := slices.Clone(from)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+rng.IntN(len(list))]
}
