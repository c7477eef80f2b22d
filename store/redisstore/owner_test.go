package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// ownedBy returns the settings of a server with these apps, of which none is named as the owner of
// the recipe's keys.
func ownedBy(url string, apps ...presence.AppID) redisstore.Setup {
	cfg := config(url)
	cfg.RecipeApp, cfg.Apps = "", apps
	return cfg
}

// sees returns what tom is in an app.
func sees(t testing.TB, st *redisstore.Store, app presence.AppID) (presence.Status, error) {
	t.Helper()
	out := make([]presence.Status, 1)
	age, err := st.Statuses(context.Background(), app, [][]byte{[]byte("tom")}, st.Now(), out)
	if age > 0 && err == nil {
		err = presence.ErrUnavailable // an answer from before the outage
	}
	return out[0], err
}

func comes(t testing.TB, st *redisstore.Store, app presence.AppID) error {
	t.Helper()
	svc := presence.NewService(st, presence.DefaultConfig())
	r := presence.Report{App: app, Peer: "tom", Source: presence.SourceAPI, Session: "s", Kind: presence.KindOnline, At: st.Now()}
	return svc.Report(context.Background(), []presence.Report{r}, st.Now(), make([]presence.Outcome, 1))
}

// TestRecipeKeysBelongToOneApp: whatever apps another server has, and in whatever order, no peer of
// one app is shown in another.
func TestRecipeKeysBelongToOneApp(t *testing.T) {
	places := map[string]func(t *testing.T) string{
		"standalone": func(t *testing.T) string { _, url := redisOf(t); return url },
		"cluster": func(t *testing.T) string {
			c := shared(t, cluster)
			for _, s := range c.Primaries() {
				s.Do(t, "FLUSHALL")
			}
			return clusterURL(c)
		},
	}
	tests := []struct {
		name    string
		change  func(*redisstore.Setup)
		refused bool
		a, b    presence.Status // what tom of a is then, to that server, in each app
	}{
		{"the same apps", func(c *redisstore.Setup) { c.Apps = []presence.AppID{"a", "b"} }, false, presence.Online, presence.Unknown},
		{"the order is swapped", func(c *redisstore.Setup) { c.Apps = []presence.AppID{"b", "a"} }, false, presence.Online, presence.Unknown},
		{"a new app is put first", func(c *redisstore.Setup) { c.Apps = []presence.AppID{"new", "a", "b"} }, false, presence.Online, presence.Unknown},
		{"other apps", func(c *redisstore.Setup) { c.Apps = []presence.AppID{"b"} }, true, 0, 0},
		{"other apps with another prefix", func(c *redisstore.Setup) { c.Apps, c.Prefix = []presence.AppID{"b"}, "rd:" }, true, 0, 0},
		{"other apps with other keys for the recipe", func(c *redisstore.Setup) { c.Apps, c.SummaryPrefix = []presence.AppID{"b"}, "on2:" }, true, 0, 0},
		{"other apps in keys of their own", func(c *redisstore.Setup) {
			c.Apps, c.Prefix, c.SummaryPrefix = []presence.AppID{"b"}, "rd:", "on2:"
		}, false, presence.Unknown, presence.Unknown},
		{"other apps that leave the keys to their owner", func(c *redisstore.Setup) { c.Apps, c.RecipeApp = []presence.AppID{"b"}, "a" }, false, presence.Online, presence.Unknown},
	}
	for place, empty := range places {
		for _, tt := range tests {
			t.Run(place+"/"+tt.name, func(t *testing.T) {
				url := empty(t)
				one := open(t, ownedBy(url, "a", "b"))
				if err := comes(t, one, "a"); err != nil {
					t.Fatal(err)
				}
				cfg := ownedBy(url)
				tt.change(&cfg)
				two, err := cfg.Open(t.Context())
				if tt.refused {
					var no *redisstore.OpenError
					if !errors.As(err, &no) || !no.Settings || !strings.Contains(no.Error(), `belong to app "a"`) || !strings.Contains(no.Hint, "redis.recipe_app=b") {
						t.Errorf("it starts with %v, want a refusal that names the owner and the setting", err)
					}
					if two != nil {
						_ = two.Close()
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer two.Close()
				for app, want := range map[presence.AppID]presence.Status{"a": tt.a, "b": tt.b} {
					if got, err := sees(t, two, app); err != nil || got != want {
						t.Errorf("tom of a is %v (error %v) in %s, want %v", got, err, app, want)
					}
				}
				if err := comes(t, two, "b"); err != nil {
					t.Fatal(err)
				}
				if got, err := sees(t, one, "a"); err != nil || got != presence.Online {
					t.Errorf("on the first server tom of a is %v, %v", got, err)
				}
			})
		}
	}
}

// TestOwnerChangesOnPurpose: the setting takes the keys over with all peers in them, and a server
// of the old owner stops at once.
func TestOwnerChangesOnPurpose(t *testing.T) {
	_, url := redisOf(t)
	cfg := ownedBy(url, "a")
	cfg.Log = logger(t)
	old := open(t, cfg)
	if err := comes(t, old, "a"); err != nil {
		t.Fatal(err)
	}
	if got, err := sees(t, old, "a"); err != nil || got != presence.Online { // into its cache
		t.Fatal(got, err)
	}
	cfg = ownedBy(url, "b")
	cfg.RecipeApp = "b"
	renamed := open(t, cfg)
	if got, err := sees(t, renamed, "b"); err != nil || got != presence.Online {
		t.Errorf("tom is %v (error %v) under the new id of the app, want online", got, err)
	}
	eventually(t, "the old owner answers nothing", func() bool {
		_, err := sees(t, old, "a")
		return errors.Is(err, presence.ErrUnavailable) && old.Ready() != nil
	})
	if err := comes(t, old, "a"); !errors.Is(err, presence.ErrUnavailable) {
		t.Errorf("the old owner takes a report: %v", err)
	}
	if _, err := old.Due(t.Context(), old.Now(), 10); err == nil {
		t.Error("the old owner ends leases")
	}
	_ = open(t, ownedBy(url, "b")) // the record stays, without the setting

	cfg = ownedBy(url, "a")
	cfg.RecipeApp = "a"
	_ = open(t, cfg)
	eventually(t, "the keys are the old owner's again", func() bool {
		got, err := sees(t, old, "a")
		return err == nil && got == presence.Online && old.Ready() == nil
	})
}

// TestReleaseWithoutRecord: what an old release has left belongs to the first app, which it had the
// keys for.
func TestReleaseWithoutRecord(t *testing.T) {
	s, url := redisOf(t)
	old, err := ownedBy(url, "a", "b").Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := comes(t, old, "a"); err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	if n := s.Do(t, "DEL", "rc:recipe", "onOffStatus:"); n != int64(2) {
		t.Fatalf("%v records are there, want 2", n)
	}
	s.Do(t, "SET", "onOffStatus:", "1") // the recipe, asked to log in the empty id
	st := open(t, ownedBy(url, "a", "b"))
	if got, err := sees(t, st, "a"); err != nil || got != presence.Online {
		t.Errorf("tom is %v, %v; want online", got, err)
	}
	if got, err := sees(t, st, "b"); err != nil || got != presence.Unknown {
		t.Errorf("tom is %v, %v in the other app; want unknown", got, err)
	}
	if _, err := ownedBy(url, "b").Open(t.Context()); err == nil {
		t.Error("a server without the first app starts")
	}
}

// TestServersThatStartAtOnceAgreeOnTheOwner: each has the same apps in an order of its own.
func TestServersThatStartAtOnceAgreeOnTheOwner(t *testing.T) {
	for range 5 {
		_, url := redisOf(t)
		var wg sync.WaitGroup
		stores := make([]*redisstore.Store, 6)
		for i := range stores {
			apps := []presence.AppID{"a", "b", "c"}
			apps[0], apps[i%3] = apps[i%3], apps[0]
			wg.Go(func() {
				st, err := ownedBy(url, apps...).Open(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				stores[i] = st
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if err := comes(t, stores[0], "a"); err != nil {
			t.Fatal(err)
		}
		for i, st := range stores {
			for app, want := range map[presence.AppID]presence.Status{"a": presence.Online, "b": presence.Unknown, "c": presence.Unknown} {
				if got, err := sees(t, st, app); err != nil || got != want {
					t.Errorf("on server %d tom is %v (error %v) in %s, want %v", i, got, err, app, want)
				}
			}
			_ = st.Close()
		}
	}
}

// TestEmptiedRedisKeepsItsOwner: a running server records itself again, so that no other app moves
// in.
func TestEmptiedRedisKeepsItsOwner(t *testing.T) {
	s, url := redisOf(t)
	_ = open(t, ownedBy(url, "a"))
	s.Do(t, "FLUSHALL")
	eventually(t, "the owner is on record", func() bool {
		return s.Do(t, "GET", "rc:recipe") == "app a" && s.Do(t, "GET", "onOffStatus:") == "app a"
	})
	if _, err := ownedBy(url, "b").Open(t.Context()); err == nil {
		t.Error("a server of another app starts on it")
	}
}

// TestRedisOfAnotherApp: what answers at the address after a restart is the Redis of another app,
// with its people.
func TestRedisOfAnotherApp(t *testing.T) {
	theirs, mine := redistest.Run(t), redistest.Run(t)
	them := open(t, ownedBy("redis://"+theirs.Addr, "b"))
	if err := comes(t, them, "b"); err != nil {
		t.Fatal(err)
	}
	size := len(theirs.Do(t, "GET", "rc:{onOffStatus:tom}:s").(string))
	theirs.Do(t, "SAVE")
	cfg := ownedBy("redis://"+mine.Addr, "a")
	cfg.Spool, cfg.Log = t.TempDir(), logger(t)
	here := open(t, cfg)
	if got, err := sees(t, here, "a"); err != nil || got != presence.Unknown {
		t.Fatal(got, err)
	}
	mine.Kill()
	dump, err := os.ReadFile(filepath.Join(theirs.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mine.Dir, "dump.rdb"), dump, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mine.Start(); err != nil {
		t.Fatal(err)
	}
	shown := func() {
		if got, err := sees(t, here, "a"); err == nil && got != presence.Unknown {
			t.Fatalf("tom of b is %v in a", got)
		}
	}
	eventually(t, "the owner is noticed", func() bool {
		shown()
		return here.Ready() != nil && strings.Contains(here.Ready().Error(), `belong to app "b"`)
	})
	if err := comes(t, here, "a"); err != nil { // into the spool, from which it never goes to Redis
		t.Fatal(err)
	}
	if got := mine.Do(t, "GET", "rc:recipe"); got != "app b" {
		t.Errorf("the record is %v, want that of b", got)
	}
	if got := len(mine.Do(t, "GET", "rc:{onOffStatus:tom}:s").(string)); got != size {
		t.Errorf("the state of tom of b has %d bytes, want %d: it was written to", got, size)
	}
}

// eventually waits for what is to come, however slow the machine is.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("after %v: not so: %s", patience, what)
		}
	}
}
