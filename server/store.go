package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"rollcall/internal/disk"
	"rollcall/presence"
	"rollcall/server/config"
	"rollcall/store/embedded"
	"rollcall/store/redisstore"
)

// An openedStore is a store and what the server shows of it.
type openedStore struct {
	presence.Store
	name   string // for people: "on disk"
	where  string
	shared bool // other nodes write to it too
	// When it surely received renewals for the last time; not of a shared one.
	lastAlive presence.Millis
	counts    func() map[string]int64 // by names of its own
	trouble   func() string           // why reports cannot be kept now; empty when they can
}

// storeDir is where the embedded store lives below the data directory.
const storeDir = "state"

// openState opens the store and the apps.
func (s *Server) openState(ctx context.Context) error {
	if s.cfg.Store == "" {
		// The store first: it keeps a second process out of the data directory.
		if err := s.openStore(); err != nil {
			return err
		}
		return s.openApps()
	}
	if err := s.openApps(); err != nil {
		return err
	}
	return s.openRedis(ctx)
}

// spoolDir is where reports wait, below the data directory, while Redis is away.
const spoolDir = "spool"

// openRedis opens the store that several nodes share.
func (s *Server) openRedis(ctx context.Context) error {
	deps := redisstore.Deps{URL: s.cfg.Store.Reveal(), Rules: s.cfg.Presence.Rules, Log: s.log, Apps: s.tenants.Load().ids}
	if s.cfg.Data != "" {
		deps.Spool = filepath.Join(s.cfg.Data, spoolDir)
	}
	st, err := redisstore.Open(ctx, s.cfg.Redis, deps)
	if no := (*redisstore.OpenError)(nil); errors.As(err, &no) {
		return &config.Hinted{Err: no.Err, Hint: no.Hint, Settings: no.Settings}
	}
	if err != nil {
		return err
	}
	s.clock = s.clock.By(st.Now)
	s.store = &openedStore{
		Store: st, name: "in Redis at " + st.Where(), where: st.Where(), shared: true,
		counts: st.Stats,
		trouble: func() string {
			if err := st.Ready(); err != nil {
				return err.Error()
			}
			return ""
		},
	}
	s.onStop(func(context.Context) {
		if err := st.Close(); err != nil {
			s.log.Error("store close failed", "err", err)
		}
	})
	return nil
}

// openStore opens the store of this process alone.
func (s *Server) openStore() error {
	deps := s.embedded()
	st, err := embedded.Open(s.cfg.Embedded, deps, s.clock.Now())
	if err != nil {
		return storeError(deps.Path, err)
	}
	s.store = &openedStore{
		Store: st, name: nameOf(s.cfg.Embedded, deps.Path), where: deps.Path, lastAlive: st.LastAlive(),
		counts:  func() map[string]int64 { return st.Stats().Counts() },
		trouble: func() string { return st.Stats().ReadOnly },
	}
	s.onStop(func(context.Context) {
		if err := st.Close(); err != nil {
			s.log.Error("store close failed", "err", err)
		}
	})
	return nil
}

// embedded returns what the embedded store is given beside its settings.
func (s *Server) embedded() embedded.Deps {
	deps := embedded.Deps{Rules: s.cfg.Presence.Rules, Grace: s.cfg.Presence.Grace, Log: s.log}
	if s.cfg.Data != "" {
		deps.Path = filepath.Join(s.cfg.Data, storeDir)
	}
	return deps
}

// nameOf says what keeps the state, and what may be lost.
func nameOf(cfg embedded.Config, path string) string {
	switch {
	case path == "":
		return "in memory; a restart forgets it"
	case cfg.Sync == embedded.SyncInterval:
		return "on disk in " + path + ", synced every " + cfg.SyncEvery.String() + ": a power loss may take that much"
	}
	return "on disk in " + path + ", synced before every answer"
}

// storeError says in one line why the store in dir does not open, and what can be done.
func storeError(dir string, err error) error {
	var damage *embedded.DamageError
	switch {
	case errors.Is(err, disk.ErrInUse):
		return config.NewHinted(fmt.Errorf("data directory %s: another process has it open", filepath.Dir(dir)),
			"stop that one, or choose another directory with --data")
	case errors.As(err, &damage):
		return config.NewHinted(damage, fmt.Sprintf("nothing was changed; \"rollcall repair --data %s\" says what would be lost, and repairs it when told so", filepath.Dir(dir)))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return config.NewHinted(err, "give this user the right to write there, or choose another directory with --data")
	}
	return err
}
