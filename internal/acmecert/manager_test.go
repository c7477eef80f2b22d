package acmecert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/acme"
)

const (
	directory = "https://ca.example/directory"
	day       = 24 * time.Hour
)

// issue returns a certificate of domain that is valid for so long, and its file.
func issue(t *testing.T, domain string, serial int64, valid time.Duration) (*tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{domain}, NotBefore: time.Now(), NotAfter: time.Now().Add(valid),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encode(key, [][]byte{der})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := decode(domain, text)
	if err != nil {
		t.Fatal(err)
	}
	return cert, text
}

// managed returns a manager with an order of the test's in place of a CA.
func managed(t *testing.T, dir string, order func(domain string) (*tls.Certificate, error), domains ...string) *Manager {
	t.Helper()
	m, err := New(Config{Domains: domains, Directory: directory, Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err == nil {
		err = m.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	m.order = func(_ context.Context, domain string) (*tls.Certificate, error) { return order(domain) }
	return m
}

// run runs m for so long.
func run(m *Manager, long time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	m.Run(ctx)
}

func TestCertificatesAreRenewedWhenAThirdIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ordered := map[string][]time.Time{}
		m := managed(t, t.TempDir(), func(domain string) (*tls.Certificate, error) {
			ordered[domain] = append(ordered[domain], time.Now())
			cert, _ := issue(t, domain, int64(len(ordered[domain])), 90*day)
			return cert, nil
		}, "a.example", "B.example")
		if !m.Expires().IsZero() {
			t.Error("it says when a certificate ends that it does not have")
		}
		run(m, 100*day)
		for _, domain := range []string{"a.example", "b.example"} {
			at := ordered[domain]
			if len(at) != 2 || at[1].Sub(at[0]) < 57*day || at[1].Sub(at[0]) > 60*day {
				t.Errorf("%s was ordered at %v", domain, at)
			}
		}
		if left := time.Until(m.Expires()); left < 45*day || left > 50*day {
			t.Errorf("the first certificate ends in %v", left)
		}
	})
}

func TestAFailedOrderIsRepeatedAtAPace(t *testing.T) {
	limited := http.Header{"Retry-After": {"7200"}}
	for _, c := range []struct {
		name     string
		err      error
		of       string        // the domain that fails
		least    int           // orders in six hours
		most     int           //
		atFirst  time.Duration // the least pause after the first
		withinIt time.Duration
	}{
		{"the CA is down", errors.New("connection refused"), "a.example", 13, 16, 5 * time.Second, 6 * time.Second},
		{"the CA is ill", &acme.Error{StatusCode: 503}, "a.example", 13, 16, 5 * time.Second, 6 * time.Second},
		{"the CA refuses", &acme.AuthorizationError{}, "a.example", 9, 12, time.Minute, 67 * time.Second},
		{"the CA limits", &acme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: limited}, "a.example", 3, 4, 2 * time.Hour, 133 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			m := managed(t, t.TempDir(), func(domain string) (*tls.Certificate, error) {
				if domain == c.of {
					at = append(at, time.Now())
					return nil, c.err
				}
				cert, _ := issue(t, domain, 1, 90*day)
				return cert, nil
			}, "a.example", "b.example")
			run(m, 6*time.Hour)
			if len(at) < c.least || len(at) > c.most || at[1].Sub(at[0]) < c.atFirst || at[1].Sub(at[0]) > c.withinIt {
				t.Errorf("%s: %d orders, at %v", c.name, len(at), at)
			}
			if m.certificate("b.example") == nil || m.certificate("a.example") != nil {
				t.Errorf("%s: a domain keeps another from its certificate", c.name)
			}
		})
	}
}

func TestAStartShowsWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	fails := func(string) (*tls.Certificate, error) { return nil, errors.New("the CA is down") }
	m := managed(t, dir, fails, "a.example", "b.example", "c.example")
	_, text := issue(t, "a.example", 7, 90*day)
	_, other := issue(t, "a.example", 8, 90*day)
	for name, b := range map[string][]byte{"a.example.pem": text, "b.example.pem": other, "c.example.pem": []byte("x")} {
		if err := m.cache.write(name, b); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	m, err := New(Config{Domains: []string{"a.example", "b.example", "c.example"}, Directory: directory, Dir: dir, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err == nil {
		err = m.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	if c := m.certificate("a.example"); c == nil || c.Leaf.SerialNumber.Int64() != 7 {
		t.Errorf("shows %v", c)
	}
	if m.certificate("b.example") != nil || m.certificate("c.example") != nil {
		t.Error("shows what is no certificate of the domain")
	}
	if strings.Count(out.String(), "kept certificate is unreadable") != 2 {
		t.Errorf("the log has\n%s", &out)
	}
	for _, name := range []string{"", "x-7e34d1ba"} {
		st, err := os.Stat(filepath.Dir(filepath.Join(string(m.cache), name)))
		if err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", st, err)
		}
	}
	if other := managed(t, dir, fails, "a.example"); other.cache != m.cache {
		t.Error("one CA has two directories")
	}
	staging, err := openCache(dir, "https://ca.example/staging")
	if err != nil || staging == m.cache {
		t.Errorf("two CAs share %s (%v)", staging, err)
	}
}

func TestNamesThatAreNotConfiguredStartNothing(t *testing.T) {
	cert, _ := issue(t, "a.example", 7, 90*day)
	orders := 0
	m := managed(t, t.TempDir(), func(string) (*tls.Certificate, error) { orders++; return cert, nil }, "a.example")
	shake := func(name string, protocols ...string) (*tls.Conn, error) {
		a, b := net.Pipe()
		go func() {
			s := tls.Server(b, m.Config())
			_ = s.Handshake()
			_ = s.Close()
		}()
		c := tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
		return c, c.Handshake()
	}
	refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), "tls: unrecognized name") }
	if _, err := shake("a.example"); !refused(err) {
		t.Errorf("without a certificate the handshake ends with %v", err)
	}
	m.show("a.example", cert)
	for _, name := range []string{"b.example", "x.a.example", "example"} {
		if _, err := shake(name); !refused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"a.example", "A.Example", ""} {
		if c, err := shake(name, "http/1.1"); err != nil || c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() != 7 {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := shake("a.example", acme.ALPNProto); !refused(err) {
		t.Errorf("a challenge that is not under way: %v", err)
	}
	if orders > 0 {
		t.Errorf("handshakes led to %d orders", orders)
	}
}

func TestChallengesAreAnsweredWhileTheyAreUnderWay(t *testing.T) {
	m := managed(t, t.TempDir(), nil, "a.example")
	key, err := m.cache.account()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.cache.account(); err != nil || !again.Equal(key) {
		t.Errorf("the account has another key: %v", err)
	}
	m.client = &acme.Client{Key: key}
	h := m.Handler(http.NotFoundHandler())
	get := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", Path+"tok", nil))
		return w.Code, w.Body.String()
	}
	withdraw, err := m.answer(&acme.Challenge{Type: overHTTP, Token: "tok"}, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if code, text := get(); code != 200 || !strings.HasPrefix(text, "tok.") {
		t.Errorf("%d %q", code, text)
	}
	withdraw()
	if code, _ := get(); code != http.StatusNotFound {
		t.Errorf("a challenge that is over is answered with %d", code)
	}
	if withdraw, err = m.answer(&acme.Challenge{Type: overTLS, Token: "tok"}, "a.example"); err != nil {
		t.Fatal(err)
	}
	if m.answers.proof("A.example") == nil {
		t.Error("the challenge over TLS is not answered")
	}
	withdraw()
	if m.answers.proof("a.example") != nil {
		t.Error("a challenge that is over is answered")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, want := range map[string]string{
		"im.example.com": "", "IM.Example.COM": "", "xn--fiq228c.example": "", "a-b.c1.example": "",
		"*.example.com": "wildcard", "10.1.2.3": "not an address", "::1": "not an address", "im": "full name", "im.example.com.": "full name",
		"im.example.com:443": "full name", "https://im.example.com": "full name", "即时.example": "xn--", "": "full name", "-a.example": "full name",
		"../x.example": "full name", "a.example/..": "full name", "a b.example": "full name", strings.Repeat("a.", 130) + "example": "full name", "1.2.3.4.5": "full name",
	} {
		err := CheckDomain(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for url, ok := range map[string]bool{directory: true, "https://[::1]:14000/dir": true, "http://ca.example/": false, "ca.example": false, "https://": false, "https://u:p@ca.example/": false} {
		if err := CheckDirectory(url); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	for email, ok := range map[string]bool{"ops@example.com": true, "ops": false, "@example.com": false, "a@b": false, "a@x.example,b@x.example": false} {
		if err := CheckEmail(email); (err == nil) != ok {
			t.Errorf("%q: %v", email, err)
		}
	}
	for _, c := range []struct {
		id, mac string
		ok      bool
	}{{"", "", true}, {"kid", "c2VjcmV0LW9mLXRoZS1DQQ", true}, {"kid", "c2VjcmV0LW9mLXRoZS1DQQ==", true}, {"kid", "", false}, {"", "c2Vj", false}, {"kid", "s:e:c", false}} {
		if err := CheckBinding(c.id, c.mac); (err == nil) != c.ok || err != nil && c.mac != "" && strings.Contains(err.Error(), c.mac) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := CheckRoot(none); err == nil {
		t.Error("a file that is not there is taken for roots")
	}
	_ = os.WriteFile(none, []byte("x"), 0o600)
	if err := CheckRoot(none); err == nil || CheckRoot("") != nil {
		t.Errorf("%v", err)
	}
}
