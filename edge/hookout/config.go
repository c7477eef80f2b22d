package hookout

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Config are the settings of a [Sender]. Start from [DefaultConfig].
type Config struct {
	// URL is the address to call when a peer logs in or out on a socket, such as that of a
	// LeanEngine app: https://app.example.com. The hooks of LeanEngine are below /1.1/functions/;
	// with a path of its own, they are below that. Empty calls nothing. All nodes on one Redis need
	// the same: each owes the offline hooks of those that die.
	URL string
	// Timeout is how long one call may take.
	Timeout time.Duration
	// GiveUp is how long a hook is tried again before it is dropped.
	GiveUp time.Duration
	// MaxQueue is how many hooks may wait; beyond it sessions that begin are dropped, with their
	// ends.
	MaxQueue int
	// Parallel is how many calls may be under way.
	Parallel int
	// Journal is the directory that keeps what waits over a restart; empty keeps it in memory. A
	// file of release 0.1 at its place is taken over.
	Journal string `config:"-"`
	// Transport makes the calls; nil is HTTP over TCP.
	Transport http.RoundTripper `config:"-"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{Timeout: 5 * time.Second, GiveUp: 24 * time.Hour, MaxQueue: 100_000, Parallel: 16}
}

// Validate returns every setting out of range, joined; each begins with its key.
func (c *Config) Validate() error {
	var all []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "",
			"url is %.80q, not an http:// or https:// URL without a query", c.URL)
	}
	check(c.Timeout >= 100*time.Millisecond && c.Timeout <= time.Minute, "timeout is %v, not between 100ms and 1m", c.Timeout)
	check(c.GiveUp >= time.Second && c.GiveUp <= 7*24*time.Hour, "give_up is %v, not between 1s and 7d", c.GiveUp)
	check(c.MaxQueue >= 1 && c.MaxQueue <= 10_000_000, "max_queue is %d, not between 1 and 10000000", c.MaxQueue)
	check(c.Parallel >= 1 && c.Parallel <= 1000, "parallel is %d, not between 1 and 1000", c.Parallel)
	return errors.Join(all...)
}
