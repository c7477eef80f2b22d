package server

import (
	"context"
	"path/filepath"

	"rollcall/edge/changeout"
)

// changesDir keeps the changes that wait, in the data directory.
const changesDir = "changes.journal"

// openChanges starts what posts changes to the servers of the apps.
func (s *Server) openChanges() error {
	receivers, err := s.cfg.Receivers(s.tenants.Load().ids)
	if err != nil {
		return err
	}
	deps := changeout.Deps{
		Service: s.presence, Store: s.store.Store, Feed: s.feed, Shared: s.store.shared, Now: s.clock.Now, Log: s.log,
		UserAgent: "rollcall/" + Release,
	}
	if s.cfg.Data != "" {
		deps.Journal = filepath.Join(s.cfg.Data, changesDir)
	}
	if s.changes, err = changeout.Open(receivers, deps); err != nil {
		return err
	}
	s.onStop(func(ctx context.Context) {
		if err := s.changes.Close(ctx); err != nil {
			s.log.Error("changes journal close failed", "err", err)
		}
	})
	return nil
}
