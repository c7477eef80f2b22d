package operator

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"rollcall/internal/api"
)

// OnlyNamed keeps pages of the web away from the operator listener: a page whose name points to its
// address would make a browser near it ask here on behalf of that page. On loopback it is asked for
// by a loopback address or localhost, elsewhere by any address, which no name can stand for; by a
// name only when that is the one it is bound to, or one of hosts.
func OnlyNamed(bound, setting string, hosts []string, next http.Handler) http.Handler {
	loopback := local(bound)
	names := append([]string{"localhost"}, hosts...)
	if host := hostOf(setting); host != "" && net.ParseIP(host) == nil {
		names = append(names, host)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(strings.TrimSuffix(hostOf(r.Host), "."))
		ip := net.ParseIP(host)
		named := slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
		if !named && (ip == nil || loopback && !ip.IsLoopback()) {
			api.WriteError(w, api.Errorf("forbidden", "ask for this listener by 127.0.0.1, localhost or its address, or name its host in admin_hosts"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether address, with or without a port, names this machine for itself.
func local(address string) bool {
	host := hostOf(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// hostOf returns address without its port and brackets.
func hostOf(address string) string {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host
}
