package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rollcall/internal/acmecert"
	"rollcall/internal/configload"
	"rollcall/internal/systemd"
	"rollcall/internal/tlsport"
	"rollcall/server/config"
	"rollcall/server/port"
)

// certificates are those of the port for TLS: from files, or by ACME. The other one is nil, and
// both are without that port.
type certificates struct {
	pair *tlsport.Pair
	acme *acmecert.Manager
}

// openCertificates reads the files, or prepares what ACME needs.
func (s *Server) openCertificates() (err error) {
	c := &s.cfg.TLS
	if len(c.Domains) == 0 {
		s.certs.pair, err = tlsport.Load(c.Cert, c.Key)
		return err
	}
	s.certs.acme, err = acmecert.New(acmecert.Config{
		Domains: c.Domains, Email: c.Email, Directory: c.ACMEDirectory, Root: c.ACMECA, KeyID: c.ACMEKeyID, MACKey: c.ACMEMACKey.Reveal(), Log: s.log,
		Dir: filepath.Join(s.cfg.Data, "acme"), UserAgent: "rollcall/" + Release,
	})
	return err
}

// tlsConfig returns how connections to the port for TLS are encrypted.
func (c *certificates) tlsConfig() *tls.Config {
	if c.acme != nil {
		return c.acme.Config()
	}
	return c.pair.Config()
}

// expires returns when the certificates end; nil when there are none.
func (c *certificates) expires() func() time.Time {
	switch {
	case c.acme != nil:
		return c.acme.Expires
	case c.pair != nil:
		return c.pair.Expires
	}
	return nil
}

// proxyBeyond is the number of connections from which a proxy in front takes less memory than TLS
// here; tlsMemory is what an idle one takes.
const (
	proxyBeyond = 50_000
	tlsMemory   = 20 << 10
)

// recommendProxy says so where there may be that many connections.
func (s *Server) recommendProxy(connections int) {
	if connections > proxyBeyond {
		s.log.Info("proxy recommended for TLS", "beyond_connections", proxyBeyond, "max_connections", connections, "bytes_each", tlsMemory)
	}
}

// openACME shows the certificates that are kept, and opens the port on which a CA asks for answers
// over HTTP, where that is not the port of apps. Without it challenges over TLS are left.
func (s *Server) openACME() error {
	if s.certs.acme == nil {
		return nil
	}
	if err := s.certs.acme.Open(); err != nil {
		return fmt.Errorf("certificates of tls.domains: %w", err)
	}
	c := &s.cfg.TLS
	if _, open, _ := net.SplitHostPort(s.Listen()); open == "80" || c.ACMEListen == "" {
		return nil
	}
	p := port.Port{Setting: "tls.acme_listen", Address: c.ACMEListen, Max: challengeConnections, Write: port.LaneWrite}
	l, err := port.Bind(p, s.cfg.HTTP, &systemd.Inherited{}, s.log)
	if err != nil {
		s.log.Warn("port for ACME challenges failed; those over TLS are answered", "err", err, "hint", config.HintOf(err))
		return nil
	}
	l.Mount(s.certs.acme.Handler(http.NotFoundHandler()), true)
	l.Serve()
	s.onStop(l.Stop)
	return nil
}

// challengeConnections is how many connections the port for challenges has open.
const challengeConnections = 64

// startCertificates starts what keeps the certificates in force.
func (s *Server) startCertificates(ctx context.Context) {
	switch {
	case s.certs.acme != nil:
		s.loops.Go(func() { s.certs.acme.Run(ctx) })
	case s.certs.pair != nil:
		s.loops.Go(func() { s.every(ctx, time.Second, s.checkCertificate) })
	}
}

// checkCertificate takes a certificate that was replaced in its files.
func (s *Server) checkCertificate(context.Context) {
	changed, err := s.certs.pair.Check()
	switch {
	case err != nil:
		s.log.Warn("certificate reload failed", "err", err)
	case changed:
		s.log.Info("certificate reloaded", "expires", s.certs.pair.Expires())
	}
}

// filesTaken reports whether a reload can take the files of cfg up: where there is no certificate
// from files, before or after, they wait for the next start.
func (s *Server) filesTaken(cfg *config.Config) bool {
	return s.certs.pair != nil && cfg.TLS.Cert != ""
}

// reloadCertificate takes the certificate that the files of cfg hold now.
func (s *Server) reloadCertificate(cfg *config.Config) (func(), error) {
	if !s.filesTaken(cfg) {
		return func() {}, nil
	}
	return s.certs.pair.Prepare(cfg.TLS.Cert, cfg.TLS.Key)
}

// withoutFiles returns settings with those of the certificate's files waiting for the next start.
func withoutFiles(settings []configload.Setting) []configload.Setting {
	settings = slices.Clone(settings)
	for i := range settings {
		if s := &settings[i]; strings.HasPrefix(s.Key, "tls.") {
			s.Live = false
		}
	}
	return settings
}
