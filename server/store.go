package server

import (
	"context"
	"path/filepath"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// An openedStore is a store and what the server shows of it.
type openedStore struct {
	presence.Store
	name      string // for people: "on disk"
	where     string
	shared    bool                    // other nodes write to it too
	lastAlive presence.Millis         // when it surely heard renewals for the last time
	counts    func() map[string]int64 // by names of its own
	trouble   func() string           // why reports cannot be kept now; empty when they can
}

// stepContext bounds a look into the store that nobody waits for long.
func stepContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Second)
}

// storeDir is where the embedded store lives below the data directory.
const storeDir = "state"

// openStore opens the store that the configuration names.
func (s *Server) openStore(context.Context) error {
	cfg := s.cfg.Embedded
	cfg.Rules, cfg.Grace, cfg.Logger = s.cfg.Presence.Rules, s.cfg.Presence.Grace, s.log
	name := "in memory; a restart forgets it"
	if s.cfg.Data != "" {
		cfg.Path = filepath.Join(s.cfg.Data, storeDir)
		name = "on disk in " + cfg.Path + ", synced before every answer"
		if cfg.Sync == embedded.SyncInterval {
			name = "on disk in " + cfg.Path + ", synced every " + cfg.SyncEvery.String() + ": a power loss may take that much"
		}
	}
	cfg.Path, name = "", "in memory until the store on disk is built" // until embedded keeps a path
	st, err := embedded.Open(cfg, s.clock.Now())
	if err != nil {
		return err
	}
	s.store = &openedStore{
		Store: st, name: name, where: cfg.Path, lastAlive: st.LastAlive(),
		counts:  func() map[string]int64 { return nil },
		trouble: func() string { return "" },
	}
	s.onStop(func(context.Context) {
		if err := st.Close(); err != nil {
			s.log.Error("the store was not closed well", "err", err)
		}
	})
	return nil
}
