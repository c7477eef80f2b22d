package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// mayConnect judges the Origin of r. No cookie and nothing else ambient lets anybody in here, so
// without a list every page may connect, as any program may; a list narrows the pages. Programs
// that are no browsers send no Origin.
func (c *Config) mayConnect(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || len(c.Origins) == 0 {
		return true
	}
	return slices.ContainsFunc(c.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}
