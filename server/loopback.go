package server

import (
	"net"
	"net/http"
)

// onlyLocal keeps pages of the web away from a listener on loopback: a name that somebody else lets point to 127.0.0.1 would
// make a browser on this machine ask here on his behalf. A listener on another address is reached by names of its own.
func onlyLocal(bound string, next http.Handler) http.Handler {
	if !local(bound) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r.Host) {
			writeJSON(w, http.StatusForbidden, map[string]any{"code": 403, "error": "ask for this listener by 127.0.0.1 or localhost"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether address, with or without a port, names this machine for itself.
func local(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
