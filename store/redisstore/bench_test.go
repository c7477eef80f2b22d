package redisstore_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

var manyPeers = flag.Int("peers", 20_000, "peers of the memory benchmark")

// BenchmarkMemory fills a Redis with peers and reports what each takes there: by the recipe alone,
// online by a hook, offline after one (at once, and after the audit that takes it out of the
// index), and online by a socket.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		n := *manyPeers
		id := func(i int) string { return fmt.Sprintf("user-%010d", i) }
		used := func(s *redistest.Server) float64 {
			v, err := strconv.ParseFloat(s.Info(b, "memory", "used_memory"), 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
		recipe := redistest.Run(b)
		conn, err := redistest.Dial(recipe.Addr)
		if err != nil {
			b.Fatal(err)
		}
		before := used(recipe)
		for i := range n {
			if _, err := conn.Do("SET", "onOffStatus:"+id(i), "0", "EX", "604800"); err != nil {
				b.Fatal(err)
			}
		}
		conn.Close()
		b.ReportMetric((used(recipe)-before)/float64(n), "recipe-B/peer")
		for _, kind := range []string{"online", "offline", "socket"} {
			server := redistest.Run(b)
			cfg := config("redis://" + server.Addr)
			cfg.NearCache = 0
			st := open(b, cfg)
			node := &node{t: b, name: "node-4711-1795400000000", st: st, svc: presence.NewService(st, presence.DefaultConfig())}
			before := used(server)
			for first := 0; first < n; first += 500 {
				var reports []presence.Report
				for i := first; i < min(first+500, n); i++ {
					switch kind {
					case "socket":
						reports = append(reports, node.socket(presence.KindOnline, id(i)))
					case "offline":
						reports = append(reports, node.hook(presence.KindOnline, id(i)), node.hook(presence.KindOffline, id(i)))
					default:
						reports = append(reports, node.hook(presence.KindOnline, id(i)))
					}
				}
				if err := node.report(reports...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((used(server)-before)/float64(n), kind+"-B/peer")
			if kind == "offline" {
				begun, cpu := time.Now(), server.CPU(b)
				if r, err := st.Audit(b.Context(), st.Now().Add(2*time.Hour)); err != nil || r.Idle != n {
					b.Fatalf("the audit says %+v, %v; want %d idle", r, err, n)
				}
				b.ReportMetric((used(server)-before)/float64(n), "long-offline-B/peer")
				b.ReportMetric(float64((server.CPU(b)-cpu).Nanoseconds())/float64(n), "audit-redis-ns/peer")
				b.ReportMetric(float64(time.Since(begun).Nanoseconds())/float64(n), "audit-ns/peer")
			}
			server.Close()
		}
		recipe.Close()
	}
}

// BenchmarkHook reports what a hook costs Redis, with many in flight.
func BenchmarkHook(b *testing.B) {
	server := redistest.Run(b)
	st := open(b, config("redis://"+server.Addr))
	n := &node{t: b, name: "n", st: st, svc: presence.NewService(st, presence.DefaultConfig())}
	var next atomic.Int64
	before := server.CPU(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		peer := fmt.Sprint("user-", next.Add(1))
		kind := presence.KindOnline
		for pb.Next() {
			if err := n.report(n.hook(kind, peer)); err != nil {
				b.Error(err)
				return
			}
			kind = presence.KindOnline + presence.KindOffline - kind
		}
	})
	b.ReportMetric(float64((server.CPU(b)-before).Nanoseconds())/float64(b.N), "redis-ns/op")
}

// BenchmarkStatuses asks for a hundred peers from a warm cache, and from Redis.
func BenchmarkStatuses(b *testing.B) {
	server := redistest.Run(b)
	for _, cached := range []bool{true, false} {
		b.Run(map[bool]string{true: "warm", false: "uncached"}[cached], func(b *testing.B) {
			cfg := config("redis://" + server.Addr)
			if !cached {
				cfg.NearCache = 0
			}
			st := open(b, cfg)
			n := &node{t: b, name: "n", st: st, svc: presence.NewService(st, presence.DefaultConfig())}
			ids, out := make([][]byte, 100), make([]presence.Status, 100)
			for i := range ids {
				p := fmt.Sprint("user-", i)
				ids[i] = []byte(p)
				if err := n.report(n.hook(presence.KindOnline, p)); err != nil {
					b.Fatal(err)
				}
			}
			before := server.CPU(b)
			for b.Loop() {
				if _, err := n.st.Statuses(context.Background(), "app", ids, n.svc.Leases(st.Now()), out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((server.CPU(b)-before).Nanoseconds())/float64(b.N), "redis-ns/op")
		})
	}
}
