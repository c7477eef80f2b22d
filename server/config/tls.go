package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/internal/acmecert"
	"rollcall/internal/configload"
	"rollcall/internal/tlsport"
)

// TLS are the certificates of listen_tls: one from two files, or those that a CA issues by ACME.
type TLS struct {
	// Cert is the file of the certificate, in PEM, with those that lead to its root behind it. The
	// two files are read again every second, so a renewed certificate is taken up for the
	// connections to come, and open ones stay.
	Cert string `config:",live"`
	// Key is the file of its key, in PEM.
	Key string `config:",live"`
	// Domains are the names that certificates are obtained for by ACME, in place of cert and key.
	// They are renewed when a third of their time is left. Each name must lead to this machine, and
	// its CA must reach port 443 (listen_tls) or port 80. Naming them accepts the terms of the CA.
	// Certificates and keys are kept in acme in the data directory. For a server by itself only:
	// with store, use cert and key or a proxy in front.
	Domains []string
	// Email is the address that the CA is given with the account.
	Email string
	// ACMEDirectory is the address of the CA.
	ACMEDirectory string `config:"acme_directory"`
	// ACMEKeyID is the id of the account at a CA that asks for an existing one (external account
	// binding), as the CA shows it.
	ACMEKeyID string `config:"acme_key_id"`
	// ACMEMACKey is the key of acme_key_id, in base64url.
	ACMEMACKey Secret `config:"acme_mac_key,secret"`
	// ACMECA is a file of roots in PEM that the CA's own address is checked with, for a CA inside a
	// company. Unset, those of the system are.
	ACMECA string `config:"acme_ca"`
	// ACMEListen is the address that challenges over HTTP are answered on, beside listen. It is
	// opened when there are domains and listen has another port than 80; empty opens none.
	ACMEListen string `config:"acme_listen"`
}

func defaultTLS() TLS {
	return TLS{ACMEDirectory: "https://acme-v02.api.letsencrypt.org/directory", ACMEListen: ":80"}
}

// validate returns what is wrong with the certificates of listen_tls. It reads their files.
func (t *TLS) validate(c *Config) error {
	files, domains := t.Cert != "" || t.Key != "", len(t.Domains) > 0
	if of := t.ofDomains(); of != "" && !domains {
		return fmt.Errorf("%s is set and tls.domains is not; it is about the certificates of those domains", of)
	}
	switch {
	case c.ListenTLS == "" && domains:
		return errors.New("tls.domains is set and listen_tls is not; the certificates are for that address")
	case c.ListenTLS == "" && files:
		return fmt.Errorf("%s is set and listen_tls is not; the certificate is for that address", cmp.Or(whenSet(t.Cert, "tls.cert"), "tls.key"))
	case c.ListenTLS == "":
		return nil
	case files && domains:
		return errors.New("tls.domains is set beside tls.cert and tls.key; a certificate is from files or from a CA, so remove one of the two")
	case files && (t.Cert == "" || t.Key == ""):
		return errors.New(cmp.Or(whenSet(t.Cert, "tls.cert is set and tls.key is not"), "tls.key is set and tls.cert is not") + "; a certificate and its key go together")
	case !domains && !files:
		return errors.New("listen_tls needs a certificate: tls.cert and tls.key, or tls.domains")
	case (c.ListenTLS == c.Listen || c.ListenTLS == c.Admin) && !strings.HasSuffix(c.ListenTLS, ":0"):
		return errors.New("listen_tls is the same address as listen or admin; it needs one of its own")
	}
	if err := address("listen_tls", c.ListenTLS); err != nil {
		return err
	}
	if domains {
		return t.validateACME(c)
	}
	_, err := tlsport.Load(t.Cert, t.Key)
	return err
}

// ofDomains returns the first setting that means something with tls.domains only; "" when none has
// a value that is not its default.
func (t *TLS) ofDomains() string {
	d := defaultTLS()
	for _, s := range []struct {
		key string
		set bool
	}{
		{"tls.email", t.Email != ""},
		{"tls.acme_directory", t.ACMEDirectory != "" && t.ACMEDirectory != d.ACMEDirectory},
		{"tls.acme_key_id", t.ACMEKeyID != ""},
		{"tls.acme_mac_key", t.ACMEMACKey != ""},
		{"tls.acme_ca", t.ACMECA != ""},
		{"tls.acme_listen", t.ACMEListen != "" && t.ACMEListen != d.ACMEListen},
	} {
		if s.set {
			return s.key
		}
	}
	return ""
}

// whenSet returns text when value is not empty.
func whenSet(value, text string) string {
	if value == "" {
		return ""
	}
	return text
}

func (t *TLS) validateACME(c *Config) error {
	var f configload.Faults
	for i, d := range t.Domains {
		if err := acmecert.CheckDomain(d); err != nil {
			f.Add(fmt.Errorf("tls.domains has %.80q: %w", d, err))
		}
		f.When(slices.ContainsFunc(t.Domains[:i], func(o string) bool { return strings.EqualFold(o, d) }), "tls.domains has %q twice", d)
	}
	f.When(c.Data == "", "tls.domains needs data, the directory that the certificates are kept in")
	f.When(c.Store != "", "tls.domains is for a server by itself, and with store there may be several: use tls.cert and tls.key, or a proxy in front")
	if err := acmecert.CheckEmail(t.Email); t.Email != "" && err != nil {
		f.Add(fmt.Errorf("tls.email: %w", err))
	}
	if err := acmecert.CheckDirectory(t.ACMEDirectory); err != nil {
		f.Add(fmt.Errorf("tls.acme_directory: %w", err))
	}
	if err := acmecert.CheckBinding(t.ACMEKeyID, t.ACMEMACKey.Reveal()); err != nil {
		f.Add(fmt.Errorf("tls.acme_mac_key: %w", err))
	}
	if err := acmecert.CheckRoot(t.ACMECA); err != nil {
		f.Add(fmt.Errorf("tls.acme_ca: %w", err))
	}
	if t.ACMEListen != "" {
		f.Add(address("tls.acme_listen", t.ACMEListen))
		f.When(t.ACMEListen == c.ListenTLS && !strings.HasSuffix(t.ACMEListen, ":0"), "tls.acme_listen is the same address as listen_tls; challenges over HTTP come without TLS")
	}
	return f.Err()
}
