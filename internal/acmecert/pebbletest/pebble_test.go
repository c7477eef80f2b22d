package pebbletest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const domain = "im.example.com"

var binary string

func TestMain(m *testing.M) {
	// The authority neither waits at random before it validates, nor remembers what it validated.
	os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Setenv("PEBBLE_AUTHZREUSE", "0")
	dir, err := os.MkdirTemp("", "pebbletest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "rollcall")
	build := exec.Command("go", "build", "-o", binary, "./cmd/rollcall")
	build.Dir = "../../.."
	code := 1
	if b, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build rollcall: %v\n%s", err, b)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// A node is a running rollcall.
type node struct {
	t                             *testing.T
	data                          string
	listen, tls, admin, challenge string
	ca                            *authority
	cmd                           *exec.Cmd
	mu                            sync.Mutex
	log                           bytes.Buffer
}

// Write takes the log.
func (n *node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(b)
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

func newNode(t *testing.T) *node {
	return &node{t: t, data: filepath.Join(t.TempDir(), "data"), listen: freeAddress(t), tls: freeAddress(t), admin: freeAddress(t), challenge: freeAddress(t)}
}

func port(address string) int {
	_, p, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(p)
	return n
}

// start starts the program, for certificates of ca, and waits until it is ready.
func (n *node) start(more ...string) {
	n.t.Helper()
	args := []string{"serve", "--listen", n.listen, "--admin", n.admin, "--data", n.data}
	for _, s := range append([]string{
		"listen_tls=" + n.tls, "tls.domains=" + domain, "tls.email=ops@example.com",
		"tls.acme_directory=" + n.ca.directory(), "tls.acme_ca=" + n.ca.root, "tls.acme_listen=",
	}, more...) {
		args = append(args, "--set", s)
	}
	n.cmd = exec.Command(binary, args...)
	n.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID=theApp", "LEANCLOUD_APP_KEY=theAppKey0000000000", "LEANCLOUD_APP_MASTER_KEY=theMasterKey0000000", "LEANCLOUD_APP_HOOK_KEY=theHookKey000000000")
	n.cmd.Stderr = n
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(n.stop)
	n.wait("ready", func() bool {
		res, err := http.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func (n *node) stop() {
	if n.cmd.ProcessState != nil {
		return
	}
	_ = n.cmd.Process.Signal(os.Interrupt)
	_ = n.cmd.Wait()
	n.t.Logf("the log of the node:\n%s", n.logged())
}

// wait waits until reached is true.
func (n *node) wait(what string, reached func() bool) {
	n.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("not within two minutes: %s\n%s", what, n.logged())
		}
	}
}

// dial shakes hands as a client of name.
func (n *node) dial(name string) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", n.tls, &tls.Config{ServerName: name, RootCAs: n.ca.issued})
}

// shown returns the certificate that a client is shown and trusts; nil when there is none.
func (n *node) shown() *x509.Certificate {
	c, err := n.dial(domain)
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// obtained waits for a certificate other than old.
func (n *node) obtained(old *x509.Certificate) (c *x509.Certificate) {
	n.t.Helper()
	n.wait("a certificate", func() bool {
		c = n.shown()
		return c != nil && (old == nil || c.SerialNumber.Cmp(old.SerialNumber) != 0)
	})
	return c
}

// kept returns the certificate that is shown, whether it has ended meanwhile or not, and checks
// that it is want, when that is given.
func (n *node) kept(want *x509.Certificate) *x509.Certificate {
	n.t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", n.tls, &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	got := c.ConnectionState().PeerCertificates[0]
	if want != nil && got.SerialNumber.Cmp(want.SerialNumber) != 0 {
		n.t.Errorf("shown is %v, not %v", got.SerialNumber, want.SerialNumber)
	}
	return got
}

var expires = regexp.MustCompile(`(?m)^rollcall_tls_certificate_expires_seconds (\S+)$`)

// left returns how long the certificate is valid by the metric, in seconds.
func (n *node) left() float64 {
	n.t.Helper()
	res, err := http.Get("http://" + n.admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	m := expires.FindSubmatch(b)
	if m == nil {
		n.t.Fatal("there is no metric of the certificate")
	}
	v, _ := strconv.ParseFloat(string(m[1]), 64)
	return v
}

func TestEachChallengeIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name   string
		ports  func(n *node) (http, tls int)
		config string
	}{
		{"over TLS", func(n *node) (int, int) { return port(freeAddress(t)), port(n.tls) }, "tls.acme_listen="},
		{"over HTTP beside the apps", func(n *node) (int, int) { return port(n.listen), port(freeAddress(t)) }, "tls.acme_listen="},
		{"over HTTP on a port of its own", func(n *node) (int, int) { return port(n.challenge), port(freeAddress(t)) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			http, tls := c.ports(n)
			n.ca = newAuthority(t, http, tls, 90*24*time.Hour, false)
			n.ca.up()
			if c.config == "" {
				c.config = "tls.acme_listen=" + n.challenge
			}
			n.start(c.config)
			n.serves(n.obtained(nil))
			n.ordersForNoOtherName()
		})
	}
}

// serves checks what clients are given with the certificate c.
func (n *node) serves(c *x509.Certificate) {
	n.t.Helper()
	if left := n.left(); left < 89*24*3600 || left > 90*24*3600 {
		n.t.Errorf("by the metric the certificate is valid for %v s", left)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: domain, RootCAs: n.ca.issued}, DisableKeepAlives: true,
	}, Timeout: time.Minute}
	res, err := client.Get("https://" + n.tls + "/v1/info")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 500 {
		n.t.Errorf("answered %s with the certificate %v", res.Status, c.Subject)
	}
	st, err := os.Stat(filepath.Join(n.data, "acme"))
	if err != nil || st.Mode().Perm() != 0o700 {
		n.t.Errorf("certificates are kept in %v, %v", st, err)
	}
	files, _ := filepath.Glob(filepath.Join(n.data, "acme", "*", "*"))
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			n.t.Errorf("%v, %v", st, err)
		}
	}
	if len(files) != 2 {
		n.t.Errorf("kept are %v", files)
	}
}

// ordersForNoOtherName checks that strangers who name other domains have nothing ordered.
func (n *node) ordersForNoOtherName() {
	n.t.Helper()
	before := n.ca.orders.Load()
	for i := range 50 {
		if c, err := n.dial(fmt.Sprintf("x%d.example.com", i)); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			n.t.Errorf("a stranger is shown %v, %v", c, err)
		}
	}
	if after := n.ca.orders.Load(); after != before {
		n.t.Errorf("%d orders for strangers", after-before)
	}
}

func TestARestartShowsTheCertificateThatIsKept(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ca = newAuthority(t, port(freeAddress(t)), port(n.tls), 90*24*time.Hour, true)
	n.ca.up()
	n.start("tls.acme_key_id="+keyID, "tls.acme_mac_key="+macKey)
	first := n.obtained(nil)
	orders := n.ca.orders.Load()
	n.stop()
	n.ca.down()
	n.start()
	if c := n.shown(); c == nil || c.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("while the CA is down a restart shows %v", c)
	}
	if strings.Contains(n.logged(), "certificate order failed") || n.ca.orders.Load() != orders {
		t.Error("a certificate was ordered that is not due")
	}
}

// The CA is down at the start, comes, issues a certificate that ends soon, goes again while that is
// to be renewed, and comes back.
func TestACAThatIsDown(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ca = newAuthority(t, port(freeAddress(t)), port(n.tls), 30*time.Second, false)
	n.start("http.idle_timeout=10m")
	n.wait("a failed order in the log", func() bool { return strings.Contains(n.logged(), "certificate order failed") })
	if _, err := n.dial(domain); err == nil || n.left() != 0 {
		t.Errorf("without a certificate: %v, the metric is %v", err, n.left())
	}
	res, err := http.Get("http://" + n.listen + "/")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("without a certificate the other port answers %v, %v", res, err)
	}
	_ = res.Body.Close()
	n.ca.up()
	n.obtained(nil)
	open, err := n.dial(domain)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	n.asks(open)
	n.ca.down()
	first := n.kept(nil)
	failed := strings.Count(n.logged(), "certificate order failed")
	n.wait("a failed renewal", func() bool { return strings.Count(n.logged(), "certificate order failed") > failed })
	n.kept(first)
	n.ca.up()
	if second := n.obtained(first); !second.NotAfter.After(first.NotAfter) {
		t.Errorf("renewed to %v after %v", second.NotAfter, first.NotAfter)
	}
	n.asks(open) // it stayed
}

// asks sends a request on a connection and reads the answer.
func (n *node) asks(c net.Conn) {
	n.t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+domain+"\r\n\r\n"); err != nil {
		n.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		n.t.Errorf("answered %s, %v", res.Status, err)
	}
}
