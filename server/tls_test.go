package server_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/server"
	"rollcall/server/config"
)

// A signer is an authority that the clients of a test trust.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{pool: x509.NewCertPool()}
	s.cert, s.key = s.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	s.pool.AddCert(s.cert)
	return s
}

// sign returns c signed by s, or by itself when s has no key yet.
func (s *signer) sign(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, by := s.cert, s.key
	if by == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// write replaces the pair in dir by a new one with serial.
func (s *signer) write(t *testing.T, dir string, serial int64) config.TLS {
	t.Helper()
	c, key := s.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: c.Raw}, files.Key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// encrypted starts a server with a TLS port and returns a client for it that speaks at most
// HTTP/1.1.
func encrypted(t *testing.T, change func(*config.Config)) (*server.Server, *signer, string, *http.Client) {
	t.Helper()
	authority, dir := newSigner(t), t.TempDir()
	cfg := settings()
	cfg.ListenTLS, cfg.TLS = "127.0.0.1:0", authority.write(t, dir, 2)
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return s, authority, dir, &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func TestEveryDoorOverTLS(t *testing.T) {
	s, authority, _, c := encrypted(t, nil)
	base := "https://" + s.ListenTLS()
	for range 2 { // on one connection
		res := do(t, c, "POST", base+"/1.1/functions/getOnOffStatus", `{"peerIds":["tom"]}`, "X-LC-Key", appKey, "Content-Type", "application/json")
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(b), "result") {
			t.Errorf("a function: %s %s %v", res.Status, b, err)
		}
	}
	if page := do(t, http.DefaultClient, "GET", "http://"+s.Admin()+"/metrics", ""); page.StatusCode == http.StatusOK {
		b, err := io.ReadAll(page.Body)
		if err != nil || !strings.Contains(string(b), "\nrollcall_lane_total{what=\"answered\"} 2\n") || !strings.Contains(string(b), "\nrollcall_tls_certificate_expires_seconds 3") {
			t.Errorf("the lane did not answer both, or the certificate has no metric: %v", err)
		}
	}
	watch := do(t, c, "GET", base+"/v1/watch?peer=tom", "")
	dialer := &websocket.DialOptions{HTTPClient: c, Subprotocols: []string{"lc.json.3"}}
	realtime, _, err := websocket.Dial(t.Context(), "wss://"+s.ListenTLS()+"/rtm", dialer)
	if err != nil {
		t.Fatal(err)
	}
	defer realtime.CloseNow()
	if got := (&wire{t, realtime}).rtm(`{"cmd":"session","op":"open","appId":"` + appID + `","peerId":"tom","i":1,"ua":"x"}`); !strings.Contains(got, "opened") {
		t.Errorf("realtime: %s", got)
	}
	native, _, err := websocket.Dial(t.Context(), "wss://"+s.ListenTLS()+"/v1/socket", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	defer native.CloseNow()
	if got := (&wire{t, native}).rtm(hello(200)); !strings.Contains(got, `"id":1`) {
		t.Errorf("native: %s", got)
	}
	online := false
	for events := bufio.NewScanner(watch.Body); !online && events.Scan(); {
		online = strings.Contains(events.Text(), `"status":"online"`)
	}
	if !online {
		t.Error("the stream did not say that tom is online")
	}
	route := do(t, c, "GET", base+"/v1/route", "")
	if b, err := io.ReadAll(route.Body); err != nil || !strings.Contains(string(b), "wss://"+s.ListenTLS()) {
		t.Errorf("route: %s %v", b, err)
	}
	second := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.pool}, ForceAttemptHTTP2: true}
	defer second.CloseIdleConnections()
	if res := do(t, &http.Client{Transport: second, Timeout: 20 * time.Second}, "GET", base+"/v1/peers/tom", ""); res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("HTTP/2: %s %s", res.Proto, res.Status)
	}
}

// serial returns that of the certificate that a new connection gets.
func serial(t *testing.T, s *server.Server, pool *x509.CertPool) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", s.ListenTLS(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestACertificateIsReplaced(t *testing.T) {
	s, authority, dir, c := encrypted(t, nil)
	socket, _, err := websocket.Dial(t.Context(), "wss://"+s.ListenTLS()+"/v1/socket", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	authority.write(t, dir, 3)
	for end := time.Now().Add(time.Minute); serial(t, s, authority.pool) != 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new certificate is not shown")
		}
	}
	if got := (&wire{t, socket}).rtm(hello(200)); !strings.Contains(got, `"id":1`) {
		t.Errorf("the open socket: %s", got)
	}
}

func TestStrangersOverTLS(t *testing.T) {
	s, authority, _, _ := encrypted(t, func(c *config.Config) { c.HTTP.HeaderTimeout = time.Second })
	if _, err := tls.Dial("tcp", s.ListenTLS(), &tls.Config{RootCAs: authority.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	begin := time.Now()
	var open []net.Conn
	for _, text := range []string{"", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\n\r\n"} {
		c := from(t, "127.0.0.1", s.ListenTLS())
		send(c, text)
		open = append(open, c)
	}
	for i, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
			t.Errorf("stranger %d is still served after %v", i, time.Since(begin))
		}
	}
	for end := time.Now().Add(time.Minute); held(t, s) != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("strangers are counted that are gone")
		}
	}
	quiet := from(t, "127.0.0.1", s.ListenTLS())
	defer quiet.Close()
	for end := time.Now().Add(time.Minute); held(t, s) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection that has not shaken hands is not counted")
		}
	}
}

func TestABadPairIsNamed(t *testing.T) {
	authority := newSigner(t)
	good, other := authority.write(t, t.TempDir(), 2), authority.write(t, t.TempDir(), 3)
	for want, change := range map[string]func(*config.Config){
		"tls.cert: open ":                       func(c *config.Config) { c.TLS.Cert += "x" },
		"tls.key: open ":                        func(c *config.Config) { c.TLS.Key += "x" },
		" are no pair: ":                        func(c *config.Config) { c.TLS.Key = other.Key },
		"tls.cert is set and listen_tls is not": func(c *config.Config) { c.ListenTLS = "" },
		"tls.cert is set and tls.key is not":    func(c *config.Config) { c.TLS.Key = "" },
		"tls.key is set and tls.cert is not":    func(c *config.Config) { c.TLS.Cert = "" },
		"listen_tls is \"3443\"":                func(c *config.Config) { c.ListenTLS = "3443" },
	} {
		cfg := settings()
		cfg.ListenTLS, cfg.TLS = "127.0.0.1:0", good
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// held returns how many connections the app listener counts.
func held(t *testing.T, s *server.Server) int64 {
	t.Helper()
	return statusOf(t, s).Rooms["callers"]["connections"]
}

// Where there may be more connections than TLS here is right for, the start says so.
func TestAProxyIsRecommendedForManyConnections(t *testing.T) {
	authority := newSigner(t)
	for most, want := range map[int]bool{50_000: false, 50_001: true} {
		var out strings.Builder
		cfg := settings()
		cfg.ListenTLS, cfg.TLS, cfg.HTTP.MaxConnections = "127.0.0.1:0", authority.write(t, t.TempDir(), 2), most
		s, err := server.New(cfg, slog.New(slog.NewTextHandler(&out, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Stop(t.Context())
		if got := strings.Contains(out.String(), "proxy recommended for TLS"); got != want {
			t.Errorf("%d connections: %s", most, &out)
		}
	}
}
