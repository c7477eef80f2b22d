package redisstore

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCacheAgreesWithAMap plays puts, drops and questions on a small cache and on a map: the cache may forget, but what it
// answers is what the map holds, and it stays within its bytes.
func TestCacheAgreesWithAMap(t *testing.T) {
	for _, size := range []int{0, 300 << 10, 2 << 20} {
		c := newCache(size)
		c.links[3].confirmed()
		epoch := c.links[3].good.Load()
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
				c.put(1, []byte(p), []byte(v), c.mark(1, []byte(p)), 3, epoch)
				model[p] = v
			case 2:
				c.drop(1, []byte(p))
				delete(model, p)
			default:
				got, how := c.get(1, []byte(p), nil)
				if how == missing {
					continue
				}
				hits++
				if want, ok := model[p]; !ok || string(got) != want {
					t.Fatalf("size %d, step %d: %s is %.20q, want %.20q, %t", size, step, p, got, want, ok)
				}
				if got, _ := c.get(2, []byte(p), nil); len(got) > 0 {
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
		var lu lookup
		c.statuses(1, ids, fresh, &lu, func(i int, state []byte) bool {
			if string(state) != model[string(ids[i])] {
				t.Errorf("a batch says %.20q of %s, want %.20q", state, ids[i], model[string(ids[i])])
			}
			return true
		})
		for _, i := range lu.miss {
			if _, how := c.get(1, ids[i], nil); how != missing {
				t.Errorf("a batch misses %s, which is there", ids[i])
			}
		}
	}
}

func TestCacheKeepsWhatIsAskedFor(t *testing.T) {
	c := newCache(256 << 10)
	c.links[0].confirmed()
	epoch := c.links[0].good.Load()
	put := func(p string) {
		c.put(1, []byte(p), []byte(strings.Repeat("v", 40)), c.mark(1, []byte(p)), 0, epoch)
	}
	put("hot")
	for i := range 20_000 {
		put(fmt.Sprint("cold", i))
		if _, how := c.get(1, []byte("hot"), nil); how != fresh {
			t.Fatalf("what is asked for all the time was evicted after %d others", i)
		}
	}
	if c.evicted.Load() == 0 {
		t.Error("nothing was evicted: the test is too small")
	}
}

func TestCacheGuards(t *testing.T) {
	c := newCache(256 << 10)
	c.links[0].confirmed()
	epoch := c.links[0].good.Load()
	id := []byte("tom")
	is := func(want belief, when string) {
		t.Helper()
		if _, how := c.get(1, id, nil); how != want {
			t.Errorf("%s: belief %d, want %d", when, how, want)
		}
	}
	token := c.mark(1, id)
	c.drop(1, id) // the signal comes before the answer
	c.put(1, id, []byte("old"), token, 0, epoch)
	is(missing, "an answer whose mark was removed")

	c.put(1, id, []byte("new"), c.mark(1, id), 0, epoch)
	is(fresh, "an answer over its mark")

	first := c.mark(1, id)
	second := c.mark(1, id)
	c.put(1, id, []byte("first"), first, 0, epoch)
	if got, _ := c.get(1, id, nil); string(got) != "new" {
		t.Errorf("an answer over another's mark was kept: %q", got)
	}
	c.put(1, id, []byte("second"), second, 0, epoch)

	c.links[0].lost()
	is(stale, "after the loss of the link")
	c.links[0].confirmed()
	is(missing, "after the link is back")

	token, epoch = c.mark(1, id), c.links[0].good.Load()
	c.links[0].lost()
	c.links[0].confirmed()
	c.put(1, id, []byte("late"), token, 0, epoch)
	is(missing, "an answer asked for in an earlier epoch")

	c.put(1, id, []byte("again"), c.mark(1, id), 0, c.links[0].good.Load())
	is(fresh, "an answer of this epoch")
	c.links[0].renewed()
	is(stale, "when all is to be read anew")
	c.links[0].lost()
	is(stale, "after a loss, read before that")
	c.links[0].renewed()
	is(stale, "renewed while it is lost")
	c.links[0].confirmed()
	is(missing, "after the link is back once more")
}
