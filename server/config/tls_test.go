package config

import (
	"strings"
	"testing"
)

// acme returns a valid configuration with certificates by ACME.
func acme() Config {
	c := Default()
	c.ListenTLS, c.TLS.Domains = ":443", []string{"im.example.com"}
	return c
}

func TestCertificatesByACME(t *testing.T) {
	c := acme()
	c.TLS.Email, c.TLS.Domains = "ops@example.com", []string{"im.example.com", "IM2.example.com"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"tls.domains is set beside tls.cert and tls.key":           func(c *Config) { c.TLS.Cert, c.TLS.Key = "cert.pem", "key.pem" },
		"tls.domains is set beside":                                func(c *Config) { c.TLS.Key = "key.pem" },
		"tls.domains is set and listen_tls is not":                 func(c *Config) { c.ListenTLS = "" },
		"listen_tls needs a certificate: ":                         func(c *Config) { c.TLS.Domains = nil },
		"listen_tls is the same address":                           func(c *Config) { c.Listen = ":443" },
		"tls.domains has \"*.example.com\": a wildcard":            func(c *Config) { c.TLS.Domains = []string{"*.example.com"} },
		"tls.domains has \"IM.example.com\" twice":                 func(c *Config) { c.TLS.Domains = append(c.TLS.Domains, "IM.example.com") },
		"tls.domains needs data":                                   func(c *Config) { c.Data = "" },
		"tls.domains is for a server by itself":                    func(c *Config) { c.Store = "redis://h" },
		"tls.email: \"ops\" is no address":                         func(c *Config) { c.TLS.Email = "ops" },
		"tls.acme_directory: \"http://ca\" is no https:// address": func(c *Config) { c.TLS.ACMEDirectory = "http://ca" },
		"tls.acme_mac_key: the key id and the MAC key":             func(c *Config) { c.TLS.ACMEKeyID = "kid" },
		"tls.acme_ca: open nowhere":                                func(c *Config) { c.TLS.ACMECA = "nowhere" },
		"tls.acme_listen is \"80\"; did you mean \":80\"?":         func(c *Config) { c.TLS.ACMEListen = "80" },
		"tls.acme_listen is the same address as listen_tls":        func(c *Config) { c.TLS.ACMEListen = ":443" },
	} {
		c := acme()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What is about domains only is refused without them, with TLS from files and without any.
func TestSettingsOfACMEWithoutDomains(t *testing.T) {
	for key, change := range map[string]func(*TLS){
		"tls.email":          func(c *TLS) { c.Email = "ops@example.com" },
		"tls.acme_directory": func(c *TLS) { c.ACMEDirectory = "https://ca.example/directory" },
		"tls.acme_key_id":    func(c *TLS) { c.ACMEKeyID = "kid" },
		"tls.acme_mac_key":   func(c *TLS) { c.ACMEMACKey = "a2V5" },
		"tls.acme_ca":        func(c *TLS) { c.ACMECA = "roots.pem" },
		"tls.acme_listen":    func(c *TLS) { c.ACMEListen = ":81" },
	} {
		for _, c := range []Config{Default(), acme()} {
			c.TLS.Domains = nil
			change(&c.TLS)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key+" is set and tls.domains is not") {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
}
