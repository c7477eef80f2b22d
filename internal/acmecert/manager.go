// Package acmecert obtains certificates for domains from a CA by ACME, keeps them in a directory,
// and renews them before they end.
//
// Orders run in one goroutine, one after the other. A handshake reads what that goroutine has
// published: it waits for no CA, and a name that is not configured starts nothing.
package acmecert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"rollcall/internal/disk"
	"rollcall/internal/tlsport"
)

// Config says which certificates a [Manager] obtains, and from which CA.
type Config struct {
	Domains   []string
	Email     string // of the account; may be empty
	Directory string // URL of the CA
	// File of the roots that the CA's own certificate is checked with, in PEM; "" is the system's.
	Root      string
	KeyID     string // of the account at the CA that this one is bound to; "" is none
	MACKey    string // of KeyID, in base64url
	Dir       string // where certificates and keys are kept
	UserAgent string
	Log       *slog.Logger
}

// A Manager holds the certificates of its domains.
type Manager struct {
	cfg    Config
	cache  cache
	http   *http.Client
	client *acme.Client // with a registered account; nil: none yet
	order  func(ctx context.Context, domain string) (*tls.Certificate, error)
	jobs   []*job

	shown   atomic.Pointer[map[string]*tls.Certificate]
	answers answers
}

// A job is the next order for a domain.
type job struct {
	domain   string
	due      time.Time
	failures int // since the last certificate
}

// New returns a manager that shows no certificate before [Manager.Open], and orders none before
// [Manager.Run].
func New(cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, answers: answers{texts: map[string]string{}, proofs: map[string]*tls.Certificate{}}}
	m.order = m.obtain
	m.shown.Store(&map[string]*tls.Certificate{})
	for _, domain := range cfg.Domains {
		m.jobs = append(m.jobs, &job{domain: strings.ToLower(domain)})
	}
	var err error
	m.http, err = client(cfg.Root)
	return m, err
}

// Open shows the certificates that are kept in the directory, which it makes when there is none.
func (m *Manager) Open() (err error) {
	if m.cache, err = openCache(m.cfg.Dir, m.cfg.Directory); err != nil {
		return err
	}
	for _, j := range m.jobs {
		j.due = time.Now()
		switch cert, err := m.cache.certificate(j.domain); {
		case err == nil:
			m.show(j.domain, cert)
			j.due = renewal(cert.Leaf)
		case !errors.Is(err, os.ErrNotExist):
			m.cfg.Log.Warn("kept certificate is unreadable; another is ordered", "domain", j.domain, "err", err)
		}
	}
	return nil
}

// CheckRoot returns an error when root is no file of certificates in PEM. The empty name is the
// system's roots.
func CheckRoot(root string) error {
	_, err := client(root)
	return err
}

// client returns what reaches the CA.
func client(root string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if root != "" {
		pem, err := disk.ReadSmall(root)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", root)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: t, Timeout: 30 * time.Second}, nil
}

// Run orders certificates that are missing or near their end, until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	defer m.http.CloseIdleConnections()
	for {
		next := slices.MinFunc(m.jobs, func(a, b *job) int { return a.due.Compare(b.due) })
		t := time.NewTimer(time.Until(next.due))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			m.run(ctx, next)
		}
	}
}

// run orders the certificate of j and sets when it is due again.
func (m *Manager) run(ctx context.Context, j *job) {
	cert, err := m.order(ctx, j.domain)
	now := time.Now()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.client = nil // another address or a new account may be what helps
		j.failures++
		wait := pause(j.failures, err)
		j.due = now.Add(wait)
		left := "none"
		if c := m.certificate(j.domain); c != nil {
			left = c.Leaf.NotAfter.UTC().Format(time.RFC3339)
		}
		m.cfg.Log.Warn("certificate order failed", "domain", j.domain, "err", err, "retry_in", wait, "valid_until", left)
	default:
		j.failures, j.due = 0, renewal(cert.Leaf)
		// Where the clocks differ it may be due at once; a third of its life, or a day, is the
		// least.
		if least := now.Add(min(lifetime(cert.Leaf)/3, 24*time.Hour)); j.due.Before(least) {
			j.due = least
		}
		m.show(j.domain, cert)
		m.cfg.Log.Info("certificate obtained", "domain", j.domain, "valid_until", cert.Leaf.NotAfter, "renewal", j.due)
	}
}

func lifetime(c *x509.Certificate) time.Duration {
	// What claims less would be ordered without end.
	return max(c.NotAfter.Sub(c.NotBefore), 15*time.Second)
}

// renewal returns when a certificate is renewed: when a third of its life is left, and up to a
// thirtieth before, so that those of many servers are not renewed at once.
func renewal(c *x509.Certificate) time.Time {
	life := lifetime(c)
	return c.NotAfter.Add(-life/3 - rand.N(life/30+1))
}

// The pause after a failure doubles with each. A CA that answered counts what fails: five failed
// validations in an hour are too many for one.
const (
	firstPause   = 5 * time.Second
	refusedPause = time.Minute
	longestPause = time.Hour
)

// pause returns how long to wait after a number of failures, the last of which is err.
func pause(failures int, err error) time.Duration {
	first := firstPause
	var (
		said  *acme.Error
		proof *acme.AuthorizationError
		order *acme.OrderError
	)
	if errors.As(err, &said) && said.StatusCode < http.StatusInternalServerError || errors.As(err, &proof) || errors.As(err, &order) {
		first = refusedPause
	}
	wait := min(first<<min(failures-1, 10), longestPause)
	if said != nil {
		if after, limited := acme.RateLimit(said); limited {
			wait = max(wait, min(after, 24*time.Hour))
		}
	}
	return wait + rand.N(wait/10)
}

// show has connections from now on get cert for domain.
func (m *Manager) show(domain string, cert *tls.Certificate) {
	next := map[string]*tls.Certificate{domain: cert}
	for d, c := range *m.shown.Load() {
		if d != domain {
			next[d] = c
		}
	}
	m.shown.Store(&next)
}

// certificate returns that of a name, and of the first domain for a client that names none; nil
// when there is none.
func (m *Manager) certificate(name string) *tls.Certificate {
	if name == "" {
		name = m.jobs[0].domain
	}
	return (*m.shown.Load())[strings.ToLower(strings.TrimSuffix(name, "."))]
}

// Config returns how connections are encrypted. A name without a certificate ends the handshake
// with the alert unrecognized_name.
func (m *Manager) Config() *tls.Config {
	cfg := tlsport.Config(func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return m.certificate(h.ServerName), nil })
	proof := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return m.answers.proof(h.ServerName), nil },
	}
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == acme.ALPNProto {
			return proof, nil
		}
		return nil, nil
	}
	return cfg
}

// Expires returns when the first of the certificates ends; the zero time when one is missing.
func (m *Manager) Expires() (first time.Time) {
	for i, j := range m.jobs {
		c := m.certificate(j.domain)
		if c == nil {
			return time.Time{}
		}
		if end := c.Leaf.NotAfter; i == 0 || end.Before(first) {
			first = end
		}
	}
	return first
}

// Path begins the paths at which a CA asks for the answer to a challenge over HTTP.
const Path = "/.well-known/acme-challenge/"

// Handler answers challenges over HTTP and passes everything else to next.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := m.answers.text(r.URL.Path)
		if text == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write([]byte(text))
	})
}

// answers are those to the challenges under way.
type answers struct {
	mu     sync.RWMutex
	texts  map[string]string           // by path, over HTTP
	proofs map[string]*tls.Certificate // by domain, over TLS
}

func (a *answers) text(path string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.texts[path]
}

func (a *answers) proof(domain string) *tls.Certificate {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.proofs[strings.ToLower(domain)]
}
