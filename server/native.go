package server

import (
	"context"
	"fmt"
	"net/http"

	"rollcall/ask"
	"rollcall/edge/changes"
	socket "rollcall/edge/gateway/v1"
	"rollcall/edge/rest"
	"rollcall/edge/sse"
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/reconcile"
	"rollcall/edge/webhook/record"
	"rollcall/feed"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/server/config"
	"rollcall/watch"
)

// mountNative starts the hub and mounts the doors of the native API, all behind one gate.
func (s *Server) mountNative() http.Handler {
	s.gate = api.NewGate(s.cfg.Gate, api.Deps{
		Users: s.users,
		Keys:  s.ring, Log: s.log, Now: func() int64 { return int64(s.clock.Now()) }, Proxies: s.cfg.Proxies, BodyTimeout: s.cfg.HTTP.BodyTimeout,
		Callers: s.callers, Bodies: s.held.bodies, Watchers: s.held.watchers, Watched: s.held.watched,
	})
	s.hub = watch.New(s.cfg.Watch, watch.Deps{Service: s.presence, Source: s.store, Now: s.clock.Now, Tokens: s.ask.Tokens})
	s.rest = rest.New(s.cfg.REST, rest.Deps{
		Service: s.presence, Intake: s.intake, Ask: s.ask, Gate: s.gate, Now: s.clock.Now, Others: s.others(), Sample: s.appSample, History: s.history,
	})
	s.webhooks = webhook.New(s.sources, webhook.Deps{Intake: s.intake, Gate: s.gate, Now: s.clock.Now, Proxies: s.cfg.Proxies, Record: s.record})
	s.audits = reconcile.New(reconcile.Deps{
		Service: s.presence, Ask: s.ask, Trouble: func() string { return s.store.trouble() }, Now: s.clock.Now, Log: s.log,
	})
	stream := sse.New(s.cfg.SSE, sse.Deps{Hub: s.hub, Gate: s.gate})
	s.feed = feed.New(s.cfg.Feed.Feed, feed.Deps{Service: s.presence, Source: s.store, Now: s.clock.Now})
	s.onStop(func(context.Context) { s.feed.Close() })
	s.keepFeeds()
	s.changed = changes.New(s.cfg.Feed, changes.Deps{Feed: s.feed, Tokens: s.ask.Tokens, Readers: s.held.readers})
	present := socket.Config{Proof: s.cfg.PresentByToken(), SignatureLife: s.cfg.RTM.SignatureLife}
	sockets := socket.New(present, socket.Deps{Gateway: s.gateway, Hub: s.hub, Gate: s.gate})
	s.onStop(func(context.Context) { sockets.Close() })
	// Operators have no use for the socket, whose clients show who they are inside.
	s.v1 = s.gate.Operator().Handler(s.rest.Routes(), stream.Routes(), s.changed.Routes())
	return s.gate.Handler(s.rest.Routes(), stream.Routes(), s.changed.Routes(), sockets.Routes(), s.webhooks.Routes())
}

// openRecorder has the calls of sources kept where the settings say so.
func (s *Server) openRecorder() error {
	dir := s.cfg.Record
	if dir == "" {
		return nil
	}
	r, err := record.Open(dir, s.log)
	if err != nil {
		return config.NewHinted(fmt.Errorf("record directory %s: %s", dir, cause(err)), "choose another with --record DIR, or give this user the right to write there")
	}
	s.record = r.Take
	s.onStop(func(context.Context) { _ = r.Close() })
	return nil
}

// keepFeeds has every app keep its register of changes from now on, if the settings say so.
func (s *Server) keepFeeds() {
	if !s.cfg.Feed.Feed.Always {
		return
	}
	for _, app := range s.tenants.Load().ids {
		s.feed.Keep(app)
	}
}

// others are the settings that GET /v1/info names and the REST door does not have.
func (s *Server) others() rest.Others {
	c := &s.cfg
	return rest.Others{
		Release: Release, Ask: c.Gate.Ask, Present: c.Present(), Rules: c.Presence.Rules, Watch: c.Watch, Sweep: c.Sweep, HookLease: c.LeanCloud.HookLease, Stall: c.SSE.Stall,
		Watchers: int(s.held.watchers.Total()), Watched: int(s.held.watched.Total()), Sockets: s.gateway.Config().MaxSockets,
		WatchBody: c.SSE.MaxBody, Hello: c.Gateway.EarlyLimit, Message: c.Gateway.MessageLimit,
		ChangeReaders: int(s.held.readers.Total()), ChangePage: c.Feed.Page, ChangeWait: c.Feed.Wait,
	}
}

// appSample counts the peers and watchers of app.
func (s *Server) appSample(ctx context.Context, app presence.AppID) (rest.Sample, error) {
	ctx, cancel := s.counting(ctx)
	defer cancel()
	c, err := s.ask.Counts(ctx, ask.View{App: app, Viewer: ask.Server})
	size := s.hub.SizeOf(app)
	sample := rest.Sample{Counts: c, Watchers: size.Watchers, Watched: size.Peers}
	if m := s.tenants.Load().meters[app]; m != nil { // a reload may have removed the app meanwhile
		sample.Rates = m.PerSecond()
	}
	return sample, err
}
