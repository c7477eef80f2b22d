package leancloud

import "net/http"

var preflightHeaders = map[string][]string{
	"Access-Control-Max-Age":       {"86400"},
	"Access-Control-Allow-Methods": {"HEAD, GET, POST, PUT, DELETE, OPTIONS"},
	"Access-Control-Allow-Headers": {"Content-Type, X-AVOSCloud-Application-Id, X-AVOSCloud-Application-Key, " +
		"X-AVOSCloud-Application-Production, X-AVOSCloud-Client-Version, X-AVOSCloud-Request-Sign, X-AVOSCloud-Session-Token, " +
		"X-AVOSCloud-Super-Key, X-LC-Hook-Key, X-LC-Id, X-LC-IM-Session-Token, X-LC-Key, X-LC-Prod, X-LC-Session, X-LC-Sign, " +
		"X-LC-UA, X-Requested-With, X-Uluru-Application-Id, X-Uluru-Application-Key, X-Uluru-Application-Production, " +
		"X-Uluru-Client-Version, X-Uluru-Session-Token"},
}

// preflight allows what every SDK sends from a page.
func preflight(h http.Header) {
	for name, value := range preflightHeaders {
		h[name] = value
	}
}
