package server

import (
	"context"
	"net/http"
	"time"

	"rollcall/edge/operator"
	"rollcall/presence"
)

func (s *Server) phaseName() string { return phaseNames[s.phase.Load()] }

// operatorOnly refuses what asks for the operator listener by a host that is none of its own.
func (s *Server) operatorOnly(next http.Handler) http.Handler {
	return operator.OnlyNamed(s.Admin(), s.cfg.Admin, s.cfg.AdminHosts, next)
}

// counting bounds how long counts are waited for: a store may have to look at every peer for them,
// and one that is out of reach must not keep an operator waiting for the reason.
func (s *Server) counting(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := 5 * time.Second
	if s.store.trouble() != "" {
		patience = time.Second
	}
	return context.WithTimeout(ctx, patience)
}

// mountOperator mounts what operators reach.
func (s *Server) mountOperator() http.Handler {
	rooms := []operator.Room{{Name: "leancloud", Counts: s.dialect.Counts}, {Name: "gateway", Counts: s.gateway.Counts}, {Name: "watch", Counts: s.hub.Counts}, {Name: "feed", Counts: s.feed.Counts}, {Name: "changes", Counts: s.changes.Counts}, {Name: "webhook", Counts: s.webhooks.Counts}, {Name: "reconcile", Counts: s.audits.Counts}}
	if s.hooks != nil {
		rooms = append(rooms, operator.Room{Name: "hooks", Counts: s.hooks.Counts})
	}
	dropped := func() int64 { return 0 }
	if s.sink != nil {
		dropped = s.sink.Dropped
	}
	return operator.New(operator.Deps{
		Log: s.log, Version: BuildVersion(), Listen: s.Listen(), Admin: s.Admin(), Phase: s.phaseName, Up: s.clock.Up, Now: s.clock.Now,
		Apps: func() []presence.AppID { return s.tenants.Load().ids }, Service: s.presence, Ask: s.ask, Intake: s.intake, Rooms: rooms, Gateway: func() any { return s.gateway.Stats() },
		Store: operator.Store{
			Name: s.store.name, Where: s.store.where, Shared: s.store.shared, Counts: s.store.counts, Trouble: func() string { return s.store.trouble() },
			Patience: s.counting,
		},
		Asked: s.asked, Rates: s.meter.PerSecond, Callers: s.callers, Shares: s.held.all(), Conns: s.app.Conns, Lane: s.app.Lane.Stats,
		Refused: func() map[string]int64 { return s.gate.Stats().Refused }, OldUses: s.ring.OldUses, Dropped: dropped, Unnamed: s.unnamed.List,
		V1: s.v1, Reconcile: s.audits.Handler(func() []presence.AppID { return s.tenants.Load().ids }), Reload: s.Reload, Settings: s.settings, Expires: s.certs.expires(), Profiling: s.cfg.Profiling,
	}, s.metrics).Handler()
}
