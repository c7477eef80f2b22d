package redisstore_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
	"rollcall/store/storetest"
)

// The servers of this package are started once, when a test first needs them; every test begins
// with an empty one.
var (
	standalone = sync.OnceValues(func() (*redistest.Server, error) { return redistest.New() })
	sentinels  = sync.OnceValues(func() (*redistest.Sentinels, error) { return redistest.NewSentinels(2) })
	cluster    = sync.OnceValues(func() (*redistest.Cluster, error) { return redistest.NewCluster(3, true) })

	closers struct {
		sync.Mutex
		list []func()
	}
)

func TestMain(m *testing.M) {
	if url := os.Getenv(doomedURL); url != "" {
		doomed(url)
		return
	}
	_ = flag.Set("rapid.checks", "12") // every step of a history is some round trips here
	code := m.Run()
	for _, c := range closers.list {
		c()
	}
	if code == 0 {
		if err := goleak.Find(
			// The client of a Cluster lets connections that it gave up finish for five seconds.
			goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
			// sleeps for a second, then ends
			goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func shared[T interface{ Close() }](t testing.TB, get func() (T, error)) T {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	closers.Lock()
	defer closers.Unlock()
	closers.list = append(closers.list, v.Close)
	return v
}

// redisOf returns the URL of the shared standalone server, emptied.
func redisOf(t testing.TB) (*redistest.Server, string) {
	t.Helper()
	s := shared(t, standalone)
	s.Do(t, "FLUSHALL")
	return s, "redis://" + s.Addr
}

func config(url string) redisstore.Setup {
	cfg := redisstore.At(url)
	cfg.RecipeApp = "app"
	cfg.Deadline = 30 * time.Second // under the race detector, beside other tests
	return cfg
}

func open(t testing.TB, cfg redisstore.Setup) *redisstore.Store {
	t.Helper()
	s, err := cfg.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func harness(t testing.TB, cfg redisstore.Setup) storetest.Harness {
	s := open(t, cfg)
	return storetest.Harness{
		Store: s, Now: s.Now(), Shared: true,
		Reopen: func(presence.Millis) presence.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			s = open(t, cfg)
			return s
		},
		Kill: func(presence.Millis) presence.Store { return open(t, cfg) },
	}
}

func TestStandalone(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		_, url := redisOf(t)
		return harness(t, config(url))
	})
}

// Behind Sentinels the law is kept without the near cache, so that both roads of a query are under
// it.
func TestSentinel(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		s := shared(t, sentinels)
		p, err := s.Primary()
		if err != nil {
			t.Fatal(err)
		}
		p.Do(t, "FLUSHALL")
		cfg := config(sentinelURL(s))
		cfg.NearCache = 0
		return harness(t, cfg)
	})
}

func sentinelURL(s *redistest.Sentinels) string {
	return "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + redistest.Master
}

// On the cluster the recipe's prefix is empty: every key of a peer that is ours could be taken for
// a peer, and must not.
func TestCluster(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		c := shared(t, cluster)
		for _, s := range c.Primaries() {
			s.Do(t, "FLUSHALL")
		}
		cfg := config(clusterURL(c))
		cfg.SummaryPrefix = ""
		return harness(t, cfg)
	})
}

func clusterURL(c *redistest.Cluster) string { return "redis://" + strings.Join(c.Addrs(), ",") }

// logger shows what the store says when a test fails.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
