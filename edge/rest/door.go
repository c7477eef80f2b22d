package rest

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"rollcall/ask"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/presence"
)

// Config are the settings of the door. Start from [DefaultConfig].
type Config struct {
	// MaxPeers is how many ids one query may name.
	MaxPeers int `range:"1.."`
	// MaxDevices is how many ids a query for devices may name, since each is read whole.
	MaxDevices int `range:"1.."`
	// MaxEvents is how many reports one call may carry.
	MaxEvents int `range:"1.."`
	// MaxSessions is how many sessions one resync may name.
	MaxSessions int `range:"1.."`
	// MaxBody is the largest body. A resync may be sixteen times that.
	MaxBody int `config:",bytes" range:"4KiB..64MiB"`
	// Page is how many peers a page of a list has at most, and unless asked otherwise.
	Page int `range:"1..100000"`
	// Nodes are the settings of the nodes of others.
	Nodes intake.Config `config:",inline"`
	// Hold is how long a session that was lost, not logged out, lingers before watchers are
	// notified.
	Hold time.Duration `range:"0s..10m"`
}

// Deps are what a [Door] is given beside its settings.
type Deps struct {
	Service *presence.Service // erases peers
	Intake  *intake.Intake    // takes reports
	Ask     *ask.Reader       // answers questions
	Gate    *api.Gate
	Now     func() presence.Millis
	Others  Others // the settings of other rooms that GET /v1/info names
	// Sample counts the peers and watchers of an app for GET /v1/stats, which adds the days of
	// History.
	Sample  func(ctx context.Context, app presence.AppID) (Sample, error)
	History *History
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		MaxPeers: 10_000, MaxDevices: 1_000, MaxEvents: 1_000, MaxSessions: 100_000, MaxBody: 1 << 20, Page: 1_000,
		Nodes: intake.DefaultConfig(), Hold: 10 * time.Second,
	}
}

// A Door answers the native calls.
type Door struct {
	cfg  Config
	deps Deps

	queries, ids, events atomic.Int64
}

// New returns a door.
func New(cfg Config, deps Deps) *Door { return &Door{cfg: cfg, deps: deps} }

// Stats are the counts of a door since it started.
type Stats struct{ Queries, IDs, Events int64 }

// Stats returns the counts of d.
func (d *Door) Stats() Stats {
	return Stats{Queries: d.queries.Load(), IDs: d.ids.Load(), Events: d.events.Load()}
}

// Routes returns the calls of the door.
func (d *Door) Routes() []api.Route {
	return []api.Route{
		{Method: http.MethodPost, Path: "/v1/peers/query", Need: api.NeedAsker, Handler: d.query},
		{Method: http.MethodPost, Path: "/v1/peers/should-push", Need: api.NeedMaster, Handler: d.shouldPush},
		{Method: http.MethodGet, Path: "/v1/peers", Need: api.NeedMaster, Query: []string{"online", "cursor", "limit"}, Handler: d.list},
		{Method: http.MethodGet, Path: "/v1/peers/{id}", Need: api.NeedAsker, Handler: d.peer},
		{Method: http.MethodDelete, Path: "/v1/peers/{id}", Need: api.NeedMaster, Handler: d.erase},
		{Method: http.MethodGet, Path: "/v1/peers/{id}/why", Need: api.NeedMaster, Handler: d.why},
		{Method: http.MethodGet, Path: "/v1/peers/{id}/online-time", Need: api.NeedMaster, Handler: d.onlineTime},
		{Method: http.MethodGet, Path: "/v1/peer", Need: api.NeedAsker, Query: []string{"id"}, Handler: d.peer},
		{Method: http.MethodDelete, Path: "/v1/peer", Need: api.NeedMaster, Query: []string{"id"}, Handler: d.erase},
		{Method: http.MethodGet, Path: "/v1/peer/why", Need: api.NeedMaster, Query: []string{"id"}, Handler: d.why},
		{Method: http.MethodGet, Path: "/v1/peer/online-time", Need: api.NeedMaster, Query: []string{"id"}, Handler: d.onlineTime},
		{Method: http.MethodPost, Path: "/v1/events", Need: api.NeedReporter, Raw: true, Handler: d.report},
		{Method: http.MethodPost, Path: "/v1/nodes/{node}/beat", Need: api.NeedReporter, Raw: true, Handler: d.beat},
		{Method: http.MethodPost, Path: "/v1/nodes/{node}/drain", Need: api.NeedReporter, Raw: true, Handler: d.drain},
		{Method: http.MethodPut, Path: "/v1/nodes/{node}/sessions", Need: api.NeedReporter, Raw: true, Handler: d.resync},
		{Method: http.MethodPost, Path: "/v1/ticket", Need: api.NeedAsker, Handler: d.ticket},
		{Method: http.MethodGet, Path: "/v1/stats", Need: api.NeedMaster, Handler: d.stats},
		{Method: http.MethodGet, Path: "/v1/info", Need: api.NeedAnyone, Handler: d.info},
		{Method: http.MethodGet, Path: "/openapi.yaml", Need: api.NeedAnyone, Loose: true, Handler: d.openapi},
		{Method: http.MethodGet, Path: "/openapi/", Need: api.NeedAnyone, Loose: true, Cost: 100, Handler: d.page},
	}
}

// viewOf returns what c sees.
func viewOf(c *api.Caller) ask.View { return ask.ViewOf(c.App.ID, c.Master(), c.Peer()) }

// refusal puts what the rules and the store say into the words of the API.
func refusal(err error) error {
	switch {
	case errors.Is(err, presence.ErrInvalid):
		return api.Errorf("invalid", "%v", err)
	case errors.Is(err, presence.ErrFull):
		return api.Errorf("full", "a limit of the store is reached; nothing was counted").WithRetry(5 * time.Second)
	case errors.Is(err, presence.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.Errorf("unavailable", "the store did not answer; sending again is safe").WithRetry(time.Second)
	}
	return err
}

// pathPeer returns the peer that the path of r names, or its query: not every id can be a part of a
// path, for what lies between may tidy it up.
func pathPeer(r *http.Request, c *api.Caller) (presence.Key, error) {
	return namedPeer(r, c, presence.CheckPeer)
}

// knownPeer is pathPeer for operators, who look after peers with any id that a hook brought.
func knownPeer(r *http.Request, c *api.Caller) (presence.Key, error) {
	return namedPeer(r, c, presence.CheckKnown)
}

func namedPeer(r *http.Request, c *api.Caller, check func(presence.PeerID) error) (presence.Key, error) {
	p := presence.PeerID(r.PathValue("id"))
	if p == "" {
		if !c.Query.Has("id") {
			return presence.Key{}, api.Errorf("invalid", "the query parameter id is missing")
		}
		p = presence.PeerID(c.Query.Get("id"))
	}
	if err := check(p); err != nil {
		return presence.Key{}, refusal(err)
	}
	return presence.Key{App: c.App.ID, Peer: p}, nil
}

func (d *Door) info(w http.ResponseWriter, _ *http.Request, _ *api.Caller) error {
	api.WriteJSON(w, http.StatusOK, d.infoOf())
	return nil
}
