package embedded

import (
	"fmt"
	"log/slog"
	"time"

	"rollcall/internal/configload"
	"rollcall/internal/disk"
	"rollcall/presence"
)

// SyncMode says when a report is acknowledged.
type SyncMode uint8

const (
	// SyncAlways acknowledges a report when it is on stable storage: kill -9 and power loss lose
	// nothing.
	SyncAlways SyncMode = iota
	// SyncInterval acknowledges a report when it is written and syncs every SyncEvery: kill -9
	// loses nothing, power loss up to that time. A start under it takes a hole that is no more than
	// 5 s and that time older than the end of the log for what a loss of power left, and cuts the
	// log there.
	SyncInterval
)

func (m SyncMode) String() string {
	if m == SyncInterval {
		return "interval"
	}
	return "always"
}

// MarshalText returns the name of m.
func (m SyncMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes "always" or "interval".
func (m *SyncMode) UnmarshalText(b []byte) error {
	switch string(b) {
	case "always":
		*m = SyncAlways
	case "interval":
		*m = SyncInterval
	default:
		return fmt.Errorf("%.40q is neither always nor interval", b)
	}
	return nil
}

// Config are the settings of a [Store]. The zero value takes the defaults.
type Config struct {
	// Sync is when a report is acknowledged. Default SyncAlways.
	Sync SyncMode
	// SyncEvery is the period of SyncInterval, and so what a power loss may take. Default 100ms.
	SyncEvery time.Duration `range:"0s.."`
	// SegmentSize is the size of a log segment in bytes, reserved on disk before it is needed, and
	// the least size of the log at which it is compacted. Default 64 MiB, but no more than a 32nd
	// of the disk; there is one spare.
	SegmentSize int64 `config:",bytes" range:"0,4KiB..4GiB"`
	// MaxMemory bounds the bytes of the index. From nine tenths of it on, offline peers that were
	// online for minutes only are forgotten. A new peer that does not fit is refused with
	// presence.ErrFull; reports of known peers go on. Default: half of what the process may use, by
	// the machine or its control group.
	MaxMemory int64 `config:",bytes" range:"0.."`
	// MaxQueue bounds how many peers may wait to be written; more updates are refused with
	// presence.ErrFull. Default 65536.
	MaxQueue int `range:"0.."`
	// Retry is how often a store whose disk failed tries to go on. Default 1s.
	Retry time.Duration `range:"0s.."`
}

// Deps are what a [Store] is given beside its settings. The zero value is a store in memory with
// the default rules.
type Deps struct {
	// Path is the directory of the log and the snapshot; it is made when missing. Empty: memory
	// only.
	Path string
	// Rules judge leases and say when the memory of an offline peer ends. The zero value takes
	// presence.DefaultRules.
	Rules presence.Rules
	// Grace is how long the nodes named by restored sessions have to send a heartbeat before their
	// sessions end; 0 is 30 s.
	Grace time.Duration
	FS    disk.FS      // nil is the real one; tests make every call of it fail
	Log   *slog.Logger // of damage, failures and recovery; nil is slog.Default
}

const minSegment = 4 << 10

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{}.withDefaults() }

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	var f configload.Faults
	f.When(c.Sync > SyncInterval, "sync is neither always nor interval: %d", c.Sync)
	return f.Err()
}

func (c Config) withDefaults() Config {
	setDefault(&c.SyncEvery, 100*time.Millisecond)
	setDefault(&c.SegmentSize, 64<<20)
	setDefault(&c.MaxQueue, 1<<16)
	setDefault(&c.Retry, time.Second)
	return c
}

func (d Deps) withDefaults() Deps {
	setDefault(&d.Rules, presence.DefaultRules())
	setDefault(&d.Grace, 30*time.Second)
	if d.FS == nil {
		d.FS = disk.OS{}
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	return d
}

// fit makes segments small on a small disk: two of them, a snapshot and the one that is written
// meanwhile must have room, or the store would take no report although the disk is nearly empty.
func (c *Config) fit(deps *Deps) {
	d, ok := deps.FS.(interface {
		DiskSize(dir string) (int64, error)
	})
	if !ok {
		return
	}
	if size, err := d.DiskSize(deps.Path); err == nil && size > 0 {
		c.SegmentSize = min(c.SegmentSize, max(size/32, 16*minSegment))
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
