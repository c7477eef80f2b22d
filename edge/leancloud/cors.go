package leancloud

import (
	"net/http"
	"slices"
	"strings"
)

// corsHeaders are what the SDKs of LeanCloud and of Parse send from a page.
var corsHeaders = []string{
	"Content-Type", "X-AVOSCloud-Application-Id", "X-AVOSCloud-Application-Key", "X-AVOSCloud-Application-Production",
	"X-AVOSCloud-Client-Version", "X-AVOSCloud-Request-Sign", "X-AVOSCloud-Session-Token", "X-AVOSCloud-Super-Key",
	"X-LC-App-Build-Version", "X-LC-App-Display-Version", "X-LC-Client-Version", "X-LC-Hook-Key", "X-LC-Id",
	"X-LC-IM-Session-Token", "X-LC-Installation-Id", "X-LC-Key", "X-LC-OS-Version", "X-LC-Prod", "X-LC-Session", "X-LC-Sign",
	"X-LC-UA", "X-LeanCloud-Revocable-Session",
	"X-Parse-App-Build-Version", "X-Parse-App-Display-Version", "X-Parse-Application-Id", "X-Parse-Client-Key", "X-Parse-Client-Version",
	"X-Parse-Installation-Id", "X-Parse-JavaScript-Key", "X-Parse-Master-Key", "X-Parse-OS-Version", "X-Parse-Request-Id",
	"X-Parse-REST-API-Key", "X-Parse-Revocable-Session", "X-Parse-Session-Token",
	"X-Requested-With", "X-Uluru-Application-Id", "X-Uluru-Application-Key", "X-Uluru-Application-Production",
	"X-Uluru-Client-Version", "X-Uluru-Session-Token",
}

// corsFamilies are the beginnings of headers of which an SDK may send others than those we know, by
// its version and platform.
var corsFamilies = []string{"x-lc-", "x-leancloud-", "x-parse-", "x-avoscloud-", "x-uluru-"}

var preflightHeaders = map[string][]string{
	"Access-Control-Max-Age":       {"86400"},
	"Access-Control-Allow-Methods": {"HEAD, GET, POST, PUT, DELETE, OPTIONS"},
	"Access-Control-Allow-Headers": {strings.Join(corsHeaders, ", ")},
}

// maxAsked bounds how long a list of asked-for headers is looked at.
const maxAsked = 2048

// preflight allows what every SDK sends from a page. asked is what the page says that it will send.
func preflight(h http.Header, asked []string) {
	for name, value := range preflightHeaders {
		h[name] = value
	}
	if more := alsoAllowed(strings.Join(asked, ",")); more != "" {
		h["Access-Control-Allow-Headers"] = []string{preflightHeaders["Access-Control-Allow-Headers"][0] + more}
	}
}

// alsoAllowed returns those of the asked headers that belong to a family of the SDKs and are not
// named above.
func alsoAllowed(asked string) string {
	if len(asked) > maxAsked {
		return ""
	}
	var more strings.Builder
	for name := range strings.SplitSeq(asked, ",") {
		name = strings.TrimSpace(name)
		lower := strings.ToLower(name)
		family := slices.ContainsFunc(corsFamilies, func(f string) bool { return strings.HasPrefix(lower, f) })
		known := slices.ContainsFunc(corsHeaders, func(c string) bool { return strings.EqualFold(c, name) })
		if family && !known && isToken(name) {
			more.WriteString(", " + name)
		}
	}
	return more.String()
}

// isToken reports whether name has only letters, digits and hyphens.
func isToken(name string) bool {
	for _, c := range []byte(name) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
