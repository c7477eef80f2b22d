//go:build big

package embedded_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// most is how many bytes of RSS a peer may take of which nothing but its hooks is known. What later
// releases keep of a peer is written for peers that use it.
const most = 54

// TestSize measures memory by peer. PEERS is how many are known, 5,000,000 unless it says
// otherwise.
//
//	go test -tags big -run TestSize -v -count 1 ./store/embedded
func TestSize(t *testing.T) {
	n := 5_000_000
	if v, err := strconv.Atoi(os.Getenv("PEERS")); err == nil {
		n = v
	}
	debug.SetGCPercent(25)
	cfg := embedded.Setup{Deps: embedded.Deps{Path: t.TempDir()}}
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	base := rss(t)
	began := time.Now()
	populate(t, s, n)
	t.Logf("%d peers reported in %v", n, time.Since(began).Round(time.Millisecond))
	grown := float64(rss(t)-base) / float64(n)
	t.Logf("grown: %.1f bytes of RSS a peer, %.1f of them the index; %d MiB in all", grown, float64(s.Stats().Bytes)/float64(n), rss(t)>>20)
	t.Logf("before any: %d MiB", base>>20)
	if grown > most {
		t.Errorf("%.1f bytes of RSS a peer, want at most %d", grown, most)
	}
	latencies(t, s, n, "idle", func() {})
	stop, done := make(chan struct{}), make(chan struct{})
	latencies(t, s, n, "while the garbage collector runs all the time", func() {
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
				}
			}
		}()
	})
	close(stop)
	<-done
	gc := time.Now()
	runtime.GC()
	t.Logf("one collection takes %v", time.Since(gc).Round(time.Microsecond))
	latencies(t, s, n, "during a snapshot", func() { go s.Snapshot() })
	began = time.Now()
	if err := s.Snapshot(); err != nil {
		t.Fatal(err)
	}
	t.Logf("snapshot of %.1f bytes a peer in %v", float64(s.Stats().SnapshotBytes)/float64(n), time.Since(began).Round(time.Millisecond))
	s.Close()
	s = nil
	debug.FreeOSMemory()
	t.Logf("after close: %d MiB", rss(t)>>20)
	began = time.Now()
	s, err = cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("start in %v, %.2f s per million; %.1f bytes of RSS a peer", took.Round(time.Millisecond), took.Seconds()/float64(n)*1e6, float64(rss(t))/float64(n))
	began = time.Now()
	if _, err := s.Due(t.Context(), start+1_000_000, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first sweep looks at all in %v", time.Since(began).Round(time.Millisecond))
	if got, err := s.Counts(t.Context(), hook(0, presence.KindOnline, start).App, start); err != nil || got.Known != int64(n) || got.Online != int64(n/2) {
		t.Errorf("counts are %+v, %v", got, err)
	}
	// With the program itself, which a few peers do not pay for.
	if got := float64(rss(t)) / float64(n); n >= 5_000_000 && got > most {
		t.Errorf("%.1f bytes of RSS a peer after a start, want at most %d", got, most)
	}
	s.Close()
}

// latencies asks for 20 ids again and again for two seconds and logs the percentiles.
func latencies(t *testing.T, s *embedded.Store, n int, what string, meanwhile func()) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	ids, out := make([][]byte, 20), make([]presence.Status, 20)
	for i := range ids {
		ids[i] = make([]byte, 0, 32)
	}
	app := hook(0, presence.KindOnline, start).App
	var took []time.Duration
	meanwhile()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		for i := range ids {
			ids[i] = fmt.Appendf(ids[i][:0], "user-%010d", rng.IntN(n*21/20))
		}
		began := time.Now()
		if _, err := s.Statuses(t.Context(), app, ids, start, out); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
	t.Logf("20 ids, %s: p50 %v, p99 %v, p99.9 %v, max %v (%d queries)", what, at(0.5), at(0.99), at(0.999), at(1), len(took))
}

func rss(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS in /proc/self/status")
	return 0
}

// TestSizeOfActivityAndReach measures what both cost of a million peers with one session each.
//
//	go test -tags big -run TestSizeOfActivity -v -count 1 ./store/embedded
func TestSizeOfActivityAndReach(t *testing.T) {
	const n, batch = 1_000_000, 1000
	rules := presence.DefaultRules()
	size := func(both bool) float64 {
		cfg := embedded.Setup{Deps: embedded.Deps{Path: t.TempDir()}}
		s, err := cfg.Open(start)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		reports, keys := make([]presence.Report, batch), make([]presence.Key, batch)
		for from := 0; from < n; from += batch {
			for pass := range 3 {
				for i := range batch {
					now := start + presence.Millis((from+i)/50)
					r := hook(from+i, presence.KindOnline, now)
					r.Source, r.Session, r.Device, r.Cause = presence.SourceGateway, presence.SessionID(fmt.Sprintf("%016x", from+i)), "ios", 0
					switch {
					case pass == 1:
						r.Kind, r.At = presence.KindTouch, now+90_000
						if both {
							r.Activity, r.Used = presence.Foreground, now+88_000
						}
					case pass == 2 && both:
						r.Kind, r.Session, r.Reach = presence.KindReach, "", presence.ReachYes
					}
					reports[i], keys[i] = r, r.Key()
				}
				apply(t, s, keys, reports, &rules)
			}
		}
		return float64(s.Stats().Bytes) / n
	}
	without, with := size(false), size(true)
	t.Logf("%.1f bytes a peer in the index without, %.1f with", without, with)
	if more := with - without; more > 24 {
		t.Errorf("activity and reach take %.1f bytes a peer, more than 24", more)
	}
}
