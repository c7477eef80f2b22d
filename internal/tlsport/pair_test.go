package tlsport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// write makes a pair that ends at the time end, in seconds, and returns the files.
func write(t *testing.T, dir string, end int64) (cert, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(end, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	put(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	put(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return cert, key
}

func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPairThatIsWrongLeavesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	cert, key := write(t, dir, 2e9)
	p, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	check := func(step string, changed, fails bool, end int64) {
		t.Helper()
		got, err := p.Check()
		if got != changed || (err != nil) != fails || p.Expires().Unix() != end {
			t.Errorf("%s: changed %v, %v, ends %v", step, got, err, p.Expires())
		}
	}
	check("nothing happened", false, false, 2e9)
	write(t, dir, 2e9+1)
	check("replaced", true, false, 2e9+1)
	put(t, key, []byte("x"))
	check("half is written", false, false, 2e9+1)
	check("and stays so", false, true, 2e9+1)
	check("which is said once", false, false, 2e9+1)
	if _, err := p.Prepare(cert, key); err == nil {
		t.Error("a reload takes what is no pair")
	}
	_ = os.Remove(cert)
	check("gone", false, false, 2e9+1)
	check("and stays so", false, true, 2e9+1)
	check("which is said once", false, false, 2e9+1)
	write(t, dir, 2e9+2)
	check("put right", true, false, 2e9+2)
}
