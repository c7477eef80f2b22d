package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/internal/httpx"
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
	trusted := s.cfg.LeanCloud.TrustedProxies
	gw, err := gateway.New(s.cfg.Gateway, gateway.Deps{
		Service: s.presence, Node: nodeID(s.clock.Now()), Now: s.clock.Now, Log: s.log, Shared: s.store.shared,
		Address: func(r *http.Request) netip.Addr {
			a, _ := netip.ParseAddr(httpx.ClientAddr(r, trusted))
			return a
		},
	})
	if err != nil {
		return err
	}
	dialect, err := rtm.New(gw, s.ring, s.cfg.RTM)
	if err != nil {
		return err
	}
	if err := gw.Start(); err != nil {
		return err
	}
	s.gateway, s.rtm = gw, dialect
	s.metrics.registry.MustRegister(gatewayMetrics{gw})
	return nil
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
		s.log.Error("the sockets were not sent away well", "err", err)
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
		"replaced": st.Replaced, "asserted": st.Asserted, "beats_failed": st.BeatsFailed, "reports_failed": st.ReportsFailed,
	} {
		ch <- prometheus.MustNewConstMetric(descGateway, prometheus.CounterValue, float64(n), name)
	}
	for kind, n := range st.Refused {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(n), kind)
	}
}
