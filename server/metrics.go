package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rollcall/presence"
)

// metrics are what /metrics shows. No label ever holds a peer, a session or a key: their number is bounded by the
// configuration.
type metrics struct {
	s        *Server
	registry *prometheus.Registry
	latency  *prometheus.HistogramVec
	sweeps   *prometheus.CounterVec
}

var (
	descReports = prometheus.NewDesc("rollcall_reports_total", "Reports heard, by source and by what became of them.", []string{"source", "verdict"}, nil)
	descAhead   = prometheus.NewDesc("rollcall_reports_ahead_total", "Reports whose time was further ahead than presence.ahead.", nil, nil)
	descLast    = prometheus.NewDesc("rollcall_last_report_age_seconds", "How long ago the last report of a source was heard by this process.", []string{"source"}, nil)
	descChanges = prometheus.NewDesc("rollcall_changes_total", "Times that a peer's status turned.", nil, nil)
	descExpired = prometheus.NewDesc("rollcall_expired_total", "Peers that turned offline because nothing more was heard, by cause.", []string{"cause"}, nil)
	descShed    = prometheus.NewDesc("rollcall_shed_total", "Short-lived peers forgotten because the index was nearly as large as embedded.max_memory allows.", nil, nil)
	descQueries = prometheus.NewDesc("rollcall_queries_total", "Presence queries answered.", nil, nil)
	descIDs     = prometheus.NewDesc("rollcall_query_ids_total", "Peer ids asked for in presence queries.", nil, nil)
	descDialect = prometheus.NewDesc("rollcall_leancloud_total", "What the LeanCloud dialect has answered, by its own names.", []string{"count"}, nil)
	descLane    = prometheus.NewDesc("rollcall_lane_total", "Requests answered in the fast lane of the app listener, and connections handed over to net/http.", []string{"what"}, nil)
	descPeers   = prometheus.NewDesc("rollcall_peers", "Peers of an app: online now, known, and seen online today.", []string{"app", "state"}, nil)
	descStore   = prometheus.NewDesc("rollcall_store", "Counts of the store, by its own names.", []string{"count"}, nil)
	descTrouble = prometheus.NewDesc("rollcall_store_trouble", "1 while the store cannot keep reports, else 0.", nil, nil)
	descUp      = prometheus.NewDesc("rollcall_uptime_seconds", "How long this process has run.", nil, nil)
	descDropped = prometheus.NewDesc("rollcall_log_lines_dropped_total", "Log lines dropped because the log was stuck.", nil, nil)
	descSize    = prometheus.NewDesc("rollcall_watch", "What the hub holds: watchers, and the peers they follow, each once.", []string{"of"}, nil)
	descWatch   = prometheus.NewDesc("rollcall_watch_total", "What the hub has done, by what.", []string{"what"}, nil)
	descClosed  = prometheus.NewDesc("rollcall_watchers_closed_total", "Watchers that ended, by reason.", []string{"reason"}, nil)
	descNotLet  = prometheus.NewDesc("rollcall_native_refused_total", "Native calls, and messages on native sockets, that were refused, by code.", []string{"code"}, nil)
	descShared  = prometheus.NewDesc("rollcall_shared", "What all callers share: how much is used, and how much there is.", []string{"of", "what"}, nil)
	descNoRoom  = prometheus.NewDesc("rollcall_shared_refused_total", "Requests for which there was no room, for their address, their app or altogether, by what they wanted.", []string{"of"}, nil)
	descEvicted = prometheus.NewDesc("rollcall_connections_evicted_total", "Idle connections that were closed to make room for new ones.", nil, nil)
	descLimited = prometheus.NewDesc("rollcall_rate_limited_total", "Calls that were refused because their key and address asked too often, at any door.", nil, nil)
	descBuild   = prometheus.NewDesc("rollcall_build_info", "Always 1; what was built is in the labels.", []string{"release", "revision", "go"}, nil)
)

func newMetrics(s *Server) *metrics {
	m := &metrics{
		s:        s,
		registry: prometheus.NewRegistry(),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_request_seconds", Help: "How long requests on the app listener took, by door.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"door"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_sweeps_total", Help: "Sweeps for leases that have run out, by result.",
		}, []string{"result"}),
	}
	m.registry.MustRegister(m, m.latency, m.sweeps, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func (m *metrics) answered(door string, took time.Duration) {
	m.latency.WithLabelValues(door).Observe(took.Seconds())
}

func (m *metrics) swept(err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.sweeps.WithLabelValues(result).Inc()
}

// Describe names what Collect gives.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReports, descAhead, descLast, descChanges, descExpired, descShed, descQueries, descIDs, descDialect, descLane, descPeers, descStore, descTrouble, descUp, descDropped, descBuild,
		descSize, descWatch, descClosed, descNotLet, descShared, descNoRoom, descEvicted, descLimited,
	} {
		ch <- d
	}
}

// Collect reads the counts of every room. It runs when somebody asks, never on the way of a request.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.s
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for source, verdicts := range s.presence.Counters().Reports() {
		for v, n := range verdicts {
			count(descReports, n, string(source), v.String())
		}
	}
	now := s.clock.Now()
	for source, at := range s.presence.Counters().Last() {
		if at > 0 {
			gauge(descLast, max(now.Sub(at), 0).Seconds(), string(source))
		}
	}
	count(descAhead, s.presence.Counters().Ahead())
	total := s.counted()
	count(descChanges, total.Changes)
	count(descQueries, total.Queries)
	count(descIDs, total.IDs)
	for _, c := range expiryCauses {
		count(descExpired, s.presence.Counters().Expired(c), c.String())
	}
	count(descShed, s.presence.Counters().Shed())
	for name, n := range s.roomCounts()["leancloud"] {
		count(descDialect, n, name)
	}
	answered, handed := s.app.net.Stats()
	count(descLane, answered, "answered")
	count(descLane, handed, "handed over")
	m.peers(gauge)
	m.shared(count, gauge)
	m.watch(count, gauge)
	for name, n := range s.store.counts() {
		gauge(descStore, float64(n), name)
	}
	trouble := 0.0
	if s.store.trouble() != "" {
		trouble = 1
	}
	gauge(descTrouble, trouble)
	gauge(descUp, s.clock.Up().Seconds())
	if s.sink != nil {
		count(descDropped, s.sink.Dropped())
	}
	v := BuildVersion()
	gauge(descBuild, 1, v.Release, v.Revision, v.Go)
}

// watch gives the counts of the hub and of the gate of the native API.
func (m *metrics) watch(count func(*prometheus.Desc, int64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	h := m.s.hub.Stats()
	gauge(descSize, float64(h.Watchers), "watchers")
	gauge(descSize, float64(h.Peers), "peers")
	for what, n := range map[string]int64{
		"signals": h.Signals, "passes": h.Passes, "failures": h.Failures, "changes": h.Changes, "told": h.Told,
		"batches": h.Batches, "marks": h.Marks, "behind": h.Behind, "holds": h.Holds, "hidden": h.Hidden, "resumes": h.Resumes, "resyncs": h.Resyncs,
		"refused": h.Refused,
	} {
		count(descWatch, n, what)
	}
	for reason, n := range h.Closed {
		count(descClosed, n, string(reason))
	}
	for code, n := range m.s.gate.Stats().Refused {
		count(descNotLet, n, code)
	}
}

// shared gives what callers share and the refusals for want of it.
func (m *metrics) shared(count func(*prometheus.Desc, int64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	for of, h := range m.s.held.all() {
		gauge(descShared, float64(h.Used()), of, "used")
		gauge(descShared, float64(h.Total()), of, "total")
		count(descNoRoom, h.Refused(), of)
	}
	st := m.s.app.conns.Stats()
	gauge(descShared, float64(st.Open), "connections", "used")
	gauge(descShared, float64(m.s.app.conns.Max()), "connections", "total")
	count(descNoRoom, st.Refused, "connections")
	count(descEvicted, st.Evicted)
	count(descLimited, m.s.callers.Limited())
}

func (m *metrics) peers(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := stepContext()
	defer cancel()
	for _, a := range m.s.apps {
		c, err := m.s.store.Counts(ctx, presence.AppID(a.ID), m.s.clock.Now())
		if err != nil {
			return // the store's trouble is a metric of its own
		}
		gauge(descPeers, float64(c.Online), a.ID, "online")
		gauge(descPeers, float64(c.Known), a.ID, "known")
		gauge(descPeers, float64(c.Today), a.ID, "today")
	}
}
