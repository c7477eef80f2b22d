package conn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

var schemes = map[string]*struct{ tls, sentinel bool }{
	"redis":           {},
	"rediss":          {tls: true},
	"redis+sentinel":  {sentinel: true},
	"rediss+sentinel": {tls: true, sentinel: true},
}

// A Place is where a Redis is, as a URL describes it.
type Place struct {
	scheme         string
	addrs          []string
	user, password string
	tls            *Files // nil without TLS
	master         string // of Sentinel; empty for none
	db             int
}

// ParsePlace reads a URL.
func ParsePlace(text string) (p Place, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	kind := schemes[scheme]
	if kind == nil {
		return p, fmt.Errorf("%w: it begins with none of redis://, rediss://, redis+sentinel://, rediss+sentinel://", ErrURL)
	}
	p.scheme = scheme
	hosts, _, _ := strings.Cut(rest, "/")
	hosts, _, _ = strings.Cut(hosts, "?")
	// what we would take for a host, a database or a setting may be half a password
	if strings.Contains(rest[len(hosts):], "@") {
		return p, fmt.Errorf("%w: user or password is not percent-encoded rightly (/ is %%2F, ? is %%3F, @ is %%40)", ErrURL)
	}
	if strings.Contains(rest, "?") {
		return p, fmt.Errorf("%w: it has a query, which is no part of an address", ErrURL)
	}
	_, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		if err := p.login(hosts[:i]); err != nil {
			return p, err
		}
		hosts = hosts[i+1:]
	}
	port := "6379"
	if kind.sentinel {
		port = "26379"
	}
	for h := range strings.SplitSeq(hosts, ",") {
		addr, err := address(h, port)
		if err != nil {
			return p, err
		}
		p.addrs = append(p.addrs, addr)
	}
	if kind.sentinel {
		if p.master, path, _ = strings.Cut(path, "/"); p.master == "" {
			return p, fmt.Errorf("%w: redis+sentinel:// needs the name of the master after the addresses, as /mymaster", ErrURL)
		}
	}
	if path != "" {
		db, err := strconv.Atoi(path)
		if err != nil || db < 0 {
			return p, fmt.Errorf("%w: the database is %.20q, not a number", ErrURL, path)
		}
		p.db = db
	}
	return p, nil
}

// login takes "user:password".
func (p *Place) login(text string) (err error) {
	user, password, _ := strings.Cut(text, ":")
	var err1, err2 error
	p.user, err1 = url.PathUnescape(user)
	p.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w: user or password is not percent-encoded rightly", ErrURL)
	}
	return nil
}

// Secure takes the files for TLS over.
func (p *Place) Secure(t Files) error {
	if schemes[p.scheme].tls {
		p.tls = &t
		return t.check()
	}
	if t != (Files{}) {
		return fmt.Errorf("%s is for rediss://, which is TLS; %s:// is not", t.named(), p.scheme)
	}
	return nil
}

// String returns the addresses without the password.
func (p Place) String() string {
	list := strings.Join(p.addrs, ",")
	if p.master != "" {
		return "Sentinel " + list + ", master " + p.master
	}
	return list
}

// ErrURL never carries the URL: it may hold a password.
var ErrURL = errors.New("not the address of a Redis")

// hosts returns the hosts of the addresses.
func (p Place) hosts() []string {
	hosts := make([]string, len(p.addrs))
	for i, a := range p.addrs {
		hosts[i], _, _ = net.SplitHostPort(a)
	}
	return hosts
}

func address(h, port string) (string, error) {
	host, given, err := net.SplitHostPort(h)
	if err != nil {
		host, given = strings.Trim(h, "[]"), port
	}
	n, err := strconv.Atoi(given)
	switch {
	case host == "":
		return "", fmt.Errorf("%w: an address has no host", ErrURL)
	case strings.ContainsAny(host, " \t\r\n"):
		return "", fmt.Errorf("%w: %.80q is not a host", ErrURL, host)
	case err != nil || n < 1 || n > 65535: // it is not shown: :password is a likely slip
		return "", fmt.Errorf("%w: the port of host %.80q is not a number from 1 to 65535", ErrURL, host)
	}
	return net.JoinHostPort(host, given), nil
}

// At returns the addresses, for people.
func (p Place) At() string {
	list := strings.Join(p.addrs, ",")
	if p.master != "" {
		return list + " (or the master " + p.master + " behind it)"
	}
	return list
}
