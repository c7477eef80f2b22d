package server

import (
	"context"
	"net/http"

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
	gate.Proxies = s.proxies()
	gate.Callers, gate.Bodies, gate.Watchers, gate.Watched = s.callers, s.held.bodies, s.held.watchers, s.held.watched
	gate.BodyTimeout = s.cfg.HTTP.BodyTimeout
	gate.Keys, gate.Log, gate.Now = s.ring, s.log, func() int64 { return int64(s.clock.Now()) }
	s.gate = api.NewGate(gate)

	hub := s.cfg.Watch
	hub.Now, hub.Tokens = s.clock.Now, s.ask.Tokens
	s.hub = watch.New(s.presence, s.store, hub)

	cfg := s.cfg.REST
	cfg.Now, cfg.Info, cfg.Stats = s.clock.Now, s.info, s.stats
	s.rest = rest.New(s.presence, s.intake, s.ask, s.gate, cfg)

	mux := http.NewServeMux()
	s.gate.Mux(mux, s.rest.Routes())
	s.gate.Mux(mux, sse.New(s.hub, s.gate, s.cfg.SSE).Routes())
	sockets := socket.New(s.gateway, s.hub, s.gate, socket.Config{Signatures: s.cfg.RTM.Signatures, SignatureLife: s.cfg.RTM.SignatureLife})
	s.gate.Mux(mux, sockets.Routes())
	s.onStop(func(context.Context) { sockets.Close() })
	mux.Handle("/", s.gate.NotFound())
	return s.gate.Clean(mux)
}

// Info is what GET /v1/info tells anybody: what this server allows, and how wrong an answer may be.
type Info struct {
	Release string         `json:"release"`
	Now     int64          `json:"now"`
	Limits  map[string]int `json:"limits"`
	// Seconds are the times that a client may have to know.
	Seconds map[string]float64 `json:"seconds"`
	// GhostBound is the longest time in seconds that a peer is shown online after its last sign of life, by what held it.
	GhostBound map[string]float64 `json:"ghost_bound_seconds"`
}

func (s *Server) info() any {
	c := &s.cfg
	sweep := c.Sweep.Seconds()
	return Info{
		Release: Release, Now: int64(s.clock.Now()),
		Limits: map[string]int{
			"peers_per_query": c.REST.MaxPeers, "peers_per_device_query": c.REST.MaxDevices, "peers_per_watch": c.Watch.Peers,
			"events_per_batch": c.REST.MaxEvents, "sessions_per_resync": c.REST.MaxSessions, "peers_per_page": c.REST.Page,
			"body_bytes": c.REST.MaxBody, "resync_body_bytes": rest.ResyncBodies * c.REST.MaxBody, "watch_body_bytes": c.SSE.MaxBody,
			"json_depth": api.MaxDepth, "peer_id_bytes": presence.MaxPeer, "frame_bytes": c.Watch.Buffer, "watchers": int(s.held.watchers.Total()),
			"peers_watched": int(s.held.watched.Total()), "watchers_per_address": c.Watch.AddressWatchers, "peers_watched_per_address": c.Watch.AddressPeers,
			"sockets": s.gateway.Config().MaxSockets, "hello_bytes": c.Gateway.EarlyLimit, "message_bytes": c.Gateway.MessageLimit,
		},
		Seconds: map[string]float64{
			"tick": c.Watch.Tick.Seconds(), "mark": c.Watch.Mark.Seconds(), "stall": c.SSE.Stall.Seconds(),
			"hold": c.REST.Hold.Seconds(), "lease": c.Presence.Rules.Lease.Seconds(), "hook_lease": c.LeanCloud.HookLease.Seconds(),
			"node_lease": c.REST.Nodes.NodeLease.Seconds(), "drain_grace": c.REST.Nodes.DrainGrace.Seconds(), "sweep": sweep,
			"offline_memory": c.Presence.Rules.OfflineMemory.Seconds(), "tombstones": c.Presence.Rules.Tombstones.Seconds(),
			"reorder_window": c.Presence.Rules.Window.Seconds(), "signature_window": api.SignatureWindow.Seconds(),
			"ticket": api.TicketLife.Seconds(), "renewal": api.RenewalLife.Seconds(),
		},
		GhostBound: map[string]float64{
			"session": c.Presence.Rules.Lease.Seconds() + sweep, "hook": c.LeanCloud.HookLease.Seconds() + sweep,
			"node": c.REST.Nodes.NodeLease.Seconds() + sweep,
		},
	}
}

// AppStats is what GET /v1/stats tells of one app.
type AppStats struct {
	Online int64 `json:"online"` // now
	Known  int64 `json:"known"`  // online, or offline and remembered
	Today  int64 `json:"today"`  // distinct peers that came online on the present local day

	// Days are the last thirty, the oldest first, today's last; as this node has sampled them.
	Days []Day `json:"days"`
	// Of the app on this node, over the last minute.
	Rates Rates `json:"per_second"`
	// Watchers are those of the app on this node, and the peers they follow.
	Watchers int `json:"watchers"`
	Watched  int `json:"watched"`
}

func (s *Server) stats(ctx context.Context, app presence.AppID) (any, error) {
	now := s.clock.Now()
	ctx, cancel := s.counting(ctx)
	defer cancel()
	c, err := s.store.Counts(ctx, app, now)
	if err != nil {
		return nil, err
	}
	size := s.hub.SizeOf(app)
	return AppStats{
		Online: c.Online, Known: c.Known, Today: c.Today, Days: s.history.days(app), Rates: s.appRates[string(app)].perSecond(),
		Watchers: size.Watchers, Watched: size.Peers,
	}, nil
}
