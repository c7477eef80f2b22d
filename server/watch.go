package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"rollcall/ask"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// Watched is one line of GET /watch: what a peer is now. A line without a peer says that nothing happened.
type Watched struct {
	Peer     string `json:"peer,omitempty"`
	Status   string `json:"status,omitempty"`
	Since    string `json:"since,omitempty"`
	LastSeen string `json:"last_seen,omitempty"`
	Cause    string `json:"cause,omitempty"`
	// Stale is for how many seconds a part of the store had been out of reach; 0 when all of it answers.
	Stale float64 `json:"stale,omitempty"`
}

// serveWatch tells what becomes of ?id=…&id=… of ?app=, a line of JSON for each word, until the client goes.
func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request) {
	q, err := api.Query(r.URL.RawQuery, "app", "id*")
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "error": err.Error()})
		return
	}
	app, err := s.whichApp(presence.AppID(q.Get("app")))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "error": err.Error()})
		return
	}
	peers := make([]presence.PeerID, 0, len(q["id"]))
	for _, id := range q["id"] {
		peers = append(peers, presence.PeerID(id))
	}
	watcher, err := s.hub.Watch(r.Context(), ask.View{App: app, Viewer: ask.Server}, peers, presence.DetailFull, "")
	switch {
	case errors.Is(err, watch.ErrLimit):
		writeJSON(w, http.StatusBadRequest, map[string]any{"code": 400, "error": err.Error()})
		return
	case err != nil:
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"code": 503, "error": s.unanswered()})
		return
	}
	defer watcher.Close(watch.ReasonGone)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for {
		b, err := watcher.Next(r.Context())
		if err != nil {
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.SSE.Stall))
		if b.Kind == watch.Mark {
			_ = enc.Encode(Watched{Stale: b.Age.Seconds()})
		}
		for _, u := range b.Updates {
			line := watchedOf(u)
			line.Stale = b.Age.Seconds()
			_ = enc.Encode(line)
		}
		if rc.Flush() != nil {
			return
		}
	}
}

func watchedOf(w *watch.Update) Watched {
	o := Watched{Peer: string(w.Peer), Status: w.Status.String(), Since: stamp(w.Since), LastSeen: stamp(w.LastSeen)}
	if w.Status == presence.Offline {
		o.Cause = w.Cause.String()
	}
	return o
}
