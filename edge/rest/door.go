package rest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/native"
	"rollcall/presence"
)

// Config are the settings of the door.
type Config struct {
	// Peers is how many ids one query may name; default 10,000.
	Peers int
	// Devices is how many ids a query for devices may name, since each is read whole; default 1,000.
	Devices int
	// Events is how many reports one call may carry; default 1,000.
	Events int
	// Sessions is how many sessions one resync may name; default 100,000.
	Sessions int
	// Body is the largest body in bytes; default 1 MiB. A resync may be sixteen times that.
	Body int
	// Page is how many peers a page of a list has unless asked otherwise, and at most; default 1,000.
	Page int
	// AppDetail tells since, last seen and cause also to who holds the app key only.
	AppDetail bool
	// NodeLease is how long a node lives without a beat when it names no lease; default 30 s.
	NodeLease time.Duration
	// DrainGrace is how long the sessions of a drained node may take to come back elsewhere; default 30 s.
	DrainGrace time.Duration
	// Hold is how long watchers do not hear of a lost session; default 10 s.
	Hold time.Duration

	// Now is the clock.
	Now func() presence.Millis `config:"-"`
	// Info is what GET /v1/info tells: limits, defaults and the ghost bound.
	Info func() any `config:"-"`
	// Stats adds to what GET /v1/stats tells of an app.
	Stats func(ctx context.Context, app presence.AppID) (any, error) `config:"-"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		Peers: 10_000, Devices: 1_000, Events: 1_000, Sessions: 100_000, Body: 1 << 20, Page: 1_000,
		NodeLease: 30 * time.Second, DrainGrace: 30 * time.Second, Hold: 10 * time.Second,
	}
}

// A Door answers the native calls.
type Door struct {
	service *presence.Service
	gate    *native.Gate
	cfg     Config

	nodesMu sync.Mutex
	nodes   map[presence.NodeID]time.Duration // the lease each node asked for

	queries, ids, events atomic.Int64
}

// New returns a door to service.
func New(service *presence.Service, gate *native.Gate, cfg Config) *Door {
	return &Door{service: service, gate: gate, cfg: cfg, nodes: map[presence.NodeID]time.Duration{}}
}

// Stats are the counts of a door since it started.
type Stats struct{ Queries, IDs, Events int64 }

// Stats returns the counts of d.
func (d *Door) Stats() Stats {
	return Stats{Queries: d.queries.Load(), IDs: d.ids.Load(), Events: d.events.Load()}
}

// Routes returns the calls of the door.
func (d *Door) Routes() []native.Route {
	return []native.Route{
		{Method: http.MethodPost, Path: "/v1/peers/query", Need: native.Asker, Handler: d.query},
		{Method: http.MethodGet, Path: "/v1/peers", Need: native.Master, Handler: d.list},
		{Method: http.MethodGet, Path: "/v1/peers/{id}", Need: native.Asker, Handler: d.peer},
		{Method: http.MethodDelete, Path: "/v1/peers/{id}", Need: native.Master, Handler: d.erase},
		{Method: http.MethodGet, Path: "/v1/peers/{id}/why", Need: native.Master, Handler: d.why},
		{Method: http.MethodPost, Path: "/v1/events", Need: native.Reporter, Raw: true, Handler: d.report},
		{Method: http.MethodPost, Path: "/v1/nodes/{node}/beat", Need: native.Reporter, Raw: true, Handler: d.beat},
		{Method: http.MethodPost, Path: "/v1/nodes/{node}/drain", Need: native.Reporter, Raw: true, Handler: d.drain},
		{Method: http.MethodPut, Path: "/v1/nodes/{node}/sessions", Need: native.Reporter, Raw: true, Handler: d.resync},
		{Method: http.MethodPost, Path: "/v1/ticket", Need: native.Asker, Handler: d.ticket},
		{Method: http.MethodGet, Path: "/v1/stats", Need: native.Master, Handler: d.stats},
		{Method: http.MethodGet, Path: "/v1/info", Need: native.Anyone, Handler: d.info},
		{Method: http.MethodGet, Path: "/openapi.yaml", Need: native.Anyone, Handler: d.openapi},
		{Method: http.MethodGet, Path: "/openapi/", Need: native.Anyone, Handler: d.page},
	}
}

// detailed reports whether c may see more than the status.
func (d *Door) detailed(c *native.Caller) bool { return c.Master() || d.cfg.AppDetail }

// refusal puts what the rules and the store say into the words of the API.
func refusal(err error) error {
	switch {
	case errors.Is(err, presence.ErrInvalid):
		return native.Refuse("invalid", "%v", err)
	case errors.Is(err, presence.ErrFull):
		return native.Refuse("full", "a limit of the store is reached; nothing was counted").WithRetry(5 * time.Second)
	case errors.Is(err, presence.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return native.Refuse("unavailable", "the store did not answer; sending again is safe").WithRetry(time.Second)
	}
	return err
}

// pathPeer returns the peer that the path of r names.
func pathPeer(r *http.Request, c *native.Caller) (presence.Key, error) {
	p := presence.PeerID(r.PathValue("id"))
	if err := presence.CheckPeer(p); err != nil {
		return presence.Key{}, refusal(err)
	}
	return presence.Key{App: presence.AppID(c.App.ID), Peer: p}, nil
}

func (d *Door) ticket(w http.ResponseWriter, _ *http.Request, c *native.Caller) error {
	ticket, expires := d.gate.Tickets.Sell(c.App, c.Rights, int64(d.cfg.Now()))
	native.WriteJSON(w, http.StatusOK, map[string]any{"ticket": ticket, "expires": expires})
	return nil
}

func (d *Door) info(w http.ResponseWriter, _ *http.Request, _ *native.Caller) error {
	native.WriteJSON(w, http.StatusOK, d.cfg.Info())
	return nil
}

func (d *Door) stats(w http.ResponseWriter, r *http.Request, c *native.Caller) error {
	v, err := d.cfg.Stats(r.Context(), presence.AppID(c.App.ID))
	if err != nil {
		return refusal(err)
	}
	native.WriteJSON(w, http.StatusOK, v)
	return nil
}
