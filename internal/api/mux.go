package api

import (
	"net/http"
	"slices"
	"strings"
)

// Mux mounts routes on mux, each path once.
func (g *Gate) Mux(mux *http.ServeMux, routes []Route) {
	byPath := map[string][]Route{}
	var order []string
	for _, rt := range routes {
		if byPath[rt.Path] == nil {
			order = append(order, rt.Path)
		}
		byPath[rt.Path] = append(byPath[rt.Path], rt)
	}
	for _, p := range order {
		mux.Handle(p, g.Handle(append(byPath[p], shadowed(p, routes)...)...))
	}
}

// shadowed returns the routes whose pattern takes path too, with a part of it as an id, and which
// its own routes would hide: a call takes no id away from the others.
func shadowed(path string, routes []Route) (hidden []Route) {
	if strings.Contains(path, "{") {
		return nil
	}
	parts := strings.Split(path, "/")
	for _, rt := range routes {
		pattern := strings.Split(rt.Path, "/")
		own := func(o Route) bool { return o.Path == path && o.Method == rt.Method }
		if len(pattern) != len(parts) || rt.Path == path || slices.ContainsFunc(routes, own) {
			continue
		}
		values := map[string]string{}
		for i, p := range pattern {
			if name, ok := strings.CutPrefix(p, "{"); ok {
				values[strings.TrimSuffix(name, "}")] = parts[i]
			} else if p != parts[i] {
				values = nil
				break
			}
		}
		if len(values) == 0 {
			continue
		}
		handler := rt.Handler
		rt.Handler = func(w http.ResponseWriter, r *http.Request, c *Caller) error {
			for name, value := range values {
				r.SetPathValue(name, value)
			}
			return handler(w, r, c)
		}
		hidden = append(hidden, rt)
	}
	return hidden
}

// Handler returns what answers the routes of all doors, and nothing else.
func (g *Gate) Handler(doors ...[]Route) http.Handler {
	mux := http.NewServeMux()
	for _, routes := range doors {
		g.Mux(mux, routes)
	}
	mux.Handle("/", g.NotFound())
	return g.Clean(mux)
}

// Clean refuses paths that a router would tidy up, //, /./ and /../, instead of answering for
// another path: an id may be such a part when it is not escaped.
func (g *Gate) Clean(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); p != "" && !clean(p) {
			g.cors(w, r, http.MethodOptions)
			g.refuse(w, r, Errorf("bad_request", "the path has an empty part, or one that is . or ..; an id like that goes into the query: /v1/peer?id="))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func clean(p string) bool {
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return true // as nearly all are
	}
	for i, part := range strings.Split(strings.TrimPrefix(p, "/"), "/") {
		if part == "." || part == ".." || part == "" && i < strings.Count(p, "/")-1 {
			return false
		}
	}
	return true
}

// NotFound answers a call that does not exist.
func (g *Gate) NotFound() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.cors(w, r, http.MethodOptions)
		g.refuse(w, r, Errorf("not_found", "there is no such call"))
	})
}
