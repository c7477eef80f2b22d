package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rollcall/presence"
)

// SyncMode says when a report is acknowledged.
type SyncMode uint8

const (
	// SyncAlways acknowledges a report when it is on stable storage: kill -9 and power loss lose nothing.
	SyncAlways SyncMode = iota
	// SyncInterval acknowledges a report when it is written and syncs every SyncEvery: kill -9 loses nothing, power
	// loss up to that time.
	SyncInterval
)

func (m SyncMode) String() string {
	if m == SyncInterval {
		return "interval"
	}
	return "always"
}

// Config are the settings of a [Store]. The zero value is a store in memory with the default rules.
type Config struct {
	// Path is the directory of the log and the snapshot; it is made when missing. Empty: memory only.
	Path string
	// Rules judge leases and say when the memory of an offline peer ends. The zero value takes presence.DefaultRules.
	Rules presence.Rules
	// Grace is how long the nodes named by restored sessions have to beat before their sessions end. Default 30s.
	Grace time.Duration
	// Sync is when a report is acknowledged. Default SyncAlways.
	Sync SyncMode
	// SyncEvery is the period of SyncInterval, and so what a power loss may take. Default 100ms.
	SyncEvery time.Duration
	// SegmentSize is the size of a log segment in bytes, reserved on disk before it is needed, and the least size of the
	// log at which it is compacted. Default 64 MiB; there is one spare.
	SegmentSize int64
	// MaxMemory bounds the bytes of the index. A peer that does not fit is refused with presence.ErrFull; reports of
	// known peers go on. Default: no bound.
	MaxMemory int64
	// MaxQueue bounds how many peers may wait to be written; more updates are refused with presence.ErrFull. Default 65536.
	MaxQueue int
	// Retry is how often a store whose disk failed tries to go on. Default 1s.
	Retry time.Duration
	// FS is the file system; nil is the real one. Tests use it to make every call fail.
	FS FS
	// Logger hears of damage, failures and recovery; nil is slog.Default.
	Logger *slog.Logger
}

const minSegment = 4 << 10

// Validate names every setting that is out of range, or returns nil.
func (c *Config) Validate() error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Grace < 0, "grace %v is negative", c.Grace)
	check(c.Sync > SyncInterval, "sync mode %d is not known", c.Sync)
	check(c.SyncEvery < 0, "sync period %v is negative", c.SyncEvery)
	check(c.SegmentSize != 0 && c.SegmentSize < minSegment, "segment size %d is less than %d", c.SegmentSize, minSegment)
	check(c.SegmentSize > 1<<32, "segment size %d is more than %d", c.SegmentSize, int64(1)<<32)
	check(c.MaxMemory < 0, "memory bound %d is negative", c.MaxMemory)
	check(c.MaxQueue < 0, "queue bound %d is negative", c.MaxQueue)
	check(c.Retry < 0, "retry period %v is negative", c.Retry)
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Rules == (presence.Rules{}) {
		c.Rules = presence.DefaultRules()
	}
	setDefault(&c.Grace, 30*time.Second)
	setDefault(&c.SyncEvery, 100*time.Millisecond)
	setDefault(&c.SegmentSize, 64<<20)
	setDefault(&c.MaxQueue, 1<<16)
	setDefault(&c.Retry, time.Second)
	if c.FS == nil {
		c.FS = OS{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
