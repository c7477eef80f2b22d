package operator

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rollcall/ask"
	"rollcall/internal/trace"
)

// Metrics are what /metrics shows. No label ever holds a peer, a session or a key: their number is
// bounded by the configuration.
type Metrics struct {
	registry *prometheus.Registry
	latency  *prometheus.HistogramVec
	sweeps   *prometheus.CounterVec
	swept    atomic.Pointer[time.Time] // when a sweep was last done
}

var (
	descReports  = prometheus.NewDesc("rollcall_reports_total", "Reports received, by source and by what became of them.", []string{"source", "verdict"}, nil)
	descAhead    = prometheus.NewDesc("rollcall_reports_ahead_total", "Reports whose time was further ahead than presence.ahead.", nil, nil)
	descLast     = prometheus.NewDesc("rollcall_last_report_age_seconds", "How long ago the last report of a source was received by this process.", []string{"source"}, nil)
	descChanges  = prometheus.NewDesc("rollcall_changes_total", "Times that a peer's status turned.", nil, nil)
	descExpired  = prometheus.NewDesc("rollcall_expired_total", "Peers that turned offline because their lease ran out or their node was lost, by cause.", []string{"cause"}, nil)
	descMissing  = prometheus.NewDesc("rollcall_missing_offlines_total", "Peers that turned offline because a lease of the source ran out: it reported no offline.", []string{"source"}, nil)
	descShed     = prometheus.NewDesc("rollcall_shed_total", "Short-lived peers forgotten because the index was nearly as large as embedded.max_memory allows.", nil, nil)
	descQueries  = prometheus.NewDesc("rollcall_queries_total", "Presence queries answered.", nil, nil)
	descIDs      = prometheus.NewDesc("rollcall_query_ids_total", "Peer ids asked for in presence queries.", nil, nil)
	descDialect  = prometheus.NewDesc("rollcall_leancloud_total", "What the LeanCloud dialect has answered, by its own names.", []string{"count"}, nil)
	descLane     = prometheus.NewDesc("rollcall_lane_total", "Requests answered in the fast lane of the app listener, and connections handed over to net/http.", []string{"what"}, nil)
	descPeers    = prometheus.NewDesc("rollcall_peers", "Peers of an app: online now, known, and seen online today.", []string{"app", "state"}, nil)
	descStore    = prometheus.NewDesc("rollcall_store", "Counts of the store, by its own names.", []string{"count"}, nil)
	descTrouble  = prometheus.NewDesc("rollcall_store_trouble", "1 while the store cannot keep reports, else 0.", nil, nil)
	descUp       = prometheus.NewDesc("rollcall_uptime_seconds", "How long this process has run.", nil, nil)
	descDropped  = prometheus.NewDesc("rollcall_log_lines_dropped_total", "Log lines dropped because the log was stuck.", nil, nil)
	descSize     = prometheus.NewDesc("rollcall_watch", "What the hub holds: watchers, and the peers they follow, each once.", []string{"of"}, nil)
	descWatch    = prometheus.NewDesc("rollcall_watch_total", "What the hub has done, by what.", []string{"what"}, nil)
	descClosed   = prometheus.NewDesc("rollcall_watchers_closed_total", "Watchers that ended, by reason.", []string{"reason"}, nil)
	descNotLet   = prometheus.NewDesc("rollcall_native_refused_total", "Native calls, and messages on native sockets, that were refused, by code.", []string{"code"}, nil)
	descShared   = prometheus.NewDesc("rollcall_shared", "What all callers share: how much is used, and how much there is.", []string{"of", "what"}, nil)
	descNoRoom   = prometheus.NewDesc("rollcall_shared_refused_total", "Requests for which there was no room, for their address, their app or altogether, by what they wanted.", []string{"of"}, nil)
	descEvicted  = prometheus.NewDesc("rollcall_connections_evicted_total", "Idle connections that were closed to make room for new ones.", nil, nil)
	descLimited  = prometheus.NewDesc("rollcall_rate_limited_total", "Calls that were refused because their key and address asked too often, at any door.", nil, nil)
	descSockets  = prometheus.NewDesc("rollcall_sockets", "Sockets that are open now.", nil, nil)
	descSessions = prometheus.NewDesc("rollcall_socket_sessions", "Sessions that are open on sockets now.", nil, nil)
	descGateway  = prometheus.NewDesc("rollcall_gateway_total", "What the gateway has done, by its own names.", []string{"count"}, nil)
	descRefused  = prometheus.NewDesc("rollcall_gateway_refused_total", "What the gateway has refused or ended, by kind.", []string{"kind"}, nil)
	descWaiting  = prometheus.NewDesc("rollcall_hooks_waiting", "Hooks of the app that wait to be called.", nil, nil)
	descOwed     = prometheus.NewDesc("rollcall_hooks_owed", "Sessions of which the online hook was taken and the offline hook was not answered.", nil, nil)
	descHooks    = prometheus.NewDesc("rollcall_hooks_total", "What became of the calls of the app's hooks.", []string{"result"}, nil)
	descOldKeys  = prometheus.NewDesc("rollcall_old_key_uses_total", "Calls that an old key of an app let through, by app and by the setting of the key; for each old key that is set.", []string{"app", "key"}, nil)
	descImported = prometheus.NewDesc("rollcall_import_total", "What imports did: parts, parts that were refused, peers, and of these changed and left out.", []string{"what"}, nil)
	descExpires  = prometheus.NewDesc("rollcall_tls_certificate_expires_seconds", "How long the certificate of listen_tls is still valid, the first of several to end; negative when it has ended, 0 while a domain has none.", nil, nil)
	descWebhooks = prometheus.NewDesc("rollcall_webhook_total", "Calls of IM products and the events in them, by app, source and what became of them.", []string{"app", "source", "what"}, nil)
	descOut      = prometheus.NewDesc("rollcall_changes_out", "Changes that are posted to a receiver: how many wait, their bytes, since how many seconds they wait or calls fail, and 1 for sends if this node sends.", []string{"app", "receiver", "of"}, nil)
	descOutTotal = prometheus.NewDesc("rollcall_changes_out_total", "Calls to a receiver of changes and the changes in them, by what became of them.", []string{"app", "receiver", "what"}, nil)
	descEvents   = prometheus.NewDesc("rollcall_webhook_seconds", "Of the events of IM products, by app and source: how long ago the last was received, and how long after their times they are, in the mean.", []string{"app", "source", "of"}, nil)
	descAudits   = prometheus.NewDesc("rollcall_reconcile_total", "What the products of sources were asked and what was found, by app, source and what: calls, peers asked about, and what is true of them.", []string{"app", "source", "what"}, nil)
	descAudit    = prometheus.NewDesc("rollcall_reconcile", "Of the reconciliation of a source: whether this process asks, whether it is stopped, and times in seconds.", []string{"app", "source", "of"}, nil)
	descFeed     = prometheus.NewDesc("rollcall_feed", "What the registers of changes hold: readers that wait, registers, peers that have changed, those that are dirty, and those that are held.", []string{"of"}, nil)
	descFed      = prometheus.NewDesc("rollcall_feed_total", "What the registers of changes have done, by what.", []string{"what"}, nil)
	descBuild    = prometheus.NewDesc("rollcall_build_info", "Always 1; what was built is in the labels.", []string{"release", "revision", "go"}, nil)
)

// families say which metrics show the counts of a room.
var families = map[string]struct {
	gauges map[string]*prometheus.Desc // by name; one that has a label gets the name for it
	// Of names that belong to parts, which gets the rest for its label.
	prefix string
	parts  *prometheus.Desc
	others *prometheus.Desc // all other names, as its label
	split  bool             // the labels are the parts of a name between slashes
	// Of names that are split: the gauge that those show whose last part is in it. What ends with
	// _ms is shown in seconds.
	levels map[string]*prometheus.Desc
}{
	"leancloud": {others: descDialect},
	"gateway": {
		gauges: map[string]*prometheus.Desc{"sockets": descSockets, "sessions": descSessions},
		prefix: "refused_", parts: descRefused, others: descGateway,
	},
	"hooks":   {gauges: map[string]*prometheus.Desc{"waiting": descWaiting, "owed": descOwed}, others: descHooks},
	"webhook": {others: descWebhooks, split: true, levels: map[string]*prometheus.Desc{"age_ms": descEvents, "lag_ms": descEvents}},
	"reconcile": {others: descAudits, split: true, levels: map[string]*prometheus.Desc{
		"asks": descAudit, "braked": descAudit, "refused": descAudit, "every_seconds": descAudit, "quiet_seconds": descAudit, "round_age_seconds": descAudit,
	}},
	"changes": {others: descOutTotal, split: true, levels: map[string]*prometheus.Desc{
		"waiting": descOut, "waiting_bytes": descOut, "waiting_seconds": descOut, "failing_seconds": descOut, "sends": descOut,
	}},
	"feed": {
		gauges: map[string]*prometheus.Desc{"readers": descFeed, "registers": descFeed, "peers": descFeed, "dirty": descFeed, "held": descFeed},
		others: descFed,
	},
	"watch": {
		gauges: map[string]*prometheus.Desc{"watchers": descSize, "peers": descSize},
		prefix: "closed_", parts: descClosed, others: descWatch,
	},
}

// NewMetrics returns metrics without a door to show.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_request_seconds", Help: "How long requests on the app listener took, by door.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"door"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_sweeps_total", Help: "Sweeps for leases that have run out, by result.",
		}, []string{"result"}),
	}
	began := time.Now()
	m.swept.Store(&began)
	m.registry.MustRegister(m.latency, m.sweeps, m.sinceSweep(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Latency returns what takes how long the requests of a door took, in seconds.
func (m *Metrics) Latency(door string) prometheus.Observer { return m.latency.WithLabelValues(door) }

// Took counts a request of a door. The trace that it belongs to is the exemplar of its bucket when
// the caller records it.
func (m *Metrics) Took(door string, took time.Duration, c trace.Context) {
	o := m.latency.WithLabelValues(door)
	if c.Sampled() {
		o.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": c.ID()})
		return
	}
	o.Observe(took.Seconds())
}

// Swept counts a sweep.
func (m *Metrics) Swept(err error) {
	if err != nil {
		m.sweeps.WithLabelValues("failed").Inc()
		return
	}
	m.sweeps.WithLabelValues("done").Inc()
	now := time.Now()
	m.swept.Store(&now)
}

// sinceSweep grows while sweeps fail, and while one hangs, which no counter shows.
func (m *Metrics) sinceSweep() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_last_sweep_age_seconds", Help: "How long ago a sweep for leases that have run out was last done.",
	}, func() float64 { return time.Since(*m.swept.Load()).Seconds() })
}

// A collector reads the counts of every room. It runs when metrics are asked for, never on the way
// of a request.
type collector struct{ *Door }

// Describe names what Collect gives.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReports, descAhead, descLast, descChanges, descExpired, descMissing, descShed, descQueries, descIDs, descDialect, descLane, descPeers, descStore, descTrouble, descUp, descDropped, descBuild,
		descSize, descWatch, descClosed, descNotLet, descShared, descNoRoom, descEvicted, descLimited,
		descSockets, descSessions, descGateway, descRefused, descWaiting, descOwed, descHooks, descOldKeys, descImported, descExpires, descWebhooks, descEvents, descAudits, descAudit, descOut, descOutTotal, descFeed, descFed,
	} {
		ch <- d
	}
}

// A sink takes the values of one collection.
type sink chan<- prometheus.Metric

func (s sink) count(d *prometheus.Desc, n int64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// Collect reads the counts.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	to := sink(ch)
	c.reports(to)
	queries, ids := c.Asked()
	to.count(descQueries, queries)
	to.count(descIDs, ids)
	for _, r := range c.Rooms {
		room(to, r)
	}
	for what, n := range c.imports.counts() {
		to.count(descImported, n, what)
	}
	answered, handed := c.Lane()
	to.count(descLane, answered, "answered")
	to.count(descLane, handed, "handed over")
	for code, n := range c.Refused() {
		to.count(descNotLet, n, code)
	}
	for _, u := range c.OldUses() {
		to.count(descOldKeys, u.Count, string(u.App), u.Key.String())
	}
	c.shared(to)
	c.store(to)
	to.gauge(descUp, c.Up().Seconds())
	if c.Expires != nil {
		left := 0.0
		if end := c.Expires(); !end.IsZero() {
			left = time.Until(end).Seconds()
		}
		to.gauge(descExpires, left)
	}
	to.count(descDropped, c.Dropped())
	to.gauge(descBuild, 1, c.Version.Release, c.Version.Revision, c.Version.Go)
}

// reports gives what became of reports.
func (c *collector) reports(to sink) {
	counters := c.Service.Counters()
	for source, verdicts := range counters.Reports() {
		for v, n := range verdicts {
			to.count(descReports, n, string(source), v.String())
		}
	}
	now := c.Now()
	for source, at := range counters.Last() {
		if at > 0 {
			to.gauge(descLast, max(now.Sub(at), 0).Seconds(), string(source))
		}
	}
	to.count(descAhead, counters.Ahead())
	to.count(descChanges, counters.Changes())
	for _, cause := range expiryCauses {
		to.count(descExpired, counters.Expired(cause), cause.String())
	}
	for source, n := range counters.Missing() {
		to.count(descMissing, n, string(source))
	}
	to.count(descShed, counters.Shed())
}

// room gives the counts of r as its family says.
func room(to sink, r Room) {
	f := families[r.Name]
	for name, n := range r.Counts() {
		part, isPart := strings.CutPrefix(name, f.prefix)
		switch d := f.gauges[name]; {
		case d == descSize || d == descFeed:
			to.gauge(d, float64(n), name)
		case d != nil:
			to.gauge(d, float64(n))
		case f.prefix != "" && isPart:
			to.count(f.parts, n, part)
		case f.split:
			labels := strings.Split(name, "/")
			last := &labels[len(labels)-1]
			d, value, fine := f.levels[*last], float64(n), false
			if *last, fine = strings.CutSuffix(*last, "_ms"); fine {
				value /= 1000
			}
			if d != nil {
				to.gauge(d, value, labels...)
			} else {
				to.count(f.others, n, labels...)
			}
		default:
			to.count(f.others, n, name)
		}
	}
}

// shared gives what callers share and the refusals for want of it.
func (c *collector) shared(to sink) {
	for of, h := range c.Shares {
		to.gauge(descShared, float64(h.Used()), of, "used")
		to.gauge(descShared, float64(h.Total()), of, "total")
		to.count(descNoRoom, h.Refused(), of)
	}
	st := c.Conns.Stats()
	to.gauge(descShared, float64(st.Open), "connections", "used")
	to.gauge(descShared, float64(c.Conns.Max()), "connections", "total")
	to.count(descNoRoom, st.Refused, "connections")
	to.count(descEvicted, st.Evicted)
	to.count(descLimited, c.Callers.Limited())
}

// store gives the counts of the store, and of the peers in it.
func (c *collector) store(to sink) {
	for name, n := range c.Store.Counts() {
		to.gauge(descStore, float64(n), name)
	}
	trouble := 0.0
	if c.Store.Trouble() != "" {
		trouble = 1
	}
	to.gauge(descTrouble, trouble)
	ctx, cancel := context.WithTimeout(context.Background(), peersWithin)
	defer cancel()
	for _, app := range c.Apps() {
		n, err := c.Ask.Counts(ctx, ask.View{App: app, Viewer: ask.Server})
		if err != nil {
			return // the store's trouble is a metric of its own
		}
		to.gauge(descPeers, float64(n.Online), string(app), "online")
		to.gauge(descPeers, float64(n.Known), string(app), "known")
		to.gauge(descPeers, float64(n.Today), string(app), "today")
	}
}

// peersWithin bounds how long a collection waits for the counts of peers.
const peersWithin = 2 * time.Second
