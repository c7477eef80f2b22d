package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// soon is how long before its end a certificate should have been renewed: those of ninety days are
// renewed a month before.
const soon = 7 * 24 * time.Hour

// tls verifies the certificate as an app does, and asks for what old phones speak.
func (c *checker) tls(ctx context.Context) (string, error) {
	if c.base.Scheme != "https" {
		return "", skip("the URL is http; old apps ask for https")
	}
	state, err := c.handshake(ctx, 0)
	if err != nil {
		return "", c.untrusted(err)
	}
	c.trusted = true
	leaf := state.PeerCertificates[0]
	left := leaf.NotAfter.Sub(c.Now())
	if left < soon {
		return "", failed(cureTLS, "the certificate ends in %s, on %s", days(left), leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if _, err := c.handshake(ctx, tls.VersionTLS12); err != nil {
		return "", failed(cureOldTLS, "TLS 1.2 is refused, and phones before Android 10 and iOS 12.2 speak no later one: %v", reason(err))
	}
	old := ""
	if _, err := c.handshake(ctx, tls.VersionTLS11); err != nil {
		old = "; TLS 1.1 is refused, which only phones before Android 5 need"
	}
	return fmt.Sprintf("%s; the certificate is good for %s, by %s%s", tls.VersionName(state.Version), days(left), plain(leaf.Issuer.CommonName), old), nil
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", int(d.Hours()/24)) }

// handshake makes a TLS connection of the version most at most; 0 is any.
func (c *checker) handshake(ctx context.Context, most uint16) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cfg := &tls.Config{ServerName: c.base.Hostname(), MaxVersion: most, NextProtos: []string{"http/1.1"}}
	cfg.MinVersion = tls.VersionTLS10 //nolint:gosec // to see what is refused
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: cfg}
	conn, err := d.DialContext(ctx, "tcp", c.hostPort())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// untrusted says why no connection could be made that a client trusts.
func (c *checker) untrusted(err error) error {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return failed(cureTLS, "the certificate is not for %s: it names %s", c.base.Hostname(), plain(fmt.Sprint(name.Certificate.DNSNames)))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && c.Now().Before(invalid.Cert.NotBefore):
		return failed(cureTLS, "the certificate begins on %s, later than this machine's clock", invalid.Cert.NotBefore.UTC().Format(time.DateOnly))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return failed(cureTLS, "the certificate ended on %s", invalid.Cert.NotAfter.UTC().Format(time.DateOnly))
	case errors.As(err, &authority):
		return failed(cureTLS, "no authority that this machine knows has signed the certificate, or those between are not sent")
	case errors.Is(err, context.DeadlineExceeded):
		return failed(cureNoAnswer, "the TLS handshake was not answered within %v", within)
	}
	return failed(cureTLS, "TLS failed: %v", reason(err))
}
