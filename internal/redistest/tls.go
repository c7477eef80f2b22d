package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A CA is a certificate authority of a test's own.
type CA struct {
	File string // its certificate

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A Pair are the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// NewCA makes an authority that keeps its files in dir.
func NewCA(dir string) (*CA, error) {
	ca := &CA{File: filepath.Join(dir, "ca.pem"), dir: dir}
	var err error
	if ca.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	t := template("authority of a test")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &ca.key.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return ca, writePEM(ca.File, "CERTIFICATE", der)
}

// RunCA is NewCA for one test.
func RunCA(t testing.TB) *CA {
	t.Helper()
	ca, err := NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

// Issue signs a certificate for servers and clients on the hosts, names or addresses. Each kind of
// certificate has a name for its files.
func (ca *CA) Issue(name string, notAfter time.Time, hosts ...string) (Pair, error) {
	p := Pair{filepath.Join(ca.dir, name+".pem"), filepath.Join(ca.dir, name+".key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, fmt.Errorf("make a key: %w", err)
	}
	t := template(name)
	t.NotAfter = notAfter
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return p, fmt.Errorf("make a certificate: %w", err)
	}
	if err := writePEM(p.Cert, "CERTIFICATE", der); err != nil {
		return p, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, fmt.Errorf("write a key: %w", err)
	}
	return p, writePEM(p.Key, "PRIVATE KEY", secret)
}

// TLS makes what a server on loopback needs: a certificate for 127.0.0.1 and localhost.
func (ca *CA) TLS() (*TLS, error) {
	p, err := ca.Issue("server", time.Now().Add(time.Hour), "127.0.0.1", "localhost")
	if err != nil {
		return nil, err
	}
	return &TLS{CA: ca.File, Pair: p}, nil
}

func writePEM(file, kind string, der []byte) error {
	err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", kind, err)
	}
	return nil
}

// TLS is how servers speak it, among themselves too. A nil one stands for servers that do not.
type TLS struct {
	CA string // file
	Pair
	Clients bool // they must show a certificate
}

// port returns the settings of a server that listens on port.
func (k *TLS) port(port int) []string {
	if k == nil {
		return []string{"port " + fmt.Sprint(port)}
	}
	clients := "no"
	if k.Clients {
		clients = "yes"
	}
	return []string{
		"port 0", "tls-port " + fmt.Sprint(port), "tls-ca-cert-file " + k.CA, "tls-cert-file " + k.Cert, "tls-key-file " + k.Key,
		"tls-auth-clients " + clients, "tls-replication yes",
	}
}

// dial connects to a server of ours as a client that verifies no certificate: what is under test is
// another client.
func (k *TLS) dial(addr string) (*Conn, error) {
	if k == nil {
		return Dial(addr)
	}
	pair, err := tls.LoadX509KeyPair(k.Cert, k.Key)
	if err != nil {
		return nil, fmt.Errorf("dial redis: %w", err)
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: Patience}, "tcp", addr, &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{pair},
	})
	if err != nil {
		return nil, fmt.Errorf("dial redis: %w", err)
	}
	return newConn(c), nil
}

// New is [New] over TLS.
func (k *TLS) New(args ...string) (*Server, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	return newOn(k, ports[0], args...)
}

// NewCluster is [NewCluster] over TLS.
func (k *TLS) NewCluster(primaries int, replicas bool) (*Cluster, error) {
	for tries := 1; ; tries++ {
		c := &Cluster{}
		err := c.start(k, primaries, replicas)
		if err == nil {
			return c, nil
		}
		c.Close()
		if tries == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return nil, err
		}
	}
}

// NewSentinels is [NewSentinels] over TLS.
func (k *TLS) NewSentinels(replicas int) (*Sentinels, error) {
	s := &Sentinels{}
	if err := s.start(k, replicas); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
