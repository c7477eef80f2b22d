package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"rollcall/edge/operator"
	"rollcall/internal/api"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/server/config"
)

// Live is what a reload needs beside the configuration that a server was made with.
type Live struct {
	Load   func(context.Context) (config.Loaded, error) // the configuration as it is written now
	Loaded config.Loaded                                // as the server was made with
	Level  *slog.LevelVar                               // of the log
}

// tenancy are the apps at one time. A reload replaces it whole.
type tenancy struct {
	apps   []config.App
	ids    []presence.AppID
	meters map[presence.AppID]*api.Meter
}

// newTenancy returns apps with the meters of before, which may be nil.
func newTenancy(apps []config.App, before *tenancy) *tenancy {
	t := &tenancy{apps: apps, meters: map[presence.AppID]*api.Meter{}}
	for _, a := range apps {
		id := presence.AppID(a.ID)
		m := &api.Meter{}
		if before != nil && before.meters[id] != nil {
			m = before.meters[id]
		}
		t.ids, t.meters[id] = append(t.ids, id), m
	}
	return t
}

// reloads are the settings in force and what changes them.
type reloads struct {
	Live
	mu      sync.Mutex // one reload at a time
	running atomic.Pointer[[]configload.Setting]
	gone    atomic.Pointer[[]presence.AppID] // apps that a reload removed
	// takers take what a reload may change: each returns what takes it, or an error, which changes
	// nothing.
	takers []func(*config.Config) (take func(), err error)
}

// OnReload has [Server.Reload] take settings up by live. Call it before Start.
func (s *Server) OnReload(live Live) {
	s.reloads.Live = live
	s.reloads.running.Store(&live.Loaded.Settings)
}

// errNoReload: the server was made from no sources that could be read again.
var errNoReload = errors.New("this server was started without sources of its settings")

// takeReloads names what a reload may change.
func (s *Server) takeReloads() {
	s.reloads.takers = []func(*config.Config) (func(), error){s.reloadApps, s.reloadLimits, s.reloadCertificate}
}

// Reload reads the configuration again and takes up what may change while the server runs; the
// result names what did, and what differs and waits for the next start. A configuration with a
// mistake changes nothing.
func (s *Server) Reload(ctx context.Context) (r operator.Reloaded, err error) {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	if s.reloads.Load == nil {
		return r, errNoReload
	}
	defer func() {
		if err != nil {
			s.log.Warn("reload refused; settings unchanged", "err", err)
			return
		}
		s.log.Info("reload finished", "changed", len(r.Changed), "next_start", len(r.NextStart))
	}()
	loaded, err := s.reloads.Load(ctx)
	if err != nil {
		return r, err
	}
	var takes []func()
	for _, taker := range s.reloads.takers {
		take, err := taker(&loaded.Config)
		if err != nil {
			return r, err
		}
		takes = append(takes, take)
	}
	for _, take := range takes {
		take()
	}
	running := *s.reloads.running.Load()
	// The app that was made is written nowhere.
	if len(loaded.Config.Apps) == 0 && s.cfg.Data == "" {
		loaded.Settings = append(loaded.Settings, entries(running)...)
	}
	if !s.filesTaken(&loaded.Config) {
		running, loaded.Settings = withoutFiles(running), withoutFiles(loaded.Settings)
	}
	for _, c := range configload.Changes(running, loaded.Settings) {
		if c.Live {
			r.Changed = append(r.Changed, c)
		} else {
			r.NextStart = append(r.NextStart, c)
		}
	}
	next := configload.Live(running, loaded.Settings)
	s.reloads.running.Store(&next)
	return r, nil
}

// entries returns the settings of apps among all.
func entries(all []configload.Setting) []configload.Setting {
	return slices.DeleteFunc(slices.Clone(all), func(s configload.Setting) bool { return s.Entry == "" })
}

// reloadApps takes the apps, their keys, their sources and the receivers of their changes. What
// belongs to an app that is gone ends.
func (s *Server) reloadApps(cfg *config.Config) (func(), error) {
	before := s.tenants.Load()
	apps := cfg.Apps
	if len(apps) == 0 {
		var err error
		if apps, err = s.keptApps(before); err != nil {
			return nil, err
		}
	}
	if _, err := api.NewKeyring(config.Tenants(apps)); err != nil {
		return nil, err
	}
	after := newTenancy(apps, before)
	sources, err := cfg.Webhooks(after.ids)
	if err != nil {
		return nil, err
	}
	receivers, err := cfg.Receivers(after.ids)
	if err == nil {
		err = s.changes.Prepare(receivers)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		s.webhooks.Replace(sources)
		s.audits.Replace(sources)
		s.changes.Replace(receivers)
		s.tenants.Store(after)
		_ = s.ring.Replace(config.Tenants(apps)) // they were tried
		s.ask.Tokens.Renew()
		s.held.setApps(len(apps))
		s.keepFeeds()
		var gone []presence.AppID
		if old := s.reloads.gone.Load(); old != nil {
			gone = *old
		}
		gone = slices.DeleteFunc(append(slices.Clone(gone), before.ids...), func(id presence.AppID) bool { return after.meters[id] != nil })
		slices.Sort(gone)
		gone = slices.Compact(gone)
		s.reloads.gone.Store(&gone)
		s.endGone()
	}, nil
}

// keptApps returns the app that rollcall made, as its file has it now; what there is when it was
// kept nowhere.
func (s *Server) keptApps(before *tenancy) ([]config.App, error) {
	if s.cfg.Data == "" {
		return before.apps, nil
	}
	app, made, err := config.KeysIn(s.cfg.Data)
	if err == nil && made {
		err = errors.New("the configuration has no app any more")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(s.cfg.Data, config.KeysFile), err)
	}
	return []config.App{app}, nil
}

// endGone ends what belongs to apps that a reload removed. It is called every second: a call may
// have been let through before the reload and open a socket after it.
func (s *Server) endGone() {
	gone := s.reloads.gone.Load()
	if gone == nil {
		return
	}
	for _, id := range *gone {
		s.gateway.EndApp(id)
		s.hub.EndApp(id)
		s.feed.Drop(id)
	}
}

// reloadLimits takes the limits of callers and the level of the log.
func (s *Server) reloadLimits(cfg *config.Config) (func(), error) {
	return func() {
		s.callers.SetLimits(cfg.Gate.Limits)
		s.gateway.SetRates(cfg.Gateway)
		if s.reloads.Level != nil {
			cfg.Log.SetLevel(s.reloads.Level)
		}
	}, nil
}

// showMade has the settings in force show the app that this start made.
func (s *Server) showMade(app config.App) {
	if !s.made || s.reloads.Load == nil {
		return
	}
	from := "made at this start"
	if s.cfg.Data != "" {
		from = filepath.Join(s.cfg.Data, config.KeysFile)
	}
	running := append(slices.Clone(s.settings()), config.AppSettings(app, from)...)
	s.reloads.running.Store(&running)
}

// settings returns the settings in force.
func (s *Server) settings() []configload.Setting {
	if running := s.reloads.running.Load(); running != nil {
		return *running
	}
	return nil
}
