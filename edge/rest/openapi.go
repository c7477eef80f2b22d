package rest

import (
	_ "embed"
	"net/http"
	"sync"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"rollcall/internal/api"
)

// openapiDoc is the description of every native call, written by hand; a test holds it against the routes.
//
//go:embed openapi.yaml
var openapiDoc []byte

// OpenAPI returns the description of the native API.
func OpenAPI() []byte { return openapiDoc }

func (d *Door) openapi(w http.ResponseWriter, _ *http.Request, _ *api.Caller) error {
	h := w.Header()
	h.Set("Content-Type", "application/yaml")
	h.Set("Cache-Control", "max-age=300")
	_, _ = w.Write(openapiDoc)
	return nil
}

// reader is the page that shows the description. All of it is in this binary.
var reader = sync.OnceValue(func() http.Handler {
	return v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "rollcall", SwaggerJSON: "/openapi.yaml", BasePath: "/openapi/", HideCurl: false,
	})
})

func (d *Door) page(w http.ResponseWriter, r *http.Request, _ *api.Caller) error {
	// The page runs scripts of its own; nothing else may load, from wherever.
	w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:")
	f := finder{ResponseWriter: w}
	reader().ServeHTTP(&f, r)
	if f.missing {
		return api.Errorf("not_found", "there is no such page")
	}
	return nil
}

// A finder keeps back the refusal of a file that is not there, which is in words of its own.
type finder struct {
	http.ResponseWriter
	missing bool
}

func (f *finder) WriteHeader(status int) {
	if f.missing = status == http.StatusNotFound; !f.missing {
		f.ResponseWriter.WriteHeader(status)
	}
}

func (f *finder) Write(b []byte) (int, error) {
	if f.missing {
		return len(b), nil
	}
	return f.ResponseWriter.Write(b)
}
