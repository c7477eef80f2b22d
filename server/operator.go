package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"

	"rollcall/internal/api"
	"rollcall/presence"
)

// health answers /livez and /readyz; it is all that is mounted while the server starts.
func (s *Server) health() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", s.serveReady)
	return mux
}

// mountOperator mounts what operators reach. Nothing here asks for a key: the listener is on loopback unless told otherwise.
func (s *Server) mountOperator() http.Handler {
	mux := s.health()
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.HandleFunc("GET /peer", s.servePeer)
	mux.HandleFunc("GET /watch", s.serveWatch)
	if s.cfg.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// operatorOnly refuses what asks for the operator listener by a host that is none of its own.
func (s *Server) operatorOnly(next http.Handler) http.Handler {
	return onlyNamed(s.Admin(), s.cfg.Admin, s.cfg.AdminHosts, next)
}

// serveReady answers 200 when reports are taken and questions answered, else 503 and why.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	status, code := phaseNames[s.phase.Load()], http.StatusServiceUnavailable
	if s.phase.Load() == phaseReady {
		if why := s.store.trouble(); why != "" {
			writeJSON(w, code, map[string]string{"status": "degraded", "why": why})
			return
		}
		code = http.StatusOK
	}
	writeJSON(w, code, map[string]string{"status": status})
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.Status(r.Context()))
}

// servePeer answers what is known of ?id= of ?app=, which may be left out when there is only one app.
func (s *Server) servePeer(w http.ResponseWriter, r *http.Request) {
	q, err := api.Query(r.URL.RawQuery, "app", "id")
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "error": err.Error()})
		return
	}
	p, err := s.Peer(r.Context(), presence.AppID(q.Get("app")), presence.PeerID(q.Get("id")))
	switch {
	case errors.Is(err, presence.ErrInvalid):
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "error": err.Error()})
	case err != nil:
		s.log.Error("a peer cannot be read", "err", err)
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"code": 503, "error": s.unanswered()})
	default:
		writeJSON(w, http.StatusOK, p)
	}
}

// unanswered says that the store did not answer, and why when that is known.
func (s *Server) unanswered() string {
	if why := s.store.trouble(); why != "" {
		return "the store did not answer (" + why + "); ask again"
	}
	return "the store did not answer; ask again"
}

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
