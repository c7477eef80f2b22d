package redisstore

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// Config are the settings of a store in Redis beside its address. Start from [DefaultConfig]; the
// zero value is not useful.
type Config struct {
	// RecipeApp is the id of the app that the keys of the recipe belong to (onOffStatus:…); the
	// other apps have keys of their own. Unset, it is the app that Redis has on record, and on a
	// Redis without a record the first app. Naming another app than the one on record takes the
	// keys over for it, with all peers in them; naming an app of another server leaves them to that
	// one.
	RecipeApp presence.AppID
	// Prefix begins every key but the summaries of the recipe's app. It is the same on all nodes.
	Prefix string
	// SummaryPrefix begins the keys of the recipe; it may be empty. It is the same on all nodes.
	SummaryPrefix string
	// Deadline is how long one call to Redis may take.
	Deadline time.Duration `range:"1ms..1m"`
	// Stale is how long answers come from the near cache while Redis is unreachable; 0 refuses
	// queries at once.
	Stale time.Duration `range:"0s.."`
	// NearCache bounds the cache of summaries in the memory of this node; 0 is no cache.
	NearCache int `config:",bytes" range:"0,256KiB..64GiB"`
	// CA is the file of the CA certificates, in PEM, that are valid for Redis. Unset, those of the
	// system are.
	CA string `config:"ca"`
	// Cert is the file of the certificate, in PEM, that is shown to a Redis that asks for one.
	Cert string
	// Key is the file of its key, in PEM.
	Key string
	// Force starts even when Redis may evict the keys of peers that are online.
	Force bool
}

// Deps are what a [Store] is given beside its settings.
type Deps struct {
	// URL is where Redis is:
	//
	//	redis://[user:password@]host[:6379][/db]
	//	rediss://…                                        over TLS
	//	redis://host:7000,host:7001,host:7002             a Cluster; one address does, too
	//	redis+sentinel://[user:password@]host[:26379],…/master[/db]
	URL   string
	Rules presence.Rules   // of the service above; the default rules when zero
	Apps  []presence.AppID // of this process
	Log   *slog.Logger     // nil is none

	Spool      string // directory for reports that come while Redis is down; empty is none
	SpoolBytes int64  // bound of the spool; 0 is 64 MiB
	// How long acknowledged reports are kept for replay; 0 is [DefaultJournal].
	Journal time.Duration
}

// DefaultJournal is how long acknowledged reports are kept for replay after a failover.
const DefaultJournal = 60 * time.Second

const defaultSpoolBytes = 64 << 20

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Prefix: "rc:", SummaryPrefix: "onOffStatus:",
		Deadline: 250 * time.Millisecond, Stale: 30 * time.Second, NearCache: 64 << 20,
	}
}

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	var f configload.Faults
	if err := presence.CheckApp(c.RecipeApp); c.RecipeApp != "" && err != nil {
		f.Add(fmt.Errorf("recipe_app is %.80q: %w", c.RecipeApp, err))
	}
	f.When(c.Prefix == "", "prefix is empty; it is the beginning of a key, such as rc:")
	f.When(strings.ContainsAny(c.Prefix, "{}"), "prefix is %.40q; it must hold no braces, which choose the slot of a key", c.Prefix)
	f.When(c.Prefix != "" && c.Prefix == c.SummaryPrefix, "prefix is %.40q, as summary_prefix is; a peer's key could be one of ours", c.Prefix)
	f.When(c.Cert != "" && c.Key == "", "cert is set and key is not; a certificate is shown with its key")
	f.When(c.Key != "" && c.Cert == "", "key is set and cert is not; it is the key of a certificate")
	return f.Err()
}

// ErrURL is wrapped by what is wrong with the address of a Redis. Its text never holds the address,
// which may hold a password.
var ErrURL = conn.ErrURL

// CheckURL returns what is wrong with the address of a Redis, which wraps [ErrURL], or with the
// files of c for a connection to it, which begins with the setting.
func (c *Config) CheckURL(address string) error {
	_, err := c.place(address)
	return err
}

func (c *Config) place(address string) (conn.Place, error) {
	p, err := conn.ParsePlace(address)
	if err != nil {
		return p, err
	}
	return p, p.Secure(conn.Files{CA: c.CA, Cert: c.Cert, Key: c.Key})
}

// A Given is a setting of [Config] by its key, and its value as text.
type Given struct{ Key, Value string }

// queryKeys are the keys of settings by their names in the query of an address, where they stood
// before the section redis.
var queryKeys = map[string]string{
	"prefix": "prefix", "summary_prefix": "summary_prefix", "near_cache": "near_cache", "deadline": "deadline", "stale": "stale", "force": "force",
	"ssl_ca_certs": "ca", "ssl_certfile": "cert", "ssl_keyfile": "key",
}

// CutQuery returns a URL without its query, and the settings in that, in the order of their keys.
// A text with a @ behind its ? is returned whole: what looks like a query may be half a password.
func CutQuery(text string) (address string, given []Given, err error) {
	address, query, found := strings.Cut(text, "?")
	if !found || strings.Contains(query, "@") {
		return text, nil, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return address, nil, fmt.Errorf("%w: its query cannot be read", ErrURL)
	}
	for name, list := range values {
		key := queryKeys[name]
		if key == "" {
			return address, nil, fmt.Errorf("%w: its query has %.40q, which is no setting; settings go into the section redis", ErrURL, name)
		}
		given = append(given, Given{key, list[len(list)-1]})
	}
	slices.SortFunc(given, func(a, b Given) int { return strings.Compare(a.Key, b.Key) })
	return address, given, nil
}

func (d *Deps) fill() {
	setDefault(&d.Rules, presence.DefaultRules())
	setDefault(&d.SpoolBytes, defaultSpoolBytes)
	setDefault(&d.Journal, DefaultJournal)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
