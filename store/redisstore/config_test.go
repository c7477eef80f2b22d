package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/store/redisstore"
	"rollcall/store/redisstore/nearcache"
)

// checked returns what is wrong with an address and the settings in its query.
func checked(address string) error {
	cfg := redisstore.DefaultConfig()
	address, given, err := redisstore.CutQuery(address)
	if err != nil {
		return err
	}
	l := configload.New(&cfg)
	for _, g := range given {
		l.Set(g.Key, g.Value, "the query")
	}
	l.Finish()
	l.Check("", cfg.Validate())
	return errors.Join(l.Err(), cfg.CheckURL(address))
}

func TestURL(t *testing.T) {
	tests := []struct{ url, wrong string }{
		{"redis://localhost", ""},
		{"redis://localhost:6379/3", ""},
		{"redis://default:p%40ss@10.0.0.1:7000", ""},
		{"redis://:pw@h", ""},
		{"rediss://h:6380", ""},
		{"redis://[::1]:6379", ""},
		{"redis://a:1,b:2,c:3", ""},
		{"redis+sentinel://a:26379,b,c/mymaster/2", ""},
		{"rediss+sentinel://u:p@a/mymaster", ""},
		{"redis://h?near_cache=0&deadline=100ms&stale=5s&force=true&prefix=x:&summary_prefix=", ""},
		{"redis://h?", ""},
		{"", "begins with none"},
		{"http://h", "begins with none"},
		{"localhost:6379", "begins with none"},
		{"redis://", "no host"},
		{"redis://h:0", "the port of host \"h\" is not"},
		{"redis://h:99999", "the port of host \"h\" is not"},
		{"redis://a b", "not a host"},
		{"redis://a,,b", "no host"},
		{"redis://h/x", "not a number"},
		{"redis://h/-1", "not a number"},
		{"redis://u:%zz@h", "percent-encoded"},
		{"redis+sentinel://h", "needs the name of the master"},
		{"redis://h?colour=red", "its query has \"colour\", which is no setting"},
		{"redis://h?a=%zz", "its query cannot be read"},
		{"redis://h?deadline=fast", "deadline: \"fast\" is not a duration"},
		{"redis://h?deadline=0s", "deadline is 0s, not between 1ms and 1m"},
		{"redis://h?deadline=-1s", "deadline is -1s, not between 1ms and 1m"},
		{"redis://h?deadline=1h", "deadline is 1h, not between 1ms and 1m"},
		{"redis://h?near_cache=-5", "near_cache is -5, not 0 or between 256KiB and 64GiB"},
		{"redis://h?near_cache=64MiB", ""},
		{"redis://h?near_cache=1000", "near_cache is 1000, not 0 or between"},
		{"redis://h?near_cache=99999999999999", "near_cache is 99999999999999, not 0 or between"},
		{fmt.Sprintf("redis://h?near_cache=%d", nearcache.MinBytes), ""},
		{fmt.Sprintf("redis://h?near_cache=%d", nearcache.MinBytes-1), "near_cache is "},
		{"redis://h?stale=0", ""},
		{"redis://h?stale=-1s", "stale is -1s, not at least 0s"},
		{"redis://h?force=perhaps", "force: \"perhaps\" is neither true nor false"},
		{"redis://h?prefix=", "prefix is empty"},
		{"redis://h?prefix=a{b}", "braces"},
		{"redis://h?prefix=x:&summary_prefix=x:", "prefix is \"x:\", as summary_prefix is"},
		{"redis://h?ssl_ca_certs=ca.pem", "redis.ca is for rediss://"},
		{"redis://h?ssl_certfile=a.pem&ssl_keyfile=a.key", "redis.cert is for rediss://"},
		{"rediss://h?ssl_ca_certs=", ""},
		{"rediss://h?ssl_ca_certs=testdata/nowhere.pem", "redis.ca cannot be used: open testdata/nowhere.pem: no such file"},
		{"rediss://h?ssl_ca_certs=testdata", "testdata is not a file of certificates"},
		{"rediss://h?ssl_ca_certs=/dev/zero", "/dev/zero is not a file of certificates"},
		{"rediss://h?ssl_ca_certs=config_test.go", "config_test.go holds nothing in PEM"},
		{"rediss://h?ssl_certfile=a.pem", "cert is set and key is not"},
		{"rediss://h?ssl_keyfile=a.pem", "key is set and cert is not"},
	}
	for _, tt := range tests {
		err := checked(tt.url)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%s: %v", tt.url, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want something of %q", tt.url, err, tt.wrong)
		}
	}
	for _, url := range []string{
		"redis://user:hunter2@h:port", "redis://user:hunter2/x@h", "redis://user:hunter2?x@h", "redis://user:a@b/hunter2@h",
		"redis://user:hun%ter2@h", "redis://:hunter2", "redis://h:hunter2", "redis:/user:hunter2@h", "redis://u:p@h?hunter2@h",
	} {
		if err := checked(url); err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("%s: an error shows the password: %v", url, err)
		}
	}
}

func TestTheAppOfTheRecipeIsChecked(t *testing.T) {
	cfg := redisstore.DefaultConfig()
	cfg.RecipeApp = "no app"
	if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "recipe_app is") {
		t.Errorf("got %v", err)
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"redis://h", "rediss://u:p@h:1/2", "redis+sentinel://a,b/m", "redis://[::1]:1?near_cache=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := checked(s); err == nil && !strings.Contains(s, "://") {
			t.Errorf("%q is taken for a Redis", s)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	s, url := redisOf(t)
	t.Run("a policy that evicts peers that are online", func(t *testing.T) {
		s.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		defer s.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
		st, err := config(url).Open(context.Background())
		if err == nil {
			_ = st.Close()
			t.Fatal("opened under allkeys-lru")
		}
		if !strings.Contains(err.Error(), "allkeys-lru") {
			t.Errorf("the error does not name the policy: %v", err)
		}
		forced := config(url)
		forced.Force = true
		open(t, forced)
	})
	t.Run("nobody there", func(t *testing.T) {
		_, err := config("redis://127.0.0.1:1").Open(context.Background())
		if !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("open: %v, want presence.ErrUnavailable", err)
		}
	})
	t.Run("a wrong password", func(t *testing.T) {
		_, err := config("redis://nobody:hunter2@" + s.Addr).Open(context.Background())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open: %v", err)
		}
	})
}
