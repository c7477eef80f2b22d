package acmecert

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$`)

// CheckDomain returns why no certificate can be ordered for a name.
func CheckDomain(name string) error {
	if strings.HasPrefix(name, "*.") {
		return errors.New("a wildcard needs a DNS challenge, which rollcall does not answer; name each domain, or use tls.cert and tls.key")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return errors.New("a domain is a name, not an address")
	}
	for _, r := range name {
		if r > 127 {
			return errors.New("write it in its ASCII form, which begins with xn--")
		}
	}
	if len(name) > 253 || !domainName.MatchString(strings.ToLower(name)) {
		return errors.New("a domain is a full name such as im.example.com, without port, path or final dot")
	}
	return nil
}

// CheckDirectory returns why directory cannot be the address of a CA.
func CheckDirectory(directory string) error {
	u, err := url.Parse(directory)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("%.80q is no https:// address of an ACME directory", directory)
	}
	return nil
}

// CheckEmail returns why email cannot be the contact of an account.
func CheckEmail(email string) error {
	if local, host, ok := strings.Cut(email, "@"); !ok || local == "" || strings.ContainsAny(email, " ,;<>:\"") || CheckDomain(host) != nil {
		return fmt.Errorf("%.80q is no address such as ops@example.com", email)
	}
	return nil
}

// CheckBinding returns why an account cannot be bound by a key id and its MAC key, of which either
// both are given or none.
func CheckBinding(keyID, mac string) error {
	if (keyID == "") != (mac == "") {
		return errors.New("the key id and the MAC key of the CA go together; one is missing")
	}
	_, err := decodeMAC(mac)
	return err
}

// decodeMAC reads a MAC key, with or without the padding of base64.
func decodeMAC(key string) ([]byte, error) {
	mac, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(key, "="))
	if err != nil {
		return nil, errors.New("the MAC key is not base64url, as CAs show it")
	}
	return mac, nil
}
