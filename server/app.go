package server

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"rollcall/edge/gateway/rtm"
	"rollcall/edge/home"
	"rollcall/edge/leancloud"
	"rollcall/edge/operator"
	"rollcall/edge/webhook"
	"rollcall/internal/acmecert"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/internal/trace"
)

// A door is what answers the requests under a prefix of the path on the app listener.
type door struct {
	name    string // in metrics
	prefix  string
	handler http.Handler
	long    bool // its requests last as long as a watcher does; their duration says nothing
}

// doors sends each request to the first door whose prefix its path begins with.
type doors struct {
	list    []door
	sockets door         // takes whatever asks for LeanCloud's realtime protocol, on any path
	home    http.Handler // the page at the root
	metrics *operator.Metrics
	traces  *trace.Log

	proxies []netip.Prefix   // that are named
	unnamed func(netip.Addr) // is called for a proxy that is not
}

// mountApp mounts the doors on the app listener. A longer prefix stands before a shorter one; the
// dialect, which takes everything else, stands last.
func (s *Server) mountApp() (*doors, error) {
	var err error
	s.held = s.shares()
	traces := trace.NewLog(s.log)
	s.dialect, err = leancloud.New(s.cfg.LeanCloud, leancloud.Deps{
		Version: Release, BodyTimeout: s.cfg.HTTP.BodyTimeout, Proxies: s.cfg.Proxies,
		Intake: s.intake, Ask: s.ask, Keys: s.ring, Now: s.clock.Now, Log: s.log, Kicker: s.gateway,
		Callers: s.callers, Bodies: s.held.bodies, Unnamed: s.unnamed.Note, Traces: traces,
		Users: s.users, AskByToken: s.cfg.Gate.Ask == api.ByToken,
	})
	if err != nil {
		return nil, err
	}
	native := s.mountNative()
	front := home.New(home.Config{Release: Release, Demo: s.demo != nil})
	d := &doors{metrics: s.metrics, traces: traces, sockets: door{name: "rtm", handler: s.rtm, long: true}, home: front, proxies: s.cfg.Proxies, unnamed: s.unnamed.Note, list: []door{
		{name: "route", prefix: "/v1/route", handler: http.HandlerFunc(s.rtm.Route)},
		{name: "socket", prefix: "/v1/socket", handler: native, long: true},
		{name: "watch", prefix: "/v1/watch", handler: native, long: true},
		{name: "changes", prefix: "/v1/changes", handler: native, long: true},
		{name: "rest", prefix: "/v1/", handler: native},
		{name: "rest", prefix: "/openapi", handler: native},
		{name: "webhook", prefix: webhook.Prefix, handler: native},
		{name: "rtm", prefix: rtm.Path, handler: s.rtm},
		{name: "leancloud", handler: s.dialect},
	}}
	if s.certs.acme != nil {
		d.list = append([]door{{name: "acme", prefix: acmecert.Path, handler: s.certs.acme.Handler(s.dialect)}}, d.list...)
	}
	if s.demo != nil {
		d.list = append([]door{{name: "demo", prefix: "/demo/", handler: s.demo}}, d.list...)
	}
	return d, nil
}

// Demo has handler answer what is under /demo/ on the app listener. Call it before Start.
func (s *Server) Demo(handler http.Handler) { s.demo = handler }

// openLane has the plain questions and hooks of the dialect answered before net/http sees them.
func (s *Server) openLane() {
	routes := s.dialect.Lane()
	latency := s.metrics.Latency("leancloud")
	routes.Answered = func(took time.Duration) { latency.Observe(took.Seconds()) }
	s.app.Lane.Open(routes)
}

// ServeHTTP answers r.
func (d *doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["X-Forwarded-For"]) > 0 {
		if socket := limit.Socket(r); !limit.Within(socket, d.proxies) {
			d.unnamed(socket)
		}
	}
	if rtm.Wants(r) {
		d.answer(w, r, &d.sockets)
		return
	}
	if home.Wants(r) {
		d.home.ServeHTTP(w, r)
		return
	}
	for i := range d.list {
		if o := &d.list[i]; strings.HasPrefix(r.URL.Path, o.prefix) {
			d.answer(w, r, o)
			return
		}
	}
}

// answer has o answer r.
func (d *doors) answer(w http.ResponseWriter, r *http.Request, o *door) {
	start := time.Now()
	c := trace.Of(r)
	if c.IsZero() {
		o.handler.ServeHTTP(w, r)
	} else {
		d.traces.Serve(w, r, c, o.name, o.long, o.handler)
	}
	if !o.long {
		d.metrics.Took(o.name, time.Since(start), c)
	}
}
