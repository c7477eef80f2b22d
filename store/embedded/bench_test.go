package embedded_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"rollcall/presence"
	"rollcall/store/embedded"
)

const benchPeers = 1 << 20

// populate makes n known peers by hooks, every second one online, as a day of use leaves them.
func populate(tb testing.TB, s *embedded.Store, n int) {
	tb.Helper()
	const batch = 1000
	rules := presence.DefaultRules()
	reports := make([]presence.Report, batch)
	keys := make([]presence.Key, batch)
	for from := 0; from < n; from += batch {
		m := min(batch, n-from)
		for i := range m {
			now := start + presence.Millis((from+i)/50)
			reports[i] = hook(from+i, presence.KindOnline, now)
			keys[i] = reports[i].Key()
		}
		apply(tb, s, keys[:m], reports[:m], &rules)
		off := 0
		for i := range m {
			if i%2 == 1 {
				reports[off] = hook(from+i, presence.KindOffline, reports[i].At+60_000)
				keys[off] = reports[off].Key()
				off++
			}
		}
		apply(tb, s, keys[:off], reports[:off], &rules)
	}
}

func hook(i int, kind presence.Kind, now presence.Millis) presence.Report {
	return presence.Report{
		App: "FFnN2hso42Wego3pWq4X5qlu-gzGzoHsz", Peer: presence.PeerID(fmt.Sprintf("user-%010d", i)),
		Source: presence.SourceLeanCloud, Kind: kind, At: now, Cause: presence.CauseLogout,
	}
}

func apply(tb testing.TB, s *embedded.Store, keys []presence.Key, reports []presence.Report, rules *presence.Rules) {
	tb.Helper()
	if len(keys) == 0 {
		return
	}
	now := reports[0].At
	err := s.Update(tb.Context(), keys, now, func(i int, st *presence.State) presence.Effect {
		_, e := st.Apply(&reports[i], now, rules)
		return e
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkStatuses(b *testing.B) {
	s := open(b, embedded.Setup{})
	populate(b, s, benchPeers)
	b.ReportMetric(float64(s.Stats().Bytes)/benchPeers, "bytes/peer")
	for _, n := range []int{1, 20, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			all := make([][]byte, 1<<16)
			for i := range all {
				// Some are unknown.
				all[i] = fmt.Appendf(nil, "user-%010d", rng.IntN(benchPeers*21/20))
			}
			out := make([]presence.Status, n)
			app := hook(0, presence.KindOnline, start).App
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				if at+n > len(all) {
					at = 0
				}
				if _, err := s.Statuses(b.Context(), app, all[at:at+n], start, out); err != nil {
					b.Fatal(err)
				}
				at += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/id")
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, mode := range []string{"memory", "disk"} {
		for _, callers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d callers", mode, callers), func(b *testing.B) {
				cfg := embedded.Setup{}
				if mode == "disk" {
					cfg.Path = b.TempDir()
				}
				s := open(b, cfg)
				populate(b, s, 1<<17)
				rules := presence.DefaultRules()
				var next atomic.Int64
				b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS
				b.ReportAllocs()
				before := s.Stats()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					rng := rand.New(rand.NewPCG(uint64(next.Add(1)), 1))
					key, report := make([]presence.Key, 1), make([]presence.Report, 1)
					for pb.Next() {
						now := start + 1_000_000 + presence.Millis(next.Add(1)/50)
						report[0] = hook(rng.IntN(1<<17), presence.Kind(1+rng.IntN(2)), now)
						key[0] = report[0].Key()
						apply(b, s, key, report, &rules)
					}
				})
				if st := s.Stats(); mode == "disk" {
					b.ReportMetric(float64(st.States-before.States)/float64(st.Commits-before.Commits), "states/sync")
				}
			})
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := open(b, embedded.Setup{Deps: embedded.Deps{Path: b.TempDir()}})
	populate(b, s, 1<<19)
	b.ResetTimer()
	for b.Loop() {
		if err := s.Snapshot(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Stats().SnapshotBytes)/(1<<19), "bytes/peer")
}

func BenchmarkOpen(b *testing.B) {
	cfg := embedded.Setup{Deps: embedded.Deps{Path: b.TempDir()}}
	s := open(b, cfg)
	populate(b, s, 1<<19)
	if err := s.Snapshot(); err != nil {
		b.Fatal(err)
	}
	s.Close()
	b.ResetTimer()
	for b.Loop() {
		s, err := cfg.Open(start)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<19), "ns/peer")
}

// A lost peer is due, and is settled, at a cost that does not depend on how many are known.
func BenchmarkDue(b *testing.B) {
	s := open(b, embedded.Setup{})
	populate(b, s, benchPeers)
	now := start + 1_000_000
	if _, err := s.Due(b.Context(), now, 1); err != nil { // the first looks at all
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		now += 1000
		if _, err := s.Due(b.Context(), now, 512); err != nil {
			b.Fatal(err)
		}
	}
}
