package server

import (
	"context"
	"time"

	"rollcall/edge/rest"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/lograte"
)

// startLoops starts what runs beside the requests. Stop ends it and waits.
func (s *Server) startLoops() {
	ctx, cancel := context.WithCancel(context.Background())
	s.loops.Go(func() { s.every(ctx, s.cfg.Sweep, s.sweep()) })
	s.loops.Go(func() { s.every(ctx, time.Second, func(context.Context) { s.sample(); s.endGone() }) })
	s.loops.Go(func() { s.every(ctx, rest.HistorySample, s.remember()) })
	s.loops.Go(func() { s.every(ctx, time.Second, s.watchClocks()) })
	s.startCertificates(ctx)
	s.audits.Replace(s.sources)
	s.onStop(func(context.Context) { s.audits.Stop() })
	s.onStop(func(context.Context) {
		cancel()
		s.loops.Wait()
		if err := s.history.Save(); err != nil {
			s.log.Warn("cannot save history", "err", err)
		}
	})
}

// every calls fn each period until ctx ends; a call that takes longer than the period delays the
// next.
func (s *Server) every(ctx context.Context, period time.Duration, fn func(context.Context)) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fn(ctx)
		}
	}
}

// sample notes the totals of this second, of all apps and of each.
func (s *Server) sample() {
	s.meter.Sample(s.totals())
	for app, m := range s.tenants.Load().meters {
		m.Sample(api.Totals(s.presence.Counters().OfApp(app)))
	}
}

// totals returns the counts since the start.
func (s *Server) totals() api.Totals {
	queries, ids := s.asked()
	t := api.Totals{Changes: s.presence.Counters().Changes(), Queries: queries, IDs: ids}
	for _, verdicts := range s.presence.Counters().Reports() {
		for _, n := range verdicts {
			t.Reports += n
		}
	}
	return t
}

// asked returns how many queries the doors have answered, and the ids in them.
func (s *Server) asked() (queries, ids int64) {
	dialect, native := s.dialect.Stats(), s.rest.Stats()
	return dialect.Queries + native.Queries, dialect.IDs + native.IDs
}

// remember returns what samples the counts of every app for the history.
func (s *Server) remember() func(context.Context) {
	var trouble lograte.Episode
	return func(ctx context.Context) {
		err := s.history.Sample(ctx, s.ask, s.tenants.Load().ids)
		if begins, _ := trouble.Note(err); begins {
			s.log.Warn("cannot save history", "err", err)
		}
	}
}

// watchClocks returns what logs the senders whose clocks are off.
func (s *Server) watchClocks() func(context.Context) {
	var news intake.ClockNews
	return func(context.Context) {
		for _, c := range news.Pick(s.presence.Counters().Clocks(), s.clock.Now()) {
			s.log.Warn("clock of a sender is off", "app", c.App, "source", c.Source, "node", c.Node, "ahead", c.Off, "reports", c.Reports)
		}
	}
}

// sweep returns what ends leases that have run out. It logs the first failure and the recovery.
func (s *Server) sweep() func(context.Context) {
	var trouble lograte.Episode
	last := s.clock.Now()
	some := func(ctx context.Context) (more bool) {
		now := s.clock.Now()
		if s.presence.Woke(last, now) {
			s.log.Warn("process paused; leases extended by the grace period", "from", last, "to", now)
		}
		_, more, err := s.presence.SweepSome(ctx, now)
		last = s.clock.Now()
		switch begins, over := trouble.Note(err); {
		case ctx.Err() != nil:
		case begins:
			s.log.Error("sweep failed", "err", err)
		case over:
			s.log.Info("sweep recovered")
		}
		s.metrics.Swept(err)
		return more && ctx.Err() == nil
	}
	return func(ctx context.Context) {
		for some(ctx) {
		}
	}
}
