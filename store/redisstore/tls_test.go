package redisstore_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore"
)

// An authority, and a server that asks its clients for a certificate of that authority, shared by
// the tests of TLS.
type secured struct {
	dir    string
	ca     *redistest.CA
	tls    *redistest.TLS
	server *redistest.Server
}

func (s *secured) Close() {
	s.server.Close()
	_ = os.RemoveAll(s.dir)
}

var overTLS = sync.OnceValues(func() (*secured, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	s := &secured{dir: dir}
	if s.ca, err = redistest.NewCA(dir); err != nil {
		return nil, err
	}
	if s.tls, err = s.ca.TLS(); err != nil {
		return nil, err
	}
	s.tls.Clients = true
	s.server, err = s.tls.New()
	return s, err
})

// files are the settings of a client that shows a certificate.
func (s *secured) files() string {
	return "?ssl_ca_certs=" + s.ca.File + "&ssl_certfile=" + s.tls.Cert + "&ssl_keyfile=" + s.tls.Key
}

// TestStandaloneOverTLS: both sides show certificates. The whole law is kept this way in
// TestFaultContractOverTLS.
func TestStandaloneOverTLS(t *testing.T) {
	s := shared(t, overTLS)
	s.server.Do(t, "FLUSHALL")
	shows(t, "rediss://"+s.server.Addr+s.files())
}

// shows has two processes on url agree, and one of them see at once what is reported to the other.
func shows(t *testing.T, url string) {
	here, there := startNode(t, config(url), "here"), startNode(t, config(url), "there")
	peers := numbered("p", 40) // on all primaries
	there.see(patience, presence.Unknown, peers...)
	for _, p := range peers {
		if err := here.report(here.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	there.see(patience, presence.Online, peers...)
	for _, n := range []*node{here, there} {
		n.ready(patience)
		if st := n.st.Stats(); st["outages"] != 0 || st["links_lost"] != 0 {
			t.Errorf("%s: %v", n.name, st)
		}
	}
}

// TestClusterOverTLS: the nodes are known by address, and their one certificate is for the name in
// the URL.
func TestClusterOverTLS(t *testing.T) {
	t.Parallel()
	ca := redistest.RunCA(t)
	p, err := ca.Issue("name", time.Now().Add(time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&redistest.TLS{CA: ca.File, Pair: p}).NewCluster(3, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, port, _ := net.SplitHostPort(c.Servers[1].Addr)
	shows(t, "rediss://localhost:"+port+"?ssl_ca_certs="+ca.File)
	for _, s := range c.Servers {
		if n := s.Info(t, "stats", "total_connections_received"); n == "0" {
			t.Errorf("nobody has connected to %s", s.Addr)
		}
	}
}

func TestSentinelOverTLS(t *testing.T) {
	t.Parallel()
	ca := redistest.RunCA(t)
	k, err := ca.TLS()
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.NewSentinels(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	shows(t, "rediss+sentinel://"+strings.Join(s.Addrs, ",")+"/"+redistest.Master+"?ssl_ca_certs="+ca.File)
}

// TestCertificatesAreRenewed: Redis gets a certificate from another authority, and the file of
// authorities is changed under the running process.
func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	ca := redistest.RunCA(t)
	k, err := ca.TLS()
	if err != nil {
		t.Fatal(err)
	}
	server, err := k.New(durable...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	proxy := redistest.RunProxy(t, server.Addr)
	cfg := config("rediss://" + proxy.Addr + "?ssl_ca_certs=" + ca.File)
	cfg.Deadline, cfg.Spool, cfg.Log = 250*time.Millisecond, t.TempDir(), logger(t)
	n := startNode(t, cfg, "n")
	if err := n.report(n.hook(presence.KindOnline, "tom")); err != nil {
		t.Fatal(err)
	}
	next := redistest.RunCA(t)
	renewed, err := next.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{renewed.Cert: k.Cert, renewed.Key: k.Key} {
		copyFile(t, from, to)
	}
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for begun, before := time.Now(), proxy.Taken(); proxy.Taken() < before+5; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("it does not try again")
		}
	}
	if err := n.st.Ready(); err == nil {
		t.Fatal("a certificate that nobody has signed is taken")
	}
	copyFile(t, next.File, ca.File)
	n.ready(patience)
	n.see(patience, presence.Online, "tom")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A verdict is what an error of the start says of the settings.
type verdict string

const (
	misfit      verdict = "they do not fit"
	unavailable verdict = "another start may succeed"
	either      verdict = "either: an alert may be lost with the connection"
)

func (v verdict) fits(settings bool) bool { return v == either || settings == (v == misfit) }

// TestRefusals: every mistake at the start is explained, with what to do, and kept apart from a
// Redis that is away.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s, c, se := shared(t, overTLS), shared(t, cluster), shared(t, sentinels)
	other := redistest.RunCA(t)
	stranger, err := other.TLS()
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, notAfter time.Time, hosts ...string) string {
		p, err := s.ca.Issue(name, notAfter, hosts...)
		if err != nil {
			t.Fatal(err)
		}
		server, err := (&redistest.TLS{CA: s.ca.File, Pair: p}).New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		return server.Addr
	}
	plain, locked := redistest.Run(t), redistest.Run(t, "--requirepass", "sesame")
	// No Sentinel promotes this one, however busy the machine is.
	replica := redistest.Run(t, "--replicaof", strings.Replace(plain.Addr, ":", " ", 1))
	ca := "?ssl_ca_certs=" + s.ca.File
	tests := []struct {
		name, url  string
		says, hint string
		settings   verdict
	}{
		{"nobody there", "redis://127.0.0.1:1", "connection refused", "see that Redis runs at 127.0.0.1:1", unavailable},
		{"nobody there, over TLS", "rediss://127.0.0.1:1", "connection refused", "see that Redis runs", unavailable},
		{"no such host", "redis://nowhere.invalid", "nowhere.invalid", "see that Redis runs", unavailable},
		{"no Redis", "redis://" + talker(t, "HTTP/1.1 400 Bad Request\r\n"), "is not a Redis", "host and port", misfit},
		{"no Redis, over TLS", "rediss://" + talker(t, "HTTP/1.1 400 Bad Request\r\n"), "does not speak TLS", "write redis://", misfit},
		{"nothing is said", "redis://" + talker(t, ""), "store unavailable", "see that Redis runs", unavailable},

		{"an authority that this machine does not know", "rediss://" + s.server.Addr, "not from an authority that this machine knows", "set redis.ca", misfit},
		{"the wrong authority", "rediss://" + s.server.Addr + "?ssl_ca_certs=" + other.File, "not from the authority in redis.ca", "see that " + other.File, misfit},
		{"the wrong name", "rediss://" + with("named", time.Now().Add(time.Hour), "redis.example") + ca, "is for another host", "redis.example", misfit},
		{"out of date", "rediss://" + with("old", time.Now().Add(-time.Hour), "127.0.0.1") + ca, "is out of date", "renew the certificate", unavailable},
		{"plainly to TLS", "redis://" + s.server.Addr, "store unavailable", "if it speaks TLS, write rediss://", unavailable},
		{"plainly to TLS, Sentinels", "redis+sentinel://" + s.server.Addr + "/m", "store unavailable", "if it speaks TLS, write rediss+sentinel://", unavailable},
		{"TLS to a plain port", "rediss://" + plain.Addr + ca, "store unavailable", "see that Redis runs", unavailable},
		{"no certificate of ours", "rediss://" + s.server.Addr + ca, "", "set redis.cert", either},
		{"a certificate of a stranger", "rediss://" + s.server.Addr + ca + "&ssl_certfile=" + stranger.Cert + "&ssl_keyfile=" + stranger.Key, "", "signed by an authority", either},

		{"a password is missing", "redis://" + locked.Addr, "wants a password", "redis://:PASSWORD@host", misfit},
		{"a wrong password", "redis://:hunter2@" + locked.Addr, "does not take the user and password", "percent-encoded", misfit},
		{"no such database", "redis://" + plain.Addr + "/99", "no database 99", "databases", misfit},
		{"a Cluster that is none", "redis://" + plain.Addr + "," + plain.Addr, "several addresses", "write one address", misfit},
		{"a database of a Cluster", "redis://" + c.Servers[0].Addr + "/3", "a Cluster, which has only database 0", "leave the database out", misfit},
		{"a replica", "redis://" + replica.Addr, "is a replica", "name the primary", unavailable},
		{"Sentinels that are none", "redis+sentinel://" + plain.Addr + "/m", "is no Sentinel", "mostly on port 26379", misfit},
		{"a master that they do not know", "redis+sentinel://" + se.Addrs[0] + "/nobody", "know no master \"nobody\"", "sentinel monitor", misfit},
		{"Sentinels taken for Redis", "redis://" + se.Addrs[0], "does not know the commands", "redis+sentinel://", misfit},
		{"Sentinels taken for a Cluster", "redis://" + strings.Join(se.Addrs, ","), "does not know the commands", "redis+sentinel://", misfit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st, err := config(tt.url).Open(context.Background())
			if err == nil {
				_ = st.Close()
				t.Fatal("it opened")
			}
			var r *redisstore.OpenError
			if !errors.As(err, &r) {
				t.Fatalf("%v is not an OpenError", err)
			}
			if !strings.Contains(r.Error(), tt.says) || !strings.Contains(r.Hint, tt.hint) || !tt.settings.fits(r.Settings) {
				t.Errorf("got  %v\nhint %s\nsettings %v; want %q, %q, %v", r, r.Hint, r.Settings, tt.says, tt.hint, tt.settings)
			}
			if errors.Is(err, presence.ErrUnavailable) == r.Settings && tt.name != "a replica" && tt.name != "out of date" {
				t.Errorf("settings %v, and the store is unavailable: %v", tt.settings, err)
			}
			if strings.Contains(err.Error()+r.Hint, "hunter2") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

// talker listens and says one thing to everybody who says something; with nothing to say it holds
// the line.
func talker(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					if _, err := r.ReadByte(); err != nil {
						return
					}
					if says != "" {
						_, _ = c.Write([]byte(says))
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
