package v1

import (
	"context"
	"net/http"
	"sync"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/internal/api"
	"rollcall/watch"
)

// Config are the settings of a [Door]. They are those of the realtime protocol: who may be present
// is one rule.
type Config struct {
	// Proof has present need a user token, a login signature, or a hello with the master key.
	Proof bool
	// SignatureLife is how long a signature is good, on either side of its time.
	SignatureLife time.Duration
}

// A Door makes sockets of requests.
type Door struct {
	cfg  Config
	deps Deps

	ctx     context.Context // ends with the door
	cancel  context.CancelFunc
	writers sync.WaitGroup
}

// Deps are what a [Door] is given beside its settings.
type Deps struct {
	Gateway *gateway.Gateway // holds the sockets
	Hub     *watch.Hub       // has the watchers
	Gate    *api.Gate
}

// New returns a door.
func New(cfg Config, deps Deps) *Door {
	d := &Door{cfg: cfg, deps: deps}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Close ends the goroutines of watchers and waits for them. The sockets are the gateway's to close.
func (d *Door) Close() {
	d.cancel()
	d.writers.Wait()
}

// Routes returns the calls of the door.
func (d *Door) Routes() []api.Route {
	return []api.Route{{Method: http.MethodGet, Path: "/v1/socket", Need: api.NeedAnyone, Inside: true, Stream: true, Handler: d.serve}}
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	if !frame.Asked(r) {
		return api.Errorf("invalid", "this call is a WebSocket; ask for the upgrade")
	}
	if !d.deps.Gate.OriginAllowed(r.Header.Get("Origin")) {
		return api.Errorf("forbidden", "this origin may not connect")
	}
	var refused error
	d.deps.Gateway.Upgrade(w, r, gateway.Upgrade{
		Handler: &wire{door: d, caller: c}, Text: true,
		Refused: func(kind gateway.Refusal, _ int, text string, retry time.Duration) {
			refused = api.Errorf(upgradeCode(kind), "%s", text).WithRetry(retry)
		},
	})
	return refused
}

// upgradeCode returns the code of the API for why the gateway made no socket.
func upgradeCode(kind gateway.Refusal) string {
	switch kind {
	case gateway.RefusedDraining:
		return "shutting_down"
	case gateway.RefusedOrigin:
		return "forbidden"
	case gateway.RefusedRate, gateway.RefusedEarly:
		return "rate_limited"
	case gateway.RefusedFull:
		return "full"
	}
	return "invalid"
}
