package api

import (
	"net/http"
	"strings"
)

// Owns reports whether what lies at path is refused in the words of the native API. Below /v1/ only
// the route of the realtime dialect is not.
func Owns(path string) bool {
	return strings.HasPrefix(path, "/v1/") && !strings.HasPrefix(path, "/v1/route") ||
		strings.HasPrefix(path, "/openapi") || strings.HasPrefix(path, "/ingest/")
}

// Need is what a caller must show to be let through a route.
type Need uint8

// The needs, least first.
const (
	NeedAnyone   Need = iota // no key: what says nothing about any peer
	NeedAsker                // app key or master key: what apps may ask
	NeedReporter             // hook key, signature or master key: reports
	NeedMaster               // master key: servers
	NeedProof                // what the call itself asks for, see [Gate.Proven]
)

func (n Need) String() string {
	return [...]string{"anyone", "asker", "reporter", "master", "proof"}[min(n, NeedProof)]
}

// A Route is one call of the native API.
type Route struct {
	Method  string
	Path    string // pattern of net/http.ServeMux, without the method
	Need    Need
	Handler func(w http.ResponseWriter, r *http.Request, c *Caller) error
	// Query names the query parameters that the call takes beside app; a name that ends in * may be
	// given again. Any other is refused.
	Query []string
	// Ticket says that a caller may also come with a ticket in the query, because browsers set no
	// headers there.
	Ticket bool
	// Stream says that the call opens a stream, which counts against another limit.
	Stream bool
	// Cost is how many calls one counts as; 0 is one.
	Cost float64
	// Inside says that the caller shows what it is inside the call: the handler admits it.
	Inside bool
	// Loose says that the query is of no concern to the call and is not looked at.
	Loose bool
	// Raw says that the handler reads the raw body to check a signature: the gate lets a signed
	// caller through unchecked.
	Raw bool
}
