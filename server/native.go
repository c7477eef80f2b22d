package server

import (
	"context"
	"net/http"

	"rollcall/ask"
	socket "rollcall/edge/gateway/v1"
	"rollcall/edge/rest"
	"rollcall/edge/sse"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// mountNative starts the hub and mounts the doors of the native API, all behind one gate.
func (s *Server) mountNative() http.Handler {
	gate := s.cfg.Gate
	gate.Proxies = s.cfg.Proxies
	gate.Callers, gate.Bodies, gate.Watchers, gate.Watched = s.callers, s.held.bodies, s.held.watchers, s.held.watched
	gate.BodyTimeout = s.cfg.HTTP.BodyTimeout
	gate.Keys, gate.Log, gate.Now = s.ring, s.log, func() int64 { return int64(s.clock.Now()) }
	s.gate = api.NewGate(gate)

	hub := s.cfg.Watch
	hub.Now, hub.Tokens = s.clock.Now, s.ask.Tokens
	s.hub = watch.New(s.presence, s.store, hub)

	cfg := s.cfg.REST
	cfg.Now, cfg.Others, cfg.Sample, cfg.History = s.clock.Now, s.others(), s.appSample, s.history
	s.rest = rest.New(s.presence, s.intake, s.ask, s.gate, cfg)

	stream := sse.New(s.hub, s.gate, s.cfg.SSE)
	sockets := socket.New(s.gateway, s.hub, s.gate, socket.Config{Signatures: s.cfg.RTM.Signatures, SignatureLife: s.cfg.RTM.SignatureLife})
	s.onStop(func(context.Context) { sockets.Close() })
	// Operators have no use for the socket, whose clients show who they are inside.
	s.v1 = s.gate.Operator().Handler(s.rest.Routes(), stream.Routes())
	return s.gate.Handler(s.rest.Routes(), stream.Routes(), sockets.Routes())
}

// others are the settings that GET /v1/info names and the REST door does not have.
func (s *Server) others() rest.Others {
	c := &s.cfg
	return rest.Others{
		Release: Release, Rules: c.Presence.Rules, Watch: c.Watch, Sweep: c.Sweep, HookLease: c.LeanCloud.HookLease, Stall: c.SSE.Stall,
		Watchers: int(s.held.watchers.Total()), Watched: int(s.held.watched.Total()), Sockets: s.gateway.Config().MaxSockets,
		WatchBody: c.SSE.MaxBody, Hello: c.Gateway.EarlyLimit, Message: c.Gateway.MessageLimit,
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
