//go:build faults && linux

package deploy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"rollcall/internal/childtest"
	"rollcall/internal/redistest"
)

const held = 32 // scrapes of a fault that lasts: longer than any alert waits

func nothing(int) {}

func serverKilled(s *scene) {
	v := s.serve()
	v.begin(10)
	v.kill()
	v.record(held, nothing)
}

// diskFull has every write of the server fail, as on a disk without room.
func diskFull(s *scene) {
	v := s.serve()
	v.begin(10)
	full := unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(v.cmd.Process.Pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		s.Fatal(err)
	}
	s.until("reports are refused", func() bool {
		status, _ := v.call("/v1/events", map[string]any{"events": []event{{"peer": "ann", "session": "full", "state": "online"}}})
		return status == http.StatusServiceUnavailable && v.value("rollcall_store_trouble") == 1
	})
	v.record(held, nothing)
}

// diskHangs has a sync of the log take for ever, while a lease runs out.
func diskHangs(s *scene) {
	v := s.serve()
	v.begin(10)
	v.report(event{"peer": "eve", "session": "1", "state": "online", "ttl": 5})
	s.hang(v)
	s.until("no sweep comes to its end", func() bool { return v.value("rollcall_last_sweep_age_seconds") > 11 })
	v.record(held, nothing)
}

// hang has every sync of a server that begins from now on take for ever.
func (s *scene) hang(v *server) {
	said, err := os.Create(filepath.Join(s.TempDir(), "strace"))
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=600s", "-p", fmt.Sprint(v.cmd.Process.Pid))
	cmd.Stderr = said
	wait, err := childtest.Start(cmd)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { // before the server is killed: nothing ends in a call that strace holds
		_ = cmd.Process.Kill()
		_ = wait()
		_ = said.Close()
	})
	s.until("strace follows the server", func() bool {
		b, err := os.ReadFile(said.Name())
		return err == nil && bytes.Contains(b, []byte("attached"))
	})
}

func redisKilled(s *scene) {
	redis := redistest.Run(s)
	v := s.serve("store=redis://" + redis.Addr)
	v.begin(10)
	redis.Kill()
	s.until("sweeps fail", func() bool {
		return v.value("rollcall_last_sweep_age_seconds") > 11 && v.value("rollcall_store_trouble") == 1
	})
	v.record(held, v.traffic) // the spool takes it
}

// slowWatchers follow many peers and read nothing.
func slowWatchers(s *scene) {
	v := s.serve("sse.stall=1s")
	var peers []string
	var on, off []event
	for i := range 900 {
		p := fmt.Sprint(strings.Repeat("p", 200), i)
		peers = append(peers, p)
		on, off = append(on, event{"peer": p, "session": "1", "state": "online"}), append(off, event{"peer": p, "session": "1", "state": "offline"})
	}
	flip := func() {
		v.report(on...)
		v.report(off...)
	}
	watch := func() {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
		}}
		c, err := d.DialContext(s.Context(), "tcp", strings.TrimPrefix(v.apps, "http://"))
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = c.Close() })
		b, err := json.Marshal(map[string]any{"peers": peers})
		if err != nil {
			s.Fatal(err)
		}
		r, err := http.NewRequest("POST", v.apps+"/v1/watch", bytes.NewReader(b))
		if err != nil {
			s.Fatal(err)
		}
		v.sign(r)
		if err := r.Write(c); err != nil {
			s.Fatal(err)
		}
	}
	flip()
	v.begin(10)
	closed := func() float64 { return v.value(`rollcall_watchers_closed_total{reason="slow"`) }
	for i := range 3 {
		watch()
		s.until("a slow watcher is closed", func() bool {
			flip()
			return closed() > float64(i)
		})
		v.record(1, nothing)
	}
}

// manyConnections come from several addresses, since one may have half of them at most.
func manyConnections(s *scene) {
	v := s.serve("http.max_connections=20")
	v.begin(10)
	for i := range 19 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i))}}
		c, err := d.DialContext(s.Context(), "tcp", strings.TrimPrefix(v.apps, "http://"))
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = c.Close() })
		go keepAsking(c)
	}
	s.until("they are open", func() bool { return v.value(`rollcall_shared{of="connections",what="used"`) >= 19 })
	v.record(held, nothing)
}

// keepAsking asks on a connection until it is closed, so that it is not idle.
func keepAsking(c net.Conn) {
	b := make([]byte, 4<<10)
	for {
		if _, err := c.Write([]byte("GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			return
		}
		if _, err := c.Read(b); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// lateReports have a fifth of the reports come behind later ones of their session.
func lateReports(s *scene) {
	v := s.serve()
	v.begin(10)
	v.record(held, func(i int) {
		now := time.Now().UnixMilli()
		v.traffic(i)
		v.report(event{"peer": "eve", "session": "1", "state": "online", "time": now})
		v.report(event{"peer": "eve", "session": "1", "state": "offline", "time": now - 5000}, event{"peer": "eve", "session": "1", "state": "offline", "time": now - 4000})
	})
}

// silentSource stops to report. A scrape is a quarter of a second here, so ages are stretched as
// the time is.
func silentSource(s *scene) {
	const every = 250 * time.Millisecond
	v := s.serve()
	v.begin(80)
	for v.value(`rollcall_last_report_age_seconds{source="api"`) < 15 {
		v.record(1, func(int) { time.Sleep(every) })
	}
	s.stretch("rollcall_last_report_age_seconds", float64(every.Milliseconds()))
}

// wrongSecret has a product call with a secret that is none of the source's.
func wrongSecret(s *scene) {
	file := filepath.Join(s.TempDir(), "rollcall.yaml")
	const sources = "sources:\n- {id: emqx, kind: emqx, secret: secret-of-the-source, allow: [127.0.0.0/8]}\n"
	if err := os.WriteFile(file, []byte(sources), 0o600); err != nil {
		s.Fatal(err)
	}
	s.config = file
	v := s.serve()
	ingest := func(secret string) int {
		body := `{"event":"client.connected","clientid":"c1","username":"tom","timestamp":1,"connected_at":1}`
		r, err := http.NewRequest("POST", v.apps+"/ingest/app/emqx", strings.NewReader(body))
		if err != nil {
			s.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := client.Do(r)
		if err != nil {
			s.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	calls := func(secret string, want int) func(int) {
		return func(int) {
			if got := ingest(secret); got != want {
				s.Errorf("a call with the secret %q is answered %d", secret, got)
			}
		}
	}
	v.record(10, calls("secret-of-the-source", http.StatusOK))
	v.calm = len(v.scrapes)
	v.record(held, calls("another-secret", http.StatusUnauthorized))
}

func clockAhead(s *scene) {
	v := s.serve()
	v.begin(10)
	v.record(8, func(i int) {
		v.report(event{"peer": "eve", "session": fmt.Sprint(i), "state": "online", "time": time.Now().Add(time.Hour).UnixMilli()})
	})
}

// hooksFail has an app answer 500 to the hooks of its sockets.
func hooksFail(s *scene) {
	var broken atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	s.Cleanup(app.Close)
	v := s.serve("hooks.url=" + app.URL)
	v.present("tom")
	s.until("a hook is taken", func() bool {
		return v.value(`rollcall_hooks_total{result="delivered"`) > 0
	})
	v.begin(10)
	broken.Store(true)
	v.present("ann")
	s.until("a hook has failed", func() bool { return v.value(`rollcall_hooks_total{result="failed"`) > 0 })
	v.record(12, nothing)
}

// changesRefused has the server that changes are posted to answer 500. Ages are stretched as the
// time is.
func changesRefused(s *scene) {
	var broken atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	s.Cleanup(app.Close)
	file := filepath.Join(s.TempDir(), "rollcall.yaml")
	receivers := "changes:\n- {id: crm, url: " + app.URL + ", secret: secret-of-the-receiver}\n"
	if err := os.WriteFile(file, []byte(receivers), 0o600); err != nil {
		s.Fatal(err)
	}
	s.config = file
	v := s.serve()
	v.report(event{"peer": "tom", "session": "1", "state": "online"})
	s.until("a change is taken", func() bool {
		return v.value(`rollcall_changes_out_total{app="app",receiver="crm",what="delivered"`) > 0
	})
	v.begin(10)
	broken.Store(true)
	v.report(event{"peer": "tom", "session": "1", "state": "offline"})
	const every = 250 * time.Millisecond
	// Four scrapes a second stand for a minute: three until the alert is pending, and two more
	// until it fires.
	for v.value(`rollcall_changes_out{app="app",of="failing_seconds",receiver="crm"`) < 8 {
		v.record(1, func(int) { time.Sleep(every) })
	}
	s.stretch("rollcall_changes_out", float64(every.Milliseconds()))
}

// present has a peer online on a socket until the test ends.
func (v *server) present(peer string) {
	v.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(v.apps, "http")+"/v1/socket", nil)
	if err != nil {
		v.Fatal(err)
	}
	done := make(chan struct{})
	v.Cleanup(func() {
		cancel()
		_ = c.CloseNow()
		<-done
	})
	for _, text := range []string{`{"op":"hello","app":"app","key":"app-key-of-the-test"}`, fmt.Sprintf(`{"op":"present","id":1,"peer":%q}`, peer)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			v.Fatal(err)
		}
	}
	go func() {
		defer close(done)
		for {
			if _, _, err := c.Read(ctx); err != nil { // pings are answered while it reads
				return
			}
		}
	}()
}

// noOfflines has sessions end by their leases alone.
func noOfflines(s *scene) {
	const sessions = 20
	v := s.serve()
	v.begin(10)
	v.record(sessions, func(i int) {
		v.report(event{"peer": fmt.Sprint("eve", i), "session": "1", "state": "online", "ttl": 1})
	})
	s.until("the leases have run out", func() bool { return v.value(`rollcall_expired_total{cause="expired"`) == sessions })
	v.record(held, nothing)
}

// oldCertificate is replaced by one with ten days left.
func oldCertificate(s *scene) {
	dir := s.TempDir()
	cert, key := s.certificate(dir, 90*24*time.Hour)
	v := s.serve("listen_tls=127.0.0.1:0", "tls.cert="+cert, "tls.key="+key)
	v.begin(10)
	s.certificate(dir, 10*24*time.Hour)
	s.until("the certificate is read", func() bool { return v.value("rollcall_tls_certificate_expires_seconds") < 11*86400 })
	v.record(held, nothing)
}

// certificate writes a pair that ends after so long, over what is there.
func (s *scene) certificate(dir string, life time.Duration) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(life), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		s.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		s.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	return cert, key
}

func calmOnDisk(s *scene) {
	dir := s.TempDir()
	cert, key := s.certificate(dir, 90*24*time.Hour)
	calm(s, "listen_tls=127.0.0.1:0", "tls.cert="+cert, "tls.key="+key)
}

func calmOnRedis(s *scene) { calm(s, "store=redis://"+redistest.Run(s).Addr) }

// calm is a server with a bit of all that there is.
func calm(s *scene, settings ...string) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Cleanup(app.Close)
	v := s.serve(append(settings, "hooks.url="+app.URL)...)
	r, err := http.NewRequestWithContext(s.Context(), "POST", v.apps+"/v1/watch", strings.NewReader(`{"peers":["tom","ann"]}`))
	if err != nil {
		s.Fatal(err)
	}
	v.sign(r)
	resp, err := (&http.Client{}).Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = resp.Body.Close() })
	v.present("tom")
	v.record(60, func(i int) {
		v.traffic(i)
		if status, text := v.call("/1.1/functions/getOnOffStatus", map[string]any{"peerIds": []string{"tom", "ann"}}); status != http.StatusOK {
			s.Errorf("a query was answered %d %s", status, text)
		}
		if status, text := v.call("/1.1/functions/_clientOnline", map[string]any{"peerId": "eve"}); status != http.StatusOK {
			s.Errorf("a hook was answered %d %s", status, text)
		}
	})
}
