package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"

	"rollcall/internal/disk"
)

// Files are the CA bundle and the client certificate for Redis. They are read for every connection,
// so that renewed ones need no restart.
type Files struct {
	CA        string // file of authorities; empty for those of the system
	Cert, Key string // files of the certificate that we show; empty for none
}

// The settings of the files, for error texts.
const (
	settingCA   = "redis.ca"
	settingCert = "redis.cert"
	settingKey  = "redis.key"
)

// named returns the setting of the first file that is named.
func (t Files) named() string {
	switch {
	case t.CA != "":
		return settingCA
	case t.Cert != "":
		return settingCert
	}
	return settingKey
}

// check reads the files once, so that a mistake is reported before anything starts.
func (t Files) check() error {
	if _, err := t.roots(); err != nil {
		return fmt.Errorf("%s cannot be used: %w", settingCA, err)
	}
	if t.Cert == "" || t.Key == "" { // of which one alone is refused elsewhere
		return nil
	}
	if _, err := t.pair(); err != nil {
		return fmt.Errorf("%s cannot be used: %w", settingCert, err)
	}
	return nil
}

// roots returns the authorities, nil for those of the system.
func (t Files) roots() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	b, err := readPEM(t.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%.80s holds no certificate in PEM", t.CA)
	}
	return pool, nil
}

func (t Files) pair() (*tls.Certificate, error) {
	cert, err := readPEM(t.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readPEM(t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%.80s and %.80s are no certificate and its key: %w", t.Cert, t.Key, err)
	}
	return &pair, nil
}

func readPEM(name string) ([]byte, error) {
	b, err := disk.ReadSmall(name)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block == nil {
		return nil, fmt.Errorf("%.80s holds nothing in PEM", name)
	}
	return b, nil
}

// dial connects to addr. The certificate found there must be for the host of addr or for one that
// the URL names: nodes of a Cluster and Redis behind Sentinels are reported by address, and often
// have one certificate for one name. Where a name does not fit, the next is tried on a new
// connection.
func (t Files) dial(ctx context.Context, addr string, d *net.Dialer, named []string) (c net.Conn, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.RootCAs, err = t.roots(); err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w", settingCA, err)
	}
	if t.Cert != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.pair() }
	}
	for _, name := range serverNames(host, named) {
		cfg := cfg.Clone()
		cfg.ServerName = name
		c, err = (&tls.Dialer{NetDialer: d, Config: cfg}).DialContext(ctx, "tcp", addr)
		if wrong := (x509.HostnameError{}); !errors.As(err, &wrong) {
			return c, err
		}
	}
	return nil, err
}

// serverNames returns the hosts to ask for, names first: an address cannot be asked for.
func serverNames(host string, named []string) (names []string) {
	for _, h := range append([]string{host}, named...) {
		if !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	isIP := func(h string) int {
		if net.ParseIP(h) != nil {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(isIP(a), isIP(b)) })
	return names
}
