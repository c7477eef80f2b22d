package hookout

import (
	"log/slog"
	"net/http"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/outbox"
	"rollcall/presence"
)

// Config are the settings of a [Sender]. Start from [DefaultConfig].
type Config struct {
	// URL is the address to call when a peer logs in or out on a socket, such as that of a
	// LeanEngine app: https://app.example.com. The hooks of LeanEngine are below /1.1/functions/;
	// with a path of its own, they are below that. Empty calls nothing. All nodes on one Redis need
	// the same: each owes the offline hooks of those that die.
	URL string
	// Timeout is how long one call may take.
	Timeout time.Duration `range:"100ms..1m"`
	// GiveUp is how long a hook is tried again before it is dropped.
	GiveUp time.Duration `range:"1s..7d"`
	// MaxQueue is how many hooks may wait; beyond it sessions that begin are dropped, with their
	// ends.
	MaxQueue int `range:"1..10000000"`
	// Parallel is how many calls may be under way.
	Parallel int `range:"1..1000"`
}

// Deps are what a [Sender] is given beside its settings.
type Deps struct {
	Keys func(presence.AppID) (Keys, bool) // of an app, for its hooks
	// Ledger keeps in the store whose offline hooks are owed. Without one they are owed as long as
	// this process and its journal last.
	Ledger *Ledger
	Log    *slog.Logger
	// Journal is the directory that keeps what waits over a restart; empty keeps it in memory. A
	// file of release 0.1 at its place is taken over.
	Journal string
	// Transport makes the calls; nil is HTTP over TCP.
	Transport http.RoundTripper
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{Timeout: 5 * time.Second, GiveUp: 24 * time.Hour, MaxQueue: 100_000, Parallel: 16}
}

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	if c.URL == "" {
		return nil
	}
	var f configload.Faults
	f.When(!outbox.IsAddress(c.URL), "url is %.80q, not an http:// or https:// URL without a query", c.URL)
	return f.Err()
}
