package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rollcall/ask"
	"rollcall/ask/token"
	"rollcall/edge/changeout"
	"rollcall/edge/changes"
	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/edge/hookout"
	"rollcall/edge/leancloud"
	"rollcall/edge/operator"
	"rollcall/edge/rest"
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/feed"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/disk"
	"rollcall/internal/limit"
	"rollcall/internal/logs"
	"rollcall/internal/running"
	"rollcall/internal/systemd"
	"rollcall/presence"
	"rollcall/server/config"
	"rollcall/server/port"
	"rollcall/watch"
)

// A Server is one rollcall process: its listeners, its store and its loops.
type Server struct {
	cfg   config.Config
	log   *slog.Logger
	sink  *logs.Sink
	clock Clock

	app, admin *port.Listener
	certs      certificates

	store    *openedStore
	presence *presence.Service
	intake   *intake.Intake
	ask      *ask.Reader
	ring     *api.Keyring
	tenants  atomic.Pointer[tenancy]
	sources  []webhook.Source // at the start
	reloads  reloads
	made     bool
	metrics  *operator.Metrics
	doors    *doors
	gate     *api.Gate
	callers  *limit.Callers // the rates of all doors
	held     shares
	unnamed  limit.Unnamed
	hub      *watch.Hub
	feed     *feed.Feed
	changed  *changes.Door
	rest     *rest.Door
	webhooks *webhook.Door
	record   func(*webhook.Call) bool // nil: calls are not kept
	audits   *reconcile.Runner
	history  *rest.History
	v1       http.Handler // for operators
	demo     http.Handler // nil: there is none
	dialect  *leancloud.Handler
	gateway  *gateway.Gateway
	users    *usertoken.Verifier
	rtm      *rtm.Server
	hooks    *hookout.Sender // nil: no hooks are called
	changes  *changeout.Sender
	meter    api.Meter

	phase atomic.Int32
	loops sync.WaitGroup
	undo  []func(context.Context)
}

// The phases of a server's life.
const (
	phaseStarting int32 = iota
	phaseReady
	phaseStopping
)

var phaseNames = [...]string{"starting", "ready", "stopping"}

// New binds the ports of cfg, which must be valid. sink may be nil; it is only counted.
func New(cfg config.Config, log *slog.Logger, sink *logs.Sink) (*Server, error) {
	s := &Server{cfg: cfg, log: log, sink: sink, clock: NewClock(), callers: limit.NewCallers(cfg.Gate.Limits)}
	s.unnamed.Log = log
	most := cfg.HTTP.MaxConnections
	if most == 0 {
		most = maxConnections()
	}
	inherited, err := systemd.Inherit("listen", "admin", "listen_tls")
	if err != nil {
		return nil, err
	}
	defer inherited.Close()
	app := port.Port{
		Setting: "listen", Address: cfg.Listen, Max: most, Write: cfg.HTTP.AnswerTimeout, Proxies: cfg.Proxies, Queued: true,
	}
	if cfg.ListenTLS != "" {
		if err := s.openCertificates(); err != nil {
			return nil, err
		}
		s.recommendProxy(most)
		app.Certs = s.certs.tlsConfig()
		app.Secure = &port.Port{Setting: "listen_tls", Address: cfg.ListenTLS}
	}
	if s.app, err = port.Bind(app, cfg.HTTP, inherited, log); err != nil {
		return nil, err
	}
	admin := port.Port{Setting: "admin", Address: cfg.Admin, Max: operatorConnections(), Write: operatorWrite, Proxies: anybody}
	if s.admin, err = port.Bind(admin, cfg.HTTP, inherited, log); err != nil {
		s.app.Abandon()
		return nil, err
	}
	return s, nil
}

// Start opens the store and mounts the doors. When it fails, nothing is left open.
func (s *Server) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.Stop(ctx)
		}
	}()
	s.app.Serve()
	s.admin.Serve()
	s.onStop(func(ctx context.Context) { s.admin.Stop(ctx) })
	s.admin.Mount(s.operatorOnly(operator.Health(s.phaseName)), false)
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.openState(ctx); err != nil {
		return err
	}
	if err := s.openACME(); err != nil {
		return err
	}
	if err := s.openRecorder(); err != nil {
		return err
	}
	s.presence = presence.NewService(s.store.Store, s.cfg.Presence)
	s.intake = intake.New(s.cfg.REST.Nodes, intake.Deps{Service: s.presence, Now: s.clock.Now})
	s.presence.Resume(s.store.lastAlive, s.clock.Now())
	if s.history, err = rest.OpenHistory(s.cfg.Data); err != nil {
		s.log.Warn("cannot read history; it starts empty", "err", err)
	}
	s.metrics = operator.NewMetrics()
	s.ask = ask.New(ask.Deps{Rules: s.presence, Store: s.store, Now: s.clock.Now, Tokens: token.NewSealer(s.secretsOf)})
	if err := s.openGateway(); err != nil {
		return err
	}
	if s.doors, err = s.mountApp(); err != nil {
		return err
	}
	if err := s.openChanges(); err != nil {
		return err
	}
	s.takeReloads()
	s.startLoops()
	s.admin.Mount(s.operatorOnly(s.mountOperator()), true)
	s.app.CountRefusals(s.gate)
	s.app.Mount(s.doors, true)
	s.openLane()
	s.onStop(s.app.Stop)
	s.onStop(s.app.Linger)
	// Streams end only when the hub closes them.
	s.onStop(func(context.Context) { s.hub.Close(watch.ReasonShutdown); s.changed.Close() })
	// First: clients that come back from now on are for the next process.
	s.onStop(s.app.Drain)
	s.announce()
	s.phase.Store(phaseReady)
	systemd.Ready()
	s.log.Info("ready", "listen", s.Listen(), "listen_tls", s.ListenTLS(), "admin", s.Admin(), "store", s.store.name, "ask", s.cfg.Gate.Ask, "present", s.cfg.Present(), "took", s.clock.Up().Round(time.Millisecond))
	return nil
}

// secretsOf returns the secret of an app for its tokens and the old one beside it; "" for an app
// that is none of ours.
func (s *Server) secretsOf(id presence.AppID) (secret, old string) {
	if app := s.ring.Lookup(id); app != nil {
		return app.Secrets()
	}
	return "", ""
}

// onStop has Stop call fn; what was deferred last is called first.
func (s *Server) onStop(fn func(context.Context)) { s.undo = append(s.undo, fn) }

// Stop ends what Start began, in reverse, and returns when all of it is down. Requests under way
// may take as long as the settings allow, or ctx.
func (s *Server) Stop(ctx context.Context) {
	if s.phase.Swap(phaseStopping) == phaseStopping {
		return
	}
	systemd.Stopping()
	s.drain(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.HTTP.StopTimeout)
	defer cancel()
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i](ctx)
	}
	// A start that failed early has not deferred the app listener yet.
	s.app.Stop(ctx)
}

// prepare makes the data directory, for its owner only.
func (s *Server) prepare() error {
	dir := s.cfg.Data
	if dir == "" {
		return nil
	}
	if to, broken := brokenLink(dir); broken {
		return config.NewHinted(fmt.Errorf("data directory %s: it is a symbolic link to %s, which leads nowhere", dir, to),
			"make the directory that it leads to, remove the link, or choose another with --data DIR")
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = disk.Usable(dir)
	}
	if err != nil {
		return config.NewHinted(fmt.Errorf("data directory %s: %s", dir, cause(err)),
			"choose another with --data DIR, or give this user the right to write there")
	}
	return nil
}

// brokenLink reports whether dir is a symbolic link to nothing or back to itself, of which the
// system says only that it exists.
func brokenLink(dir string) (to string, broken bool) {
	to, err := os.Readlink(filepath.Clean(dir))
	if err != nil {
		return "", false
	}
	_, err = os.Stat(dir)
	return to, errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP)
}

// cause returns the innermost text of a file error, whose path the reader knows already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// openApps takes the configured apps, or the one kept in the data directory, made when there is
// none.
func (s *Server) openApps() error {
	apps := s.cfg.Apps
	if len(apps) == 0 {
		app, made, err := config.KeysIn(s.cfg.Data)
		if err != nil {
			if errors.Is(err, config.ErrNoKeysYet) {
				return fmt.Errorf("keys of the app: %w", err)
			}
			return config.NewHinted(fmt.Errorf("keys of the app: %w", err), "the keys cannot be guessed again: put the file right, or move it away to have a new app made")
		}
		apps, s.made = []config.App{app}, made
		s.warnOpenKeys()
		s.showMade(app)
	}
	t := newTenancy(apps, nil)
	s.tenants.Store(t)
	var err error
	if s.sources, err = s.cfg.Webhooks(t.ids); err != nil {
		return err
	}
	s.ring, err = api.NewLoggedKeyring(config.Tenants(apps), s.log)
	return err
}

func (s *Server) warnOpenKeys() {
	if s.cfg.Data == "" {
		return
	}
	name := s.KeysFile()
	if st, err := os.Stat(name); err == nil && st.Mode().Perm()&0o077 != 0 {
		s.log.Warn("keys file readable by other users", "file", name, "mode", fmt.Sprintf("%04o", st.Mode().Perm()))
	}
}

// announce has other commands find this server. A disk that is full or read-only must not keep a
// server away that can still answer.
func (s *Server) announce() {
	dir := s.cfg.Data
	if dir == "" {
		return
	}
	if err := running.Write(dir, running.Server{PID: os.Getpid(), Listen: s.Listen(), Admin: s.Admin()}); err != nil {
		s.log.Warn("running file write failed; commands need --admin", "err", err)
		return
	}
	s.onStop(func(context.Context) { running.Remove(dir) })
}

// Listen returns the address of the app listener.
func (s *Server) Listen() string { return s.app.Address() }

// ListenTLS returns the address of the app listener for TLS; "" when there is none.
func (s *Server) ListenTLS() string { return s.app.TLSAddress() }

// Admin returns the address of the operator listener.
func (s *Server) Admin() string { return s.admin.Address() }

// Apps returns the tenants, once started.
func (s *Server) Apps() []config.App { return s.tenants.Load().apps }

// Access says in one line who may ask and who may be present.
func (s *Server) Access() string { return s.cfg.Access() }

// Made reports whether this start made the keys of the only app.
func (s *Server) Made() bool { return s.made }

// KeysFile returns the file that holds the keys of the app that rollcall made; "" when there is
// none.
func (s *Server) KeysFile() string {
	if len(s.cfg.Apps) > 0 || s.cfg.Data == "" {
		return ""
	}
	return filepath.Join(s.cfg.Data, config.KeysFile)
}

// StoreName returns what keeps the state, for people.
func (s *Server) StoreName() string { return s.store.name }
