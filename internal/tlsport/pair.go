// Package tlsport serves TLS on a listener, with a certificate that may be replaced in its files
// while connections are open.
package tlsport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/disk"
)

// A Pair is a certificate and its key in two files.
type Pair struct {
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex
	cert    string // the files
	key     string
	taken   content // what current was read from
	refused content // what the last check could not use
	warned  bool    // of refused
}

// content is what the files hold.
type content struct{ cert, key []byte }

func (c content) equal(o content) bool {
	return bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key)
}

// Load reads the pair in cert and key. Its error begins with the setting that is wrong.
func Load(cert, key string) (*Pair, error) {
	p := &Pair{cert: cert, key: key}
	c, made, err := read(cert, key)
	if err != nil {
		return nil, err
	}
	p.taken = c
	p.current.Store(made)
	return p, nil
}

// read returns what two files hold and the certificate that it makes.
func read(cert, key string) (c content, made *tls.Certificate, err error) {
	if c.cert, err = disk.ReadSmall(cert); err != nil {
		return c, nil, fmt.Errorf("tls.cert: %w", err)
	}
	if c.key, err = disk.ReadSmall(key); err != nil {
		return c, nil, fmt.Errorf("tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return c, nil, fmt.Errorf("tls.cert %s and tls.key %s are no pair: %w", cert, key, err)
	}
	return c, &pair, nil
}

// Prepare reads the pair in cert and key, which may be other files than before, and returns what
// takes it up for the connections to come.
func (p *Pair) Prepare(cert, key string) (take func(), err error) {
	c, made, err := read(cert, key)
	if err != nil {
		return nil, err
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cert, p.key, p.taken = cert, key, c
		p.current.Store(made)
	}, nil
}

// Check takes up what the files hold when that has changed, and reports whether it did. What is no
// pair leaves the one before, and is an error once, at the second check that finds the same: the
// two files are not replaced at one instant.
func (p *Pair) Check() (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, made, err := read(p.cert, p.key)
	switch {
	case err == nil && c.equal(p.taken):
		p.refused, p.warned = content{}, false
		return false, nil
	case err == nil:
		p.taken, p.refused, p.warned = c, content{}, false
		p.current.Store(made)
		return true, nil
	case p.warned && c.equal(p.refused):
		return false, nil
	case p.refused.cert != nil && c.equal(p.refused):
		p.warned = true
		return false, err
	}
	if c.cert == nil {
		c.cert = []byte{} // it cannot be read, which is a finding too
	}
	p.refused, p.warned = c, false
	return false, nil
}

// Expires returns when the certificate in use ends.
func (p *Pair) Expires() time.Time { return p.current.Load().Leaf.NotAfter }

// Config returns how connections are encrypted.
func (p *Pair) Config() *tls.Config {
	return Config(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil })
}

// Config returns how connections are encrypted with the certificates that get returns.
func Config(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: get}
}
