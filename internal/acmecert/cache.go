package acmecert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"rollcall/internal/disk"
)

// A cache is the directory of one CA. It holds the key of the account, and for each domain a file
// with the key and the certificates of its chain. Certificates of a CA for tests are not taken for
// those of another.
type cache string

const (
	accountFile = "account.key"
	certSuffix  = ".pem"
)

// openCache returns the directory of a CA, for its owner only.
func openCache(dir, directory string) (cache, error) {
	u, err := url.Parse(directory)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(directory))
	c := cache(filepath.Join(dir, u.Hostname()+"-"+hex.EncodeToString(sum[:4])))
	for _, d := range []string{dir, string(c)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", err
		}
		if err := os.Chmod(d, 0o700); err != nil {
			return "", err
		}
	}
	return c, nil
}

func (c cache) file(name string) string { return filepath.Join(string(c), name) }

func (c cache) write(name string, text []byte) error {
	return disk.WriteFile(disk.OS{}, c.file(name), text)
}

// certificate returns the one that is kept for a domain; an error that matches [fs.ErrNotExist]
// when there is none.
func (c cache) certificate(domain string) (*tls.Certificate, error) {
	text, err := os.ReadFile(c.file(domain + certSuffix))
	if err != nil {
		return nil, err
	}
	return decode(domain, text)
}

// account returns the key of the account, which is made once.
func (c cache) account() (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(c.file(accountFile))
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if text, err = encode(key, nil); err != nil {
			return nil, err
		}
		return key, c.write(accountFile, text)
	}
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(text)
	if b == nil {
		return nil, fmt.Errorf("%s is no key in PEM; remove it to have another account made", c.file(accountFile))
	}
	return x509.ParseECPrivateKey(b.Bytes)
}

// encode writes a key and a chain of certificates in PEM.
func encode(key *ecdsa.PrivateKey, chain [][]byte) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = pem.Encode(&out, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	for _, c := range chain {
		err = errors.Join(err, pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c}))
	}
	return out.Bytes(), err
}

// decode reads what encode wrote, for a domain.
func decode(domain string, text []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &cert, cert.Leaf.VerifyHostname(domain)
}
