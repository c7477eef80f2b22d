package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"rollcall/presence"
	"rollcall/store/redisstore"
)

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
		{"redis://h?colour=red", "no setting"},
		{"redis://h?deadline=fast", "deadline is \"fast\", not a duration"},
		{"redis://h?deadline=0", "the setting deadline is \"0\""},
		{"redis://h?deadline=-1s", "not between 1ms and 1m"},
		{"redis://h?deadline=1h", "not between 1ms and 1m"},
		{"redis://h?near_cache=-5", "the setting near_cache is \"-5\", not a number of bytes"},
		{"redis://h?near_cache=64MiB", "the setting near_cache is \"64MiB\", not a number of bytes"},
		{"redis://h?near_cache=1000", "near_cache is 1000 bytes, not 0 for none or between 262144 and"},
		{"redis://h?near_cache=99999999999999", "near_cache is 99999999999999 bytes, not 0"},
		{"redis://h?near_cache=262144", ""},
		{"redis://h?stale=0", ""},
		{"redis://h?stale=-1s", "the setting stale is \"-1s\", not a duration"},
		{"redis://h?force=perhaps", "the setting force is \"perhaps\", not true or false"},
		{"redis://h?prefix=", "the setting prefix is \"\""},
		{"redis://h?prefix=a{b}", "braces"},
		{"redis://h?prefix=x:&summary_prefix=x:", "both \"x:\""},
		{"redis://h?ssl_ca_certs=ca.pem", "for rediss://"},
		{"rediss://h?ssl_ca_certs=", "the setting ssl_ca_certs is \"\", not a file"},
		{"rediss://h?ssl_ca_certs=testdata/nowhere.pem", "ssl_ca_certs: stat testdata/nowhere.pem: no such file"},
		{"rediss://h?ssl_ca_certs=testdata", "testdata is not a file of certificates"},
		{"rediss://h?ssl_ca_certs=/dev/zero", "/dev/zero is not a file of certificates"},
		{"rediss://h?ssl_ca_certs=config_test.go", "config_test.go holds nothing in PEM"},
		{"rediss://h?ssl_certfile=a.pem", "of ssl_certfile and ssl_keyfile it has only one"},
	}
	for _, tt := range tests {
		err := redisstore.CheckURL(tt.url)
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
		err := redisstore.CheckURL(url)
		if err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("%s: an error shows the password: %v", url, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"redis://h", "rediss://u:p@h:1/2", "redis+sentinel://a,b/m", "redis://[::1]:1?near_cache=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := redisstore.CheckURL(s); err == nil && !strings.Contains(s, "://") {
			t.Errorf("%q is taken for a Redis", s)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	s, url := redisOf(t)
	t.Run("a policy that evicts peers that are online", func(t *testing.T) {
		s.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		defer s.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
		st, err := redisstore.Open(context.Background(), config(url))
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
		_, err := redisstore.Open(context.Background(), config("redis://127.0.0.1:1"))
		if !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("open: %v, want presence.ErrUnavailable", err)
		}
	})
	t.Run("a wrong password", func(t *testing.T) {
		_, err := redisstore.Open(context.Background(), config("redis://nobody:hunter2@"+s.Addr))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open: %v", err)
		}
	})
}
