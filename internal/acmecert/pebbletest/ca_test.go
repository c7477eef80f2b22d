package pebbletest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// An authority is Pebble at an address that stays the same while it is down and up again.
type authority struct {
	t       *testing.T
	address string
	root    string         // file that its own address is checked with
	issued  *x509.CertPool // roots of what it issues
	pair    tls.Certificate
	handler http.Handler
	server  *http.Server
	orders  atomic.Int64
}

// The account that exists at the authority.
const keyID, macKey = "the-account", "c2VjcmV0LW9mLXRoZS1hdXRob3JpdHktMDAwMDAwMDAwMA"

// newAuthority returns one that is down. It looks for answers on these ports of 127.0.0.1, whatever
// the domain, and its certificates are valid for so long. When it is bound, an
// account must be bound to keyID.
func newAuthority(t *testing.T, httpPort, tlsPort int, valid time.Duration, bound bool) *authority {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	c := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(valid.Seconds())}})
	v := va.New(quiet, httpPort, tlsPort, false, resolver(t), store)
	if err := store.AddExternalAccountKeyByID(keyID, macKey); err != nil {
		t.Fatal(err)
	}
	front := wfe.New(quiet, store, v, c, []string{"pebble.letsencrypt.org"}, false, bound, 1, 1)
	a := &authority{t: t, address: freeAddress(t), issued: x509.NewCertPool(), handler: front.Handler()}
	root, err := x509.ParseCertificate(c.GetRootCert(0).DER)
	if err != nil {
		t.Fatal(err)
	}
	a.issued.AddCert(root)
	a.makePair()
	t.Cleanup(a.down)
	return a
}

// makePair makes the certificate of the address.
func (a *authority) makePair() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	a.root = filepath.Join(a.t.TempDir(), "root.pem")
	if err := os.WriteFile(a.root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) up() {
	a.t.Helper()
	l, err := net.Listen("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.server = &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/order-plz") {
			a.orders.Add(1)
		}
		a.handler.ServeHTTP(w, r)
	})}
	go func() { _ = a.server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.pair}})) }()
}

func (a *authority) down() {
	if a.server != nil {
		_ = a.server.Close()
	}
}

// directory is where rollcall finds the authority.
func (a *authority) directory() string { return "https://" + a.address + "/dir" }

// resolver serves the address of every name, which is 127.0.0.1, over TCP.
func resolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

var nextPort atomic.Int64

// freeAddress returns one that nothing listens on, each time another, below those that the kernel
// gives connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		p := 20_000 + (int64(os.Getpid())*50+nextPort.Add(1))%10_000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
