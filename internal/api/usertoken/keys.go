package usertoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

// Keys are what proves the tokens of one app. The zero value proves none.
type Keys struct {
	Secret    string // of HS256; "" is none
	OldSecret string // right beside it while that is being replaced
	Public    []PublicKey
	URL       string // of a JSON Web Key Set; "" is none
	Algorithm string // of the keys at URL
}

// A PublicKey verifies tokens of one algorithm.
type PublicKey struct {
	Algorithm string
	Key       crypto.PublicKey
}

// Algorithms are those of public keys.
var Algorithms = []string{"RS256", "ES256", "EdDSA"}

// None reports whether k proves no token.
func (k *Keys) None() bool { return k.Secret == "" && len(k.Public) == 0 && k.URL == "" }

const (
	maxKeys = 64   // of one app, by PEM or at one URL
	minRSA  = 2048 // bits
	maxRSA  = 8192
)

var errKeyKind = errors.New("not an RSA, P-256 or Ed25519 public key")

// algorithmOf returns the only algorithm that key is good for.
func algorithmOf(key crypto.PublicKey) (string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return "", fmt.Errorf("an RSA key has %d bits, not between %d and %d", n, minRSA, maxRSA)
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return "ES256", nil
		}
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", errKeyKind
}

// ParsePEM returns the public keys in text. The algorithm of each is that of its kind.
func ParsePEM(text string) (keys []PublicKey, err error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		var key any
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		default:
			err = fmt.Errorf("a block is %.40q; PUBLIC KEY is expected", block.Type)
		}
		if err != nil {
			return nil, err
		}
		algorithm, err := algorithmOf(key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, PublicKey{algorithm, key})
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("no PEM block of a public key in it")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("%d keys, more than %d", len(keys), maxKeys)
	}
	return keys, nil
}

// CheckURL returns why keys cannot be fetched from address: it is https, or http on loopback.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return errors.New("not an https:// address")
	}
	switch u.Scheme {
	case "https":
		return nil
	case "http":
		ip, err := netip.ParseAddr(u.Hostname())
		if u.Hostname() == "localhost" || err == nil && ip.IsLoopback() {
			return nil
		}
	}
	return errors.New("not an https:// address; http is for loopback only")
}
