package presence

import (
	"errors"
	"fmt"
)

// Validate returns what is wrong between the settings of c, as joined errors; each begins with the
// name of its setting.
func (c *Config) Validate() error {
	ru := &c.Rules
	var errs []error
	if ru.Window > ru.Detect {
		errs = append(errs, fmt.Errorf("window is %v, longer than detect (%v): a session would be given up before its hooks could be sorted", ru.Window, ru.Detect))
	}
	if ru.Tombstones < ru.Stale {
		errs = append(errs, fmt.Errorf("tombstones is %v, shorter than stale (%v): a late report could open a session that has ended", ru.Tombstones, ru.Stale))
	}
	if ru.OfflineMemory < ru.Tombstones {
		errs = append(errs, fmt.Errorf("offline_memory is %v, shorter than tombstones (%v): a peer would be forgotten before the ends of its sessions are", ru.OfflineMemory, ru.Tombstones))
	}
	return errors.Join(errs...)
}
