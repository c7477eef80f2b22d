package feed_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/feed"
	"rollcall/presence"
)

// live returns the bytes that are in use.
func live() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sparse is a source in which every peer that is signalled has just come online.
type sparse struct {
	presence.Store
	fn func([]presence.Key)
}

func (s *sparse) Listen(fn func([]presence.Key)) (stop func()) {
	s.fn = fn
	return func() {}
}

func (s *sparse) Summaries(_ context.Context, _ []presence.Key, out []presence.Summary) (time.Duration, error) {
	at := now()
	for i := range out {
		out[i] = presence.Summary{Rev: uint64(at), Status: presence.Online, Since: at, Until: at.Add(time.Hour)}
	}
	return 0, nil
}

// keys returns n keys of the app, with ids of 16 bytes.
func keys(n int) []presence.Key {
	all := make([]presence.Key, n)
	for i := range all {
		all[i] = presence.Key{App: app, Peer: presence.PeerID(fmt.Sprintf("peer-%011d", i))}
	}
	return all
}

func openSparse(t testing.TB, cfg feed.Config) (*feed.Feed, *sparse) {
	s := &sparse{}
	f := feed.New(cfg, feed.Deps{Service: presence.NewService(s, presence.DefaultConfig()), Source: s})
	t.Cleanup(f.Close)
	return f, s
}

// drain waits until n changes are judged.
func drain(f *feed.Feed, n int64) {
	for f.Counts()["judged"] < n {
		time.Sleep(time.Millisecond)
	}
}

func TestAChangedPeerTakesLittleMemory(t *testing.T) {
	const n = 100_000
	cfg := feed.DefaultConfig()
	cfg.Tick, cfg.Peers = 10*time.Millisecond, n
	f, s := openSparse(t, cfg)
	f.Keep(app)
	all := keys(n)
	before := live()
	for i := 0; i < n; i += 1000 {
		s.fn(all[i : i+1000])
	}
	drain(f, n)
	each := (live() - before) / n
	t.Logf("a changed peer takes %d bytes beside its id", each)
	if each > 250 {
		t.Errorf("a changed peer takes %d bytes beside its id", each)
	}
	for range 3 { // what changes again takes no more
		for i := 0; i < n; i += 1000 {
			s.fn(all[i : i+1000])
		}
		drain(f, f.Counts()["judged"]+1)
	}
	time.Sleep(10 * cfg.Tick)
	if again := (live() - before) / n; again > each+100 {
		t.Errorf("after three more changes it takes %d bytes, %d before", again, each)
	}
	runtime.KeepAlive(all)
}

// What a change costs while the app is read: the signal, the read and the register.
func BenchmarkChange(b *testing.B) {
	cfg := feed.DefaultConfig()
	cfg.Tick, cfg.Peers = 10*time.Millisecond, 1_000_000
	f, s := openSparse(b, cfg)
	f.Keep(app)
	all := keys(100_000)
	b.ResetTimer()
	for i := 0; i < b.N; i += 100 {
		at := i % len(all)
		s.fn(all[at : at+100])
		if i%len(all) == 0 { // or what changes again before it is read counts as one
			drain(f, int64(i))
		}
	}
	drain(f, int64(b.N))
}

// What a signal costs in an app that is not read.
func BenchmarkSignalWithoutReader(b *testing.B) {
	f, s := openSparse(b, feed.DefaultConfig())
	f.Keep(other)
	all := keys(1)
	b.ReportAllocs()
	for b.Loop() {
		s.fn(all)
	}
}

// What a change costs when a thousand readers wait for it, at most once a tick.
func BenchmarkThousandReaders(b *testing.B) {
	cfg := feed.DefaultConfig()
	cfg.Tick = 10 * time.Millisecond
	f, s := openSparse(b, cfg)
	f.Keep(app)
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	var given atomic.Int64
	for range 1000 {
		readers.Go(func() {
			for cursor := (feed.Cursor{}); ctx.Err() == nil; {
				p, err := f.Read(ctx, app, cursor, 1000, time.Minute)
				if err == nil {
					cursor = p.Cursor
					given.Add(int64(len(p.Changes)))
				}
			}
		})
	}
	for f.Counts()["readers"] < 1000 {
		time.Sleep(time.Millisecond)
	}
	all := keys(b.N)
	b.ResetTimer()
	for i := range all {
		s.fn(all[i : i+1])
		for given.Load() < int64(i+1)*1000 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	b.StopTimer()
	cancel()
	readers.Wait()
}
