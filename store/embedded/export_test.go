package embedded

import "rollcall/presence"

// A Setup is all that a store of a test is opened with.
type Setup struct {
	Config
	Deps
}

// Open opens the store.
func (s Setup) Open(now presence.Millis) (*Store, error) { return Open(s.Config, s.Deps, now) }

// Inspect looks for damage.
func (s Setup) Inspect() (*Report, error) { return Inspect(s.Config, s.Deps) }

// Repair repairs it.
func (s Setup) Repair() (*Report, error) { return Repair(s.Config, s.Deps) }
