package check_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificates are files of certificates for localhost, right and wrong ones.
type certificates struct {
	ca    string // the authority that the machine knows
	files map[string]pair
}

type pair struct{ cert, key string }

func makeCertificates(t *testing.T) *certificates {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	key := newKey(t)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of the tests"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c := &certificates{ca: filepath.Join(dir, "ca.pem"), files: map[string]pair{}}
	write(t, c.ca, "CERTIFICATE", sign(t, authority, authority, key, key))
	for name, of := range map[string]struct {
		host   string
		begins time.Duration
		ends   time.Duration
		own    bool
	}{
		"":        {"localhost", -time.Hour, 900 * time.Hour, false},
		"expired": {"localhost", -47 * time.Hour, -time.Hour, false},
		"soon":    {"localhost", -47 * time.Hour, 50 * time.Hour, false},
		"other":   {"other.example", -time.Hour, 900 * time.Hour, false},
		"own":     {"localhost", -time.Hour, 900 * time.Hour, true},
	} {
		leafKey := newKey(t)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: of.host}, DNSNames: []string{of.host}, NotBefore: now.Add(of.begins), NotAfter: now.Add(of.ends),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		parent, signer := authority, key
		if of.own {
			parent, signer = leaf, leafKey
		}
		p := pair{filepath.Join(dir, name+"cert.pem"), filepath.Join(dir, name+"key.pem")}
		write(t, p.cert, "CERTIFICATE", sign(t, leaf, parent, leafKey, signer))
		der, err := x509.MarshalPKCS8PrivateKey(leafKey)
		if err != nil {
			t.Fatal(err)
		}
		write(t, p.key, "PRIVATE KEY", der)
		c.files[name] = p
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
