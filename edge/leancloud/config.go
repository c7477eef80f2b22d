package leancloud

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rollcall/presence"
)

// Config are the settings of the dialect. Start from [DefaultConfig].
type Config struct {
	// UnknownAsOffline answers "0" instead of null for ids that were never reported. It helps apps that
	// compare strings without looking for null, and Go apps that use RPC.
	UnknownAsOffline bool
	// Policy says how hooks are added up: by sum (default), or the last one that arrived wins, as in the recipe.
	Policy presence.Policy
	// HookLease is how long a peer stays online after an online hook without another hook.
	HookLease time.Duration
	// Hold is how long after a connection is lost watchers are notified. Queries do not wait.
	Hold time.Duration

	// MaxIDs is the largest number of ids in one question.
	MaxIDs int
	// MaxBody is the largest body, in bytes, after decompression.
	MaxBody int `config:",bytes"`
	// MaxDepth is how deep JSON may be nested.
	MaxDepth int
	// BodyTimeout is how long a body may take to arrive.
	BodyTimeout time.Duration `config:"-"`

	// Proxies are those whose X-Forwarded-For is trusted.
	Proxies []netip.Prefix `config:"-"`
	// Version is what the ping of the engine answers.
	Version string `config:"-"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		HookLease: 7 * 24 * time.Hour, Hold: 3 * time.Second,
		MaxIDs: 10_000, MaxBody: 1 << 20, MaxDepth: 16, BodyTimeout: 10 * time.Second,
		Version: "dev",
	}
}

// ErrConfig: a setting is out of range.
var ErrConfig = errors.New("leancloud settings")

// Validate returns every setting out of range, joined; each begins with its key.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.HookLease >= 10*time.Second && c.HookLease <= presence.MaxLease, "hook_lease is %v, not between 10s and %v", c.HookLease, presence.MaxLease)
	check(c.Hold >= 0 && c.Hold <= presence.MaxHold, "hold is %v, not between 0 and %v", c.Hold, presence.MaxHold)
	check(c.MaxIDs >= 1 && c.MaxIDs <= 1_000_000, "max_ids is %d, not between 1 and 1000000", c.MaxIDs)
	check(c.MaxBody >= 1<<10 && c.MaxBody <= 64<<20, "max_body is %d, not between 1 KiB and 64 MiB", c.MaxBody)
	check(c.MaxDepth >= 2 && c.MaxDepth <= 1000, "max_depth is %d, not between 2 and 1000", c.MaxDepth)
	check(c.BodyTimeout >= 0, "body_timeout is negative: %v", c.BodyTimeout)
	return errors.Join(errs...)
}
