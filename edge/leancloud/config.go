package leancloud

import (
	"errors"
	"time"

	"rollcall/presence"
)

// Config are the settings of the dialect. Start from [DefaultConfig].
type Config struct {
	// UnknownAsOffline answers "0" instead of null for ids that were never reported. It helps apps
	// that compare strings without looking for null, and Go apps that use RPC.
	UnknownAsOffline bool
	// Policy says how hooks are added up: by sum (default), or the last one that arrived wins, as
	// in the recipe.
	Policy presence.Policy
	// HookLease is how long a peer stays online after an online hook without another hook.
	HookLease time.Duration `range:"10s..30d"`
	// Hold is how long after a connection is lost watchers are notified. Queries do not wait.
	Hold time.Duration `range:"0s..10m"`

	// MaxIDs is the largest number of ids in one question.
	MaxIDs int `range:"1..1000000"`
	// MaxBody is the largest body, in bytes, after decompression.
	MaxBody int `config:",bytes" range:"1KiB..64MiB"`
	// MaxDepth is how deep JSON may be nested.
	MaxDepth int `range:"2..1000"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		HookLease: 7 * 24 * time.Hour, Hold: 3 * time.Second,
		MaxIDs: 10_000, MaxBody: 1 << 20, MaxDepth: 16,
	}
}

// ErrConfig: a setting is out of range.
var ErrConfig = errors.New("leancloud settings")
