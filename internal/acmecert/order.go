package acmecert

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
)

// orderTime bounds an order, from its first request to the certificate.
const orderTime = 5 * time.Minute

// The challenges that can be answered, in the order in which they are tried.
const (
	overTLS  = "tls-alpn-01"
	overHTTP = "http-01"
)

// obtain orders a certificate with a key of its own and keeps both.
func (m *Manager) obtain(ctx context.Context, domain string) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if err := m.register(ctx); err != nil {
		return nil, fmt.Errorf("account at %s: %w", m.cfg.Directory, err)
	}
	order, err := m.authorize(ctx, domain)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{domain}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := m.client.CreateCertFromOrder(ctx, order, request, true)
	if err != nil {
		return nil, err
	}
	text, err := encode(key, chain)
	if err != nil {
		return nil, err
	}
	cert, err := decode(domain, text)
	if err != nil {
		return nil, fmt.Errorf("the CA issued what cannot be used: %w", err)
	}
	if err := m.cache.write(domain+certSuffix, text); err != nil {
		m.cfg.Log.Warn("certificate write failed; a restart orders another", "domain", domain, "err", err)
	}
	return cert, nil
}

// register makes the account, or finds the one that its key already has. The terms of the CA are
// accepted by naming domains.
func (m *Manager) register(ctx context.Context) error {
	if m.client != nil {
		return nil
	}
	key, err := m.cache.account()
	if err != nil {
		return err
	}
	c := &acme.Client{Key: key, HTTPClient: m.http, DirectoryURL: m.cfg.Directory, UserAgent: m.cfg.UserAgent, RetryBackoff: retry}
	account := &acme.Account{}
	if m.cfg.Email != "" {
		account.Contact = []string{"mailto:" + m.cfg.Email}
	}
	if m.cfg.KeyID != "" {
		mac, err := decodeMAC(m.cfg.MACKey)
		if err != nil {
			return err
		}
		account.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: m.cfg.KeyID, Key: mac}
	}
	if _, err := c.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	m.client = c
	return nil
}

// retry is the pause before a request is sent again within one order; 0 ends the order. What a CA
// limits is not sent again at once.
func retry(n int, _ *http.Request, res *http.Response) time.Duration {
	if n > 4 || res.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return time.Second << (n - 1) / 4
}

// authorize returns an order that the CA is ready to fill. A challenge that failed takes its order
// along, so the next is tried with another.
func (m *Manager) authorize(ctx context.Context, domain string) (*acme.Order, error) {
	var failed error
	for _, challenge := range []string{overTLS, overHTTP} {
		order, err := m.client.AuthorizeOrder(ctx, acme.DomainIDs(domain))
		if err != nil {
			return nil, also(failed, err)
		}
		if err = m.prove(ctx, order, challenge, domain); err == nil {
			return m.client.WaitOrder(ctx, order.URI)
		}
		failed = also(failed, fmt.Errorf("%s: %w", challenge, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// also returns both errors in one line; either may be nil.
func also(before, err error) error {
	if before == nil || err == nil {
		return cmp.Or(before, err)
	}
	return fmt.Errorf("%w; %w", before, err)
}

// prove meets a challenge of each authorization of order that is open.
func (m *Manager) prove(ctx context.Context, order *acme.Order, challenge, domain string) error {
	for _, url := range order.AuthzURLs {
		z, err := m.client.GetAuthorization(ctx, url)
		if err != nil {
			return err
		}
		if z.Status == acme.StatusValid {
			continue
		}
		i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == challenge })
		if i < 0 {
			return errors.New("the CA does not offer this challenge")
		}
		withdraw, err := m.answer(z.Challenges[i], domain)
		if err != nil {
			return err
		}
		if _, err = m.client.Accept(ctx, z.Challenges[i]); err == nil {
			_, err = m.client.WaitAuthorization(ctx, z.URI)
		}
		withdraw()
		if err != nil {
			return err
		}
	}
	return nil
}

// answer has c answered until the function that it returns is called.
func (m *Manager) answer(c *acme.Challenge, domain string) (withdraw func(), err error) {
	a := &m.answers
	if c.Type == overHTTP {
		text, err := m.client.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return nil, err
		}
		return put(a, a.texts, m.client.HTTP01ChallengePath(c.Token), text), nil
	}
	proof, err := m.client.TLSALPN01ChallengeCert(c.Token, domain)
	if err != nil {
		return nil, err
	}
	return put(a, a.proofs, domain, &proof), nil
}

// put keeps one answer and returns what removes it.
func put[T any](a *answers, in map[string]T, key string, answer T) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	in[key] = answer
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(in, key)
	}
}
