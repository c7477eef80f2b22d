package nearcache

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCacheAgreesWithAMap plays puts, drops and questions on a small cache and on a map: the cache
// may forget, but what it answers is what the map holds, and it stays within its bytes.
func TestCacheAgreesWithAMap(t *testing.T) {
	for _, size := range []int{1, 300 << 10, 2 << 20} {
		c := New(size)
		c.Epoch(3).Confirmed()
		model := map[string]string{}
		rng := rand.New(rand.NewPCG(1, uint64(size)))
		id := func() string {
			n := rng.IntN(4000)
			return fmt.Sprint("peer", n) + strings.Repeat("x", n%50)
		}
		hits := 0
		for step := range 60_000 {
			p := id()
			switch rng.IntN(5) {
			case 0, 1:
				v := fmt.Sprint(step) + strings.Repeat("y", rng.IntN(200))
				c.Put([]byte(p), []byte(v), c.Mark(1, []byte(p), 3))
				model[p] = v
			case 2:
				c.Drop(1, []byte(p))
				delete(model, p)
			default:
				got, how := c.Get(1, []byte(p), nil)
				if how == Missing {
					continue
				}
				hits++
				if want, ok := model[p]; !ok || string(got) != want {
					t.Fatalf("size %d, step %d: %s is %.20q, want %.20q, %t", size, step, p, got, want, ok)
				}
				if got, _ := c.Get(2, []byte(p), nil); len(got) > 0 {
					t.Fatalf("%s of another app is %q", p, got)
				}
			}
		}
		if hits == 0 {
			t.Errorf("size %d: the cache never answered", size)
		}
		var ids [][]byte
		for p := range model {
			ids = append(ids, []byte(p))
		}
		var lu Lookup
		c.Batch(1, ids, Fresh, &lu, func(i int, state []byte) bool {
			if string(state) != model[string(ids[i])] {
				t.Errorf("a batch says %.20q of %s, want %.20q", state, ids[i], model[string(ids[i])])
			}
			return true
		})
		for _, i := range lu.Miss {
			if _, how := c.Get(1, ids[i], nil); how != Missing {
				t.Errorf("a batch misses %s, which is there", ids[i])
			}
		}
	}
}

func TestCacheKeepsWhatIsAskedFor(t *testing.T) {
	c := New(256 << 10)
	c.Epoch(0).Confirmed()
	put := func(p string) {
		c.Put([]byte(p), []byte(strings.Repeat("v", 40)), c.Mark(1, []byte(p), 0))
	}
	put("hot")
	for i := range 20_000 {
		put(fmt.Sprint("cold", i))
		if _, how := c.Get(1, []byte("hot"), nil); how != Fresh {
			t.Fatalf("what is asked for all the time was evicted after %d others", i)
		}
	}
	if c.evicted.Load() == 0 {
		t.Error("nothing was evicted: the test is too small")
	}
}

func TestCacheGuards(t *testing.T) {
	c := New(256 << 10)
	c.Epoch(0).Confirmed()
	id := []byte("tom")
	is := func(want Freshness, when string) {
		t.Helper()
		if _, how := c.Get(1, id, nil); how != want {
			t.Errorf("%s: freshness %d, want %d", when, how, want)
		}
	}
	token := c.Mark(1, id, 0)
	c.Drop(1, id) // the signal comes before the answer
	c.Put(id, []byte("old"), token)
	is(Missing, "an answer whose mark was removed")

	c.Put(id, []byte("new"), c.Mark(1, id, 0))
	is(Fresh, "an answer over its mark")

	first := c.Mark(1, id, 0)
	second := c.Mark(1, id, 0)
	c.Put(id, []byte("first"), first)
	if got, _ := c.Get(1, id, nil); string(got) != "new" {
		t.Errorf("an answer over another's mark was kept: %q", got)
	}
	c.Put(id, []byte("second"), second)

	c.Epoch(0).Lost()
	is(Stale, "after the loss of the link")
	c.Epoch(0).Confirmed()
	is(Missing, "after the link is back")

	token = c.Mark(1, id, 0)
	c.Epoch(0).Lost()
	c.Epoch(0).Confirmed()
	c.Put(id, []byte("late"), token)
	is(Missing, "an answer asked for in an earlier epoch")

	c.Put(id, []byte("again"), c.Mark(1, id, 0))
	is(Fresh, "an answer of this epoch")
	c.Epoch(0).Renew()
	is(Stale, "when all is to be read anew")
	c.Epoch(0).Lost()
	is(Stale, "after a loss, read before that")
	c.Epoch(0).Renew()
	is(Stale, "renewed while it is lost")
	c.Epoch(0).Confirmed()
	is(Missing, "after the link is back once more")
}
