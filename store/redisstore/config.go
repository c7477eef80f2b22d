package redisstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

// Config are the settings of a [Store].
type Config struct {
	// URL is where Redis is:
	//
	//	redis://[user:password@]host[:6379][/db]
	//	rediss://…                                        over TLS
	//	redis://host:7000,host:7001,host:7002             a Cluster; one address does, too
	//	redis+sentinel://[user:password@]host[:26379],…/master[/db]
	//
	// Settings of this store may follow as a query, see [Config.SetQuery].
	URL string
	// Rules are those of the service above.
	Rules presence.Rules

	// Recipe is the app whose summary keys are the recipe's own, whatever Redis has on record;
	// other apps get keys of their own. Empty for the app that Redis has on record, which must be
	// one of Apps, and without a record for the first of Apps.
	Recipe        presence.AppID
	Apps          []presence.AppID // of this process
	SummaryPrefix string           // of the recipe's keys; may be empty. Default "onOffStatus:"
	Prefix        string           // of all other keys. Default "rc:"

	Deadline time.Duration // of one call. Default 250 ms
	// Stale is how long answers come from the cache while Redis is down; then there are none.
	// Default 30 s; negative for not at all.
	Stale time.Duration
	// NearCache bounds the cache of this process, in bytes. Default 64 MiB; negative for none.
	NearCache int
	// CA names a file of the authorities that are trusted over TLS; empty for those of the system.
	// Cert and Key name the files of the certificate that is shown to Redis, and of its key; empty
	// for none.
	CA, Cert, Key string
	// Force starts even when Redis may evict the keys of peers that are online.
	Force bool

	// Spool is the directory for reports that come while Redis is down; empty for none.
	Spool string
	// SpoolBytes bounds it. Default 64 MiB.
	SpoolBytes int64
	// Journal is how long acknowledged reports are kept for replay after a failover. Default 60 s.
	Journal time.Duration

	Log *slog.Logger // default: none
}

// Defaults of a Config.
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

// NewConfig returns a Config with every default. The prefix of the recipe's keys may be empty, so
// it is set here and not where the store opens.
func NewConfig(url string) Config {
	return Config{
		URL: url, Rules: presence.DefaultRules(), SummaryPrefix: DefaultSummaryPrefix, Prefix: DefaultPrefix,
		Deadline: DefaultDeadline, Stale: DefaultStale, NearCache: DefaultNearCache,
		SpoolBytes: DefaultSpoolBytes, Journal: DefaultJournal,
	}
}

// CheckURL returns what is wrong with the address of a Redis, or nil. The text holds no password.
func CheckURL(url string) error {
	c := NewConfig(url)
	_, err := c.parse()
	return err
}

// parse reads the URL and takes its query over into the settings.
func (c *Config) parse() (p conn.Place, err error) {
	p, query, err := conn.ParsePlace(c.URL)
	if err == nil {
		err = c.SetQuery(query)
	}
	if err != nil {
		return p, err
	}
	if err := c.check(); err != nil {
		return p, fmt.Errorf("%w: %w", conn.ErrURL, err)
	}
	return p, p.Secure(conn.Files{CA: c.CA, Cert: c.Cert, Key: c.Key})
}

// SetQuery takes settings in the form of a URL's query: prefix, summary_prefix, near_cache (bytes;
// 0 for none), deadline, stale (0 for none), force, and the files ssl_ca_certs, ssl_certfile and
// ssl_keyfile. An unknown name is an error.
func (c *Config) SetQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("%w: its query cannot be read", conn.ErrURL)
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
			return fmt.Errorf("%w: it has no setting %.40q; there are %s", conn.ErrURL, name, settings)
		}
		if err != nil {
			return fmt.Errorf("%w: the setting %s is %.40q, not %s", conn.ErrURL, name, v, wanted[name])
		}
	}
	return nil
}

// wanted are the values that each setting takes.
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
