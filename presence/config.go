package presence

import (
	"errors"
	"fmt"
	"time"
)

// Validate returns every mistake in c, joined; each begins with the name of its setting.
func (c *Config) Validate() error {
	ru := &c.Rules
	var errs []error
	for _, f := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"lease", ru.Lease, time.Second, MaxLease},
		{"ahead", ru.Ahead, 0, 24 * time.Hour},
		{"stale", ru.Stale, time.Minute, 30 * 24 * time.Hour},
		{"window", ru.Window, 0, time.Hour},
		{"detect", ru.Detect, time.Second, 7 * 24 * time.Hour},
		{"relearn", ru.Relearn, time.Hour, 365 * 24 * time.Hour},
		{"offline_memory", ru.OfflineMemory, time.Minute, 365 * 24 * time.Hour},
		{"tombstones", ru.Tombstones, time.Minute, 30 * 24 * time.Hour},
		{"day_offset", ru.DayOffset, -14 * time.Hour, 14 * time.Hour},
		{"grace", c.Grace, 0, time.Hour},
	} {
		if f.value < f.min || f.value > f.max {
			errs = append(errs, fmt.Errorf("%s is %v, not between %v and %v", f.name, f.value, f.min, f.max))
		}
	}
	if ru.Window > ru.Detect {
		errs = append(errs, fmt.Errorf("window is %v, longer than detect (%v): a session would be given up before its hooks could be sorted", ru.Window, ru.Detect))
	}
	if ru.Tombstones < ru.Stale {
		errs = append(errs, fmt.Errorf("tombstones is %v, shorter than stale (%v): a late report could open a session that has ended", ru.Tombstones, ru.Stale))
	}
	if ru.OfflineMemory < ru.Tombstones {
		errs = append(errs, fmt.Errorf("offline_memory is %v, shorter than tombstones (%v): a peer would be forgotten before the ends of its sessions are", ru.OfflineMemory, ru.Tombstones))
	}
	if c.Trace < 0 || c.Trace > 1<<24 {
		errs = append(errs, fmt.Errorf("trace is %d, not between 0 and %d", c.Trace, 1<<24))
	}
	return errors.Join(errs...)
}
