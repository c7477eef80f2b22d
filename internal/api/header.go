package api

import (
	"net/http"
	"strings"

	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// The families of headers in canonical form, in the order in which they win.
var (
	idHeaders  = []string{"X-Lc-Id", "X-Avoscloud-Application-Id", "X-Uluru-Application-Id", "X-Parse-Application-Id"}
	keyHeaders = []string{
		"X-Lc-Key", "X-Avoscloud-Application-Key", "X-Uluru-Application-Key",
		"X-Parse-Javascript-Key", "X-Parse-Client-Key", "X-Parse-Rest-Api-Key", "X-Parse-Windows-Key",
	}
	masterHeaders = []string{"X-Avoscloud-Master-Key", "X-Uluru-Master-Key", "X-Parse-Master-Key"}
	signHeaders   = []string{"X-Lc-Sign", "X-Avoscloud-Request-Sign"}
	hookHeaders   = []string{"X-Lc-Hook-Key"}
	// What LeanCloud's SDKs send when a user is logged in: its session token, which means nothing
	// here, or a user token that the app has put there.
	sessionHeaders = []string{"X-Lc-Session", "X-Avoscloud-Session-Token", "X-Uluru-Session-Token", "X-Parse-Session-Token"}
)

// FromHeader collects what h presents in the families of headers that the SDKs of LeanCloud and of
// Parse use.
func FromHeader(h http.Header) Presented {
	p := Presented{
		ID: presence.AppID(first(h, idHeaders)), Key: first(h, keyHeaders), MasterKey: first(h, masterHeaders),
		Sign: first(h, signHeaders), HookKey: first(h, hookHeaders),
	}
	if session := first(h, sessionHeaders); usertoken.Likely(session) {
		p.UserToken = session
	}
	return p
}

// FromRequest is FromHeader and what the native calls understand besides: "Authorization: Bearer
// <master key or user token>", and the app id in the query as app, which counts when no header
// names one. Keys are never read from a query: queries end up in logs.
func FromRequest(r *http.Request) Presented {
	p := FromHeader(r.Header)
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		p.Bearer = strings.TrimSpace(token)
		if usertoken.Likely(p.Bearer) {
			p.UserToken = p.Bearer // it may be a master key with dots; keys go first
		}
	}
	if p.ID == "" && r.URL.RawQuery != "" {
		p.ID = presence.AppID(r.URL.Query().Get("app"))
	}
	return p
}

func first(h http.Header, names []string) string {
	for _, name := range names {
		if v := h[name]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}
