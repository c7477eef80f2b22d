package operator

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"rollcall/ask"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/configload"
	"rollcall/internal/conns"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/transfer"
)

// A Room is a part of the server and what it has counted since the start, by its own names. Gauges
// are among them.
type Room struct {
	Name   string
	Counts func() map[string]int64
}

// A Store says where the state is kept and how that does.
type Store struct {
	Name, Where string
	Shared      bool // other nodes write to it too
	Counts      func() map[string]int64
	Trouble     func() string // why reports cannot be kept now; empty when they can
	// Patience bounds how long counts are waited for: a store that is out of reach must not keep an
	// operator waiting for the reason.
	Patience func(context.Context) (context.Context, context.CancelFunc)
}

// Deps are what the door shows.
type Deps struct {
	Log           *slog.Logger
	Version       Version
	Listen, Admin string // addresses of both listeners
	Phase         func() string
	Up            func() time.Duration
	Now           func() presence.Millis
	Apps          func() []presence.AppID
	Service       *presence.Service
	Ask           *ask.Reader
	Intake        *intake.Intake
	Store         Store
	Rooms         []Room
	Gateway       func() any // its counts, as they stand in the status
	Asked         func() (queries, ids int64)
	Rates         func() api.Rates
	Callers       *limit.Callers
	Shares        map[string]*limit.Shared // what all callers use together, by name
	Conns         *conns.Listener
	Lane          func() (answered, handed int64)
	Refused       func() map[string]int64 // calls of /v1, by code
	OldUses       func() []api.OldUse     // of keys that are being replaced
	Dropped       func() int64            // lines of the log
	Unnamed       func() []string         // proxies that no setting names
	V1            http.Handler
	Reconcile     http.Handler // GET /reconcile and what is below it
	Reload        func(context.Context) (Reloaded, error)
	Settings      func() []configload.Setting // in force
	// Of the certificate, zero while one is missing; nil: there is no TLS.
	Expires   func() time.Time
	Profiling bool
}

// A Door answers operators.
type Door struct {
	Deps
	metrics *Metrics
	imports importLog
}

// New returns a door that shows deps, and has m show them too.
func New(deps Deps, m *Metrics) *Door {
	d := &Door{Deps: deps, metrics: m, imports: importLog{log: deps.Log}}
	m.registry.MustRegister(&collector{d})
	return d
}

// Handler returns what answers on the operator listener.
func (d *Door) Handler() http.Handler {
	mux := health(d.Phase, d.Store.Trouble)
	mux.Handle("GET /metrics", d.metrics.handler())
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, d.Status(r.Context()))
	})
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, Settings{d.Settings()})
	})
	own := http.NewCrossOriginProtection().Handler
	mux.Handle("POST /source/end", own(http.HandlerFunc(d.endSource)))
	mux.Handle("GET /reconcile", d.Reconcile)
	mux.Handle("POST /reconcile/", own(d.Reconcile))
	mux.Handle("POST /reload", own(http.HandlerFunc(d.reload)))
	mux.HandleFunc("GET /export", d.export(transfer.KindExport))
	mux.HandleFunc("GET /backup", d.export(transfer.KindBackup))
	mux.Handle("POST /import", own(http.HandlerFunc(d.importFile)))
	if d.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api.Owns(r.URL.Path) { // before a mux tidies up the path
			d.V1.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Ready is the phase of a server that takes reports and answers questions.
const Ready = "ready"

// Health answers /livez and /readyz; it is all that is mounted while the server starts.
func Health(phase func() string) http.Handler {
	return health(phase, func() string { return "" })
}

func health(phase, trouble func() string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status := phase()
		if status != Ready {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": status})
			return
		}
		if why := trouble(); why != "" {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "degraded", "why": why})
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": status})
	})
	return mux
}

// writeJSON answers w with v, laid out for people.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // only a programmer can cause it
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
