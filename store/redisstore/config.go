package redisstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/presence"
	"rollcall/store/redisstore/nearcache"
)

// Config are the settings of a [Store].
type Config struct {
	// URL says where Redis is:
	//
	//	redis://[user:password@]host[:6379][/db]
	//	rediss://…                                        over TLS
	//	redis://host:7000,host:7001,host:7002             a Cluster; one address of a Cluster does, too
	//	redis+sentinel://[user:password@]host[:26379],…/master[/db]
	//
	// Settings of this store may follow as a query, see [Config.SetQuery].
	URL string
	// Rules are those of the service above.
	Rules presence.Rules

	// Recipe is the app whose summary keys are the recipe's own, whatever Redis says of it so far; other apps get keys of their own. Empty
	// for the app that Redis has on record, which must be one of Apps, and without a record for the first of Apps.
	Recipe        presence.AppID
	Apps          []presence.AppID // of this process
	SummaryPrefix string           // of the recipe's keys; may be empty. Default "onOffStatus:"
	Prefix        string           // of all other keys. Default "rc:"

	Deadline time.Duration // of one call. Default 250 ms
	// Stale is how long answers come from the cache while Redis is away; then there are none. Default 30 s; negative for not at all.
	Stale time.Duration
	// NearCache bounds the cache of this process, in bytes. Default 64 MiB; negative for none.
	NearCache int
	// CA names a file of the authorities that are believed over TLS; empty for those of the system. Cert and Key name the
	// files of the certificate that is shown to Redis, and of its key; empty for none.
	CA, Cert, Key string
	// Force starts even when Redis may evict the keys of peers that are online.
	Force bool

	// Spool is the directory for reports that come while Redis is away; empty for none.
	Spool string
	// SpoolBytes bounds it. Default 64 MiB.
	SpoolBytes int64
	// Journal is how long acknowledged reports are remembered to be said again after a failover. Default 60 s.
	Journal time.Duration

	Log *slog.Logger // default: none
}

// What a Config gets where it says nothing.
const (
	DefaultSummaryPrefix = "onOffStatus:"
	DefaultPrefix        = "rc:"
	DefaultDeadline      = 250 * time.Millisecond
	DefaultStale         = 30 * time.Second
	DefaultNearCache     = 64 << 20
	DefaultSpoolBytes    = 64 << 20
	DefaultJournal       = 60 * time.Second
)

const (
	minNearCache = nearcache.MinBytes
	maxNearCache = 64 << 30
)

// NewConfig returns a Config with every default. The prefix of the recipe's keys may be empty, so it is set here and not
// where the store opens.
func NewConfig(url string) Config {
	return Config{
		URL: url, Rules: presence.DefaultRules(), SummaryPrefix: DefaultSummaryPrefix, Prefix: DefaultPrefix,
		Deadline: DefaultDeadline, Stale: DefaultStale, NearCache: DefaultNearCache,
		SpoolBytes: DefaultSpoolBytes, Journal: DefaultJournal,
	}
}

// CheckURL returns what is wrong with the address of a Redis, or nil. It tells nothing of a password.
func CheckURL(url string) error {
	c := NewConfig(url)
	_, err := c.parse()
	return err
}

var schemes = map[string]*struct{ tls, sentinel bool }{
	"redis":           {},
	"rediss":          {tls: true},
	"redis+sentinel":  {sentinel: true},
	"rediss+sentinel": {tls: true, sentinel: true},
}

// A place is what a URL says.
type place struct {
	scheme         string
	addrs          []string
	user, password string
	tls            *trust // nil without TLS
	master         string // of Sentinel; empty for none
	db             int
}

// String tells the place without the password.
func (p place) String() string {
	list := strings.Join(p.addrs, ",")
	if p.master != "" {
		return "Sentinel " + list + ", master " + p.master
	}
	return list
}

// errURL never carries the URL: it may hold a password.
var errURL = errors.New("not the address of a Redis")

// parse reads the URL and takes its query over into the settings.
func (c *Config) parse() (place, error) {
	var p place
	scheme, rest, _ := strings.Cut(c.URL, "://")
	kind := schemes[scheme]
	if kind == nil {
		return p, fmt.Errorf("%w: it begins with none of redis://, rediss://, redis+sentinel://, rediss+sentinel://", errURL)
	}
	p.scheme = scheme
	hosts, _, _ := strings.Cut(rest, "/")
	hosts, _, _ = strings.Cut(hosts, "?")
	if strings.Contains(rest[len(hosts):], "@") { // what we would take for a host, a database or a setting may be half a password
		return p, fmt.Errorf("%w: user or password is not percent-encoded rightly (/ is %%2F, ? is %%3F, @ is %%40)", errURL)
	}
	rest, query, _ := strings.Cut(rest, "?")
	_, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		user, password, _ := strings.Cut(hosts[:i], ":")
		var err1, err2 error
		p.user, err1 = url.PathUnescape(user)
		p.password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return p, fmt.Errorf("%w: user or password is not percent-encoded rightly", errURL)
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
			return p, fmt.Errorf("%w: redis+sentinel:// needs the name of the master after the addresses, as /mymaster", errURL)
		}
	}
	if path != "" {
		db, err := strconv.Atoi(path)
		if err != nil || db < 0 {
			return p, fmt.Errorf("%w: the database is %.20q, not a number", errURL, path)
		}
		p.db = db
	}
	if err := c.SetQuery(query); err != nil {
		return p, err
	}
	if err := c.check(); err != nil {
		return p, fmt.Errorf("%w: %w", errURL, err)
	}
	t := trust{c.CA, c.Cert, c.Key}
	if kind.tls {
		p.tls = &t
		return p, t.check()
	}
	if t != (trust{}) {
		return p, fmt.Errorf("%w: ssl_ca_certs, ssl_certfile and ssl_keyfile are for rediss://, which is TLS; %s:// is not", errURL, scheme)
	}
	return p, nil
}

// hosts returns the hosts of the addresses.
func (p place) hosts() []string {
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
		return "", fmt.Errorf("%w: an address has no host", errURL)
	case strings.ContainsAny(host, " \t\r\n"):
		return "", fmt.Errorf("%w: %.80q is not a host", errURL, host)
	case err != nil || n < 1 || n > 65535: // it is not shown: :password is a likely slip
		return "", fmt.Errorf("%w: the port of host %.80q is not a number from 1 to 65535", errURL, host)
	}
	return net.JoinHostPort(host, given), nil
}

// SetQuery takes settings in the form of a URL's query: prefix, summary_prefix, near_cache (bytes; 0 for none), deadline,
// stale (0 for none), force, and the files ssl_ca_certs, ssl_certfile and ssl_keyfile. An unknown name is an error.
func (c *Config) SetQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("%w: its query cannot be read", errURL)
	}
	for name, list := range values {
		v := list[len(list)-1]
		var err error
		switch name {
		case "prefix":
			c.Prefix, err = v, given(v)
		case "summary_prefix":
			c.SummaryPrefix = v
		case "near_cache":
			c.NearCache, err = orNone(strconv.Atoi(v))
		case "deadline":
			if c.Deadline, err = time.ParseDuration(v); c.Deadline == 0 {
				err = errValue
			}
		case "stale":
			c.Stale, err = orNone(time.ParseDuration(v))
		case "force":
			c.Force, err = strconv.ParseBool(v)
		case "ssl_ca_certs":
			c.CA, err = v, given(v)
		case "ssl_certfile":
			c.Cert, err = v, given(v)
		case "ssl_keyfile":
			c.Key, err = v, given(v)
		default:
			return fmt.Errorf("%w: it has no setting %.40q; there are %s", errURL, name, settings)
		}
		if err != nil {
			return fmt.Errorf("%w: the setting %s is %.40q, not %s", errURL, name, v, wanted[name])
		}
	}
	return nil
}

// wanted says what each setting may be.
var wanted = map[string]string{
	"prefix":         "the beginning of a key",
	"summary_prefix": "the beginning of a key",
	"near_cache":     "a number of bytes, or 0 for none",
	"deadline":       "a duration such as 250ms",
	"stale":          "a duration such as 30s, or 0 for none",
	"force":          "true or false",
	"ssl_ca_certs":   "a file",
	"ssl_certfile":   "a file",
	"ssl_keyfile":    "a file",
}

const settings = "prefix, summary_prefix, near_cache, deadline, stale, force, ssl_ca_certs, ssl_certfile, ssl_keyfile"

var errValue = errors.New("not a value of the setting")

func given(v string) error {
	if v == "" {
		return errValue
	}
	return nil
}

// orNone makes 0 mean none, where the zero value of a [Config] means the default.
func orNone[T int | time.Duration](v T, err error) (T, error) {
	switch {
	case err != nil || v < 0:
		return v, errValue
	case v == 0:
		return -1, nil
	}
	return v, nil
}

func (c *Config) defaults() {
	if c.Rules == (presence.Rules{}) {
		c.Rules = presence.DefaultRules()
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	c.Deadline = orDefault(c.Deadline, DefaultDeadline)
	c.Stale = orDefault(c.Stale, DefaultStale)
	c.NearCache = orDefault(c.NearCache, DefaultNearCache)
	c.SpoolBytes = orDefault(c.SpoolBytes, DefaultSpoolBytes)
	c.Journal = orDefault(c.Journal, DefaultJournal)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// check returns what is wrong with settings that fill each other's place or cannot work.
func (c *Config) check() error {
	switch {
	case strings.ContainsAny(c.Prefix, "{}"):
		return errors.New("the prefix of our keys must not hold braces")
	case c.Prefix != "" && c.Prefix == c.SummaryPrefix:
		return fmt.Errorf("prefix and summary_prefix are both %.40q; a peer's key could be one of ours", c.Prefix)
	case c.NearCache > 0 && (c.NearCache < minNearCache || c.NearCache > maxNearCache):
		return fmt.Errorf("near_cache is %d bytes, not 0 for none or between %d and %d", c.NearCache, minNearCache, maxNearCache)
	case c.Deadline != 0 && (c.Deadline < time.Millisecond || c.Deadline > time.Minute):
		return fmt.Errorf("the deadline of a call is %v, not between 1ms and 1m", c.Deadline)
	}
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
