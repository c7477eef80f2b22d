package presence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTraceFindsByPeer: what is found of a peer is what a scan of the last reports finds, through
// overwriting and erasing, and finding it looks at the reports of hardly any other peer.
func TestTraceFindsByPeer(t *testing.T) {
	const size = 1000
	trace := NewTrace(size)
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []Traced // the latest last
	key := func(i int) Key {
		return Key{AppID(fmt.Sprint("a", i%3)), PeerID(fmt.Sprint("p", i/3))}
	}
	scan := func(k Key, n int) (found []Traced) {
		for i := len(all) - 1; i >= max(len(all)-size, 0) && len(found) < n; i-- {
			if all[i].Report.Key() == k {
				found = append(found, all[i])
			}
		}
		return found
	}
	looked, asked := 0, 0
	for i := range 20_000 {
		k := key(rnd.IntN(600))
		if rnd.IntN(3) == 0 {
			k = key(rnd.IntN(3)) // some are reported all the time
		}
		r := Report{App: k.App, Peer: k.Peer, Session: SessionID(fmt.Sprint(i))}
		trace.add(&r, Outcome{Verdict: Taken}, Millis(i))
		all = append(all, Traced{Report: r, Received: Millis(i), Verdict: Taken})
		if i%97 == 0 {
			k := key(rnd.IntN(600))
			trace.erase(k)
			for j := range all {
				if all[j].Report.Key() == k {
					all[j] = Traced{}
				}
			}
		}
		if i%7 == 0 {
			k := key(rnd.IntN(700))
			if got, want := trace.Last(k, 16), scan(k, 16); !slices.Equal(got, want) {
				t.Fatalf("after %d reports, of %v:\n got %+v\nwant %+v", i, k, got, want)
			}
		}
		if i > size && i%11 == 0 {
			asked++
			looked += trace.walk(key(3+rnd.IntN(597)), func(*Traced) bool { return true })
		}
	}
	if mean := float64(looked) / float64(asked); mean > 16 {
		t.Errorf("%.1f reports are looked at for one peer in the mean, of %d", mean, size)
	}
	for _, n := range []int{0, 1, 2} {
		small := NewTrace(n)
		r := Report{App: "a", Peer: "p"}
		for range 5 {
			small.add(&r, Outcome{}, 1)
		}
		if got := len(small.Last(r.Key(), 16)); got != n {
			t.Errorf("a trace of %d holds %d", n, got)
		}
	}
}

func BenchmarkTraceLast(b *testing.B) {
	trace := NewTrace(1 << 16)
	for i := range 1 << 17 {
		trace.add(&Report{App: "a", Peer: PeerID(fmt.Sprint(i))}, Outcome{}, 1)
	}
	for b.Loop() {
		trace.Last(Key{"a", "eve"}, 16)
	}
}

func BenchmarkTraceAdd(b *testing.B) {
	trace := NewTrace(1 << 16)
	r := Report{App: "rollcallTestAppId000001", Peer: "a-peer-of-24-characters-"}
	b.ReportAllocs()
	for b.Loop() {
		trace.add(&r, Outcome{}, 1)
	}
}
