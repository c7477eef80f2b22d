package rtm

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/limit"
)

// Route answers GET /v1/route: where to connect. It asks for no credentials and answers for any
// app, as LeanCloud does; an unknown one is refused at its login.
func (s *Server) Route(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if origin := r.Header.Get("Origin"); origin != "" {
		// As the dialect answers: what protects is the key, not the origin.
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Vary", "Origin")
	}
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-LC-Id, X-LC-Key, X-LC-Prod, X-LC-Session, X-LC-Sign, X-LC-UA, X-Requested-With")
		h.Set("Access-Control-Max-Age", "86400")
		h.Set("Allow", "GET, HEAD, OPTIONS")
		return
	}
	h.Set("Cache-Control", "no-store") // the answer may depend on the headers of a proxy
	h.Set("Content-Type", "application/json; charset=utf-8")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
		_, _ = w.Write([]byte(`{"code":1,"error":"Only GET is allowed here."}`))
		return
	}
	address := s.address(r)
	body, err := json.Marshal(map[string]any{
		"groupId": "g0", "groupUrl": address, "server": address, "secondary": address, "ttl": int(s.cfg.RouteTTL / time.Second),
	})
	if err != nil { // texts and numbers
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // who hung up needs no route
}

// address returns the URL of the WebSocket for the sender of r: the public one, else what the
// request came by. secure=false asks for an open connection.
func (s *Server) address(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	scheme, host := "ws", r.Host
	if r.TLS != nil || api.Secure(r.Context()) {
		scheme = "wss"
	}
	if limit.Within(limit.Socket(r), s.Proxies) { // others may write what they like
		if strings.EqualFold(first(r.Header.Get("X-Forwarded-Proto")), "https") {
			scheme = "wss"
		}
		if f := first(r.Header.Get("X-Forwarded-Host")); validHost(f) {
			host = f
		}
	}
	if r.URL.Query().Get("secure") == "false" {
		scheme = "ws"
	}
	return scheme + "://" + host + Path
}

// first returns the first of a list in a header.
func first(list string) string {
	v, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(v)
}

// validHost reports whether host can stand in a URL as it is.
func validHost(host string) bool {
	if host == "" {
		return false
	}
	u, err := url.Parse("ws://" + host)
	return err == nil && u.Host == host && u.User == nil && u.Path == ""
}

func validPublic(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "ws" || u.Scheme == "wss") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
