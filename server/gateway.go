package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/edge/hookout"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// nodeID names this process by its machine and its start, so that a restarted node is another node.
func nodeID(now presence.Millis) presence.NodeID {
	host, err := os.Hostname()
	if err != nil || len(host) > 100 {
		host = "node"
	}
	return presence.NodeID(fmt.Sprintf("%s-%d-%d", host, os.Getpid(), now))
}

// openGateway begins to hold sockets.
func (s *Server) openGateway() error {
	node := nodeID(s.clock.Now())
	if err := s.openHooks(node); err != nil {
		return err
	}
	trusted := s.proxies()
	deps := gateway.Deps{
		Service: s.presence, Ask: s.ask, Node: node, Now: s.clock.Now, Log: s.log, Shared: s.store.shared,
		Address: func(r *http.Request) netip.Addr { return limit.Address(r, trusted) },
	}
	if s.hooks != nil {
		deps.Events = func(e gateway.Event) { s.hooks.Add(hookOf(&e)) }
	}
	gw, err := gateway.New(s.cfg.Gateway, deps)
	if err != nil {
		return err
	}
	dialect, err := rtm.New(gw, s.ring, s.cfg.RTM)
	if err != nil {
		return err
	}
	dialect.Callers, dialect.Proxies = s.callers, trusted
	if err := gw.Start(); err != nil {
		return err
	}
	s.gateway, s.rtm = gw, dialect
	s.metrics.registry.MustRegister(gatewayMetrics{gw})
	if s.hooks != nil {
		s.metrics.registry.MustRegister(hookMetrics{s.hooks})
	}
	return nil
}

// hooksFile keeps the hooks that wait, in the data directory.
const hooksFile = "hooks.journal"

// openHooks starts what calls the app's own hooks, on node.
func (s *Server) openHooks(node presence.NodeID) error {
	cfg := s.cfg.Hooks
	if cfg.URL == "" {
		return nil
	}
	if s.cfg.Data != "" {
		cfg.Journal = filepath.Join(s.cfg.Data, hooksFile)
	}
	sender, err := hookout.Open(cfg, func(app string) (hookout.Keys, bool) {
		a := s.ring.Lookup(app)
		if a == nil {
			return hookout.Keys{}, false
		}
		return hookout.Keys{ID: a.ID, Key: a.Key, HookKey: a.HookKey}, true
	}, &hookout.Ledger{Store: s.store.Store, Node: node, Shared: s.store.shared, Now: s.clock.Now, Akin: gateway.Akin}, s.log)
	if err != nil {
		return err
	}
	s.hooks = sender
	s.presence.TakeOver(sender.Successor())
	stop := s.presence.OnReturn(func(presence.Millis) { sender.Review() })
	s.onStop(func(ctx context.Context) {
		stop()
		if err := sender.Close(ctx); err != nil {
			s.log.Error("hook journal close failed", "err", err)
		}
	})
	return nil
}

func hookOf(e *gateway.Event) hookout.Event {
	h := hookout.Event{
		App: string(e.Key.App), Peer: string(e.Key.Peer), Session: string(e.Session), Start: int64(e.Start), Online: e.Online, Tag: e.Tag, Reconnect: e.Auto, Cause: e.Cause,
		Reason: e.Reason, ErrorCode: e.Code, At: int64(e.At),
	}
	if e.Address.IsValid() {
		h.Address = e.Address.String()
	}
	return h
}

// drainTime bounds how long sockets take to be sent away: a stop is over within ten seconds.
const drainTime = 8 * time.Second

// drain sends the sockets of this node elsewhere.
func (s *Server) drain(ctx context.Context) {
	if s.gateway == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := s.gateway.Drain(ctx); err != nil {
		s.log.Error("drain incomplete", "err", err)
	}
}

// gatewayMetrics show the counts of the gateway.
type gatewayMetrics struct{ gw *gateway.Gateway }

var (
	descSockets  = prometheus.NewDesc("rollcall_sockets", "Sockets that are open now.", nil, nil)
	descSessions = prometheus.NewDesc("rollcall_socket_sessions", "Sessions that are open on sockets now.", nil, nil)
	descGateway  = prometheus.NewDesc("rollcall_gateway_total", "What the gateway has done, by its own names.", []string{"count"}, nil)
	descRefused  = prometheus.NewDesc("rollcall_gateway_refused_total", "What the gateway has refused or ended, by kind.", []string{"kind"}, nil)
)

// Describe names what Collect gives.
func (m gatewayMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSockets, descSessions, descGateway, descRefused} {
		ch <- d
	}
}

// Collect reads the counts.
func (m gatewayMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.gw.Stats()
	ch <- prometheus.MustNewConstMetric(descSockets, prometheus.GaugeValue, float64(st.Sockets))
	ch <- prometheus.MustNewConstMetric(descSessions, prometheus.GaugeValue, float64(st.Sessions))
	for name, n := range map[string]int64{
		"accepted": st.Accepted, "opened": st.Opened, "messages": st.Messages, "pings": st.Pings, "kicked": st.Kicked,
		"replaced": st.Replaced, "probes": st.Probes, "asserted": st.Asserted, "disowned": st.Disowned, "beats_failed": st.HeartbeatsFailed, "reports_failed": st.ReportsFailed,
		"reports_dropped": st.ReportsDropped,
	} {
		ch <- prometheus.MustNewConstMetric(descGateway, prometheus.CounterValue, float64(n), name)
	}
	for kind, n := range st.Refused {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(n), kind)
	}
}

// hookMetrics show the counts of the hooks that are called.
type hookMetrics struct{ sender *hookout.Sender }

var (
	descHooksWaiting = prometheus.NewDesc("rollcall_hooks_waiting", "Hooks of the app that wait to be called.", nil, nil)
	descHooksOwed    = prometheus.NewDesc("rollcall_hooks_owed", "Sessions of which the online hook was taken and the offline hook was not answered.", nil, nil)
	descHooks        = prometheus.NewDesc("rollcall_hooks_total", "What became of the calls of the app's hooks.", []string{"result"}, nil)
)

// Describe names what Collect gives.
func (m hookMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descHooksWaiting
	ch <- descHooksOwed
	ch <- descHooks
}

// Collect reads the counts.
func (m hookMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.sender.Stats()
	ch <- prometheus.MustNewConstMetric(descHooksWaiting, prometheus.GaugeValue, float64(st.Waiting))
	ch <- prometheus.MustNewConstMetric(descHooksOwed, prometheus.GaugeValue, float64(st.Owed))
	for result, n := range map[string]int64{
		"delivered": st.Delivered, "failed": st.Failed, "refused": st.Refused, "dropped": st.Dropped, "expired": st.Expired,
		"taken_over": st.TakenOver,
	} {
		ch <- prometheus.MustNewConstMetric(descHooks, prometheus.CounterValue, float64(n), result)
	}
}
