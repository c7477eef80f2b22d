package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
)

// Files are the CA bundle and the client certificate for Redis. They are read for every connection, so that
// renewed ones need no restart.
type Files struct {
	CA        string // file of authorities; empty for those of the system
	Cert, Key string // files of the certificate that we show; empty for none
}

// check reads the files once, so that a mistake is told before anything starts.
func (t Files) check() error {
	if (t.Cert == "") != (t.Key == "") {
		return fmt.Errorf("%w: of ssl_certfile and ssl_keyfile it has only one", ErrURL)
	}
	if _, err := t.roots(); err != nil {
		return fmt.Errorf("%w: ssl_ca_certs: %w", ErrURL, err)
	}
	if t.Cert == "" {
		return nil
	}
	if _, err := t.pair(); err != nil {
		return fmt.Errorf("%w: ssl_certfile, ssl_keyfile: %w", ErrURL, err)
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

const maxPEM = 1 << 20

// readPEM reads a file that may be named by mistake: a pipe would never end.
func readPEM(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return nil, fmt.Errorf("%.80s is not a file of certificates", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block == nil {
		return nil, fmt.Errorf("%.80s holds nothing in PEM", name)
	}
	return b, nil
}

// dial connects to addr. The certificate found there must be for the host of addr or for one that the URL names: nodes of
// a Cluster and Redis behind Sentinels are told by their addresses, and often have one certificate for one name.
func (t Files) dial(ctx context.Context, addr string, d *net.Dialer, named []string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cfg := t.client(append([]string{host}, named...))
	return (&tls.Dialer{NetDialer: d, Config: cfg}).DialContext(ctx, "tcp", addr)
}

// client returns how to speak TLS to a server that may be any of hosts.
func (t Files) client(hosts []string) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: nameOf(hosts),
		// The name is checked against several, and the files are read anew, both of which the package cannot do by itself.
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return t.verify(cs, hosts) },
	}
	if t.Cert != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.pair() }
	}
	return cfg
}

// nameOf returns the host to ask for: the first that is a name, for an address cannot be asked for.
func nameOf(hosts []string) string {
	i := slices.IndexFunc(hosts, func(h string) bool { return net.ParseIP(h) == nil })
	return hosts[max(i, 0)]
}

func (t Files) verify(cs tls.ConnectionState, hosts []string) error {
	roots, err := t.roots()
	if err != nil {
		return fmt.Errorf("ssl_ca_certs: %w", err)
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(opts); err != nil {
		return err
	}
	for _, h := range hosts {
		if err = leaf.VerifyHostname(h); err == nil {
			return nil
		}
	}
	return leaf.VerifyHostname(hosts[0])
}
