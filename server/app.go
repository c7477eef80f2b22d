package server

import (
	"net/http"
	"strings"
	"time"
)

// A door is what answers the requests under a prefix of the path on the app listener.
type door struct {
	name    string // in metrics
	prefix  string
	handler http.Handler
	long    bool // its requests last as long as somebody watches; their duration says nothing
}

// doors sends each request to the first door whose prefix its path begins with.
type doors struct {
	list    []door
	metrics *metrics
}

// mountApp mounts the doors on the app listener. A longer prefix stands before a shorter one; the dialect, which takes
// everything else, stands last.
func (s *Server) mountApp() (*doors, error) {
	d := &doors{metrics: s.metrics}
	return d, nil
}

// ServeHTTP answers r.
func (d *doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for i := range d.list {
		o := &d.list[i]
		if !strings.HasPrefix(r.URL.Path, o.prefix) {
			continue
		}
		if o.long {
			o.handler.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		o.handler.ServeHTTP(w, r)
		d.metrics.answered(o.name, time.Since(start))
		return
	}
	notFound(w)
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"code":404,"error":"there is nothing here"}` + "\n"))
}
