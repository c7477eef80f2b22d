package rest

import (
	_ "embed"
	"net/http"
	"runtime"
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
	unpacking <- struct{}{}
	defer func() { <-unpacking }()
	f := finder{ResponseWriter: w}
	reader().ServeHTTP(&f, r)
	if f.missing {
		return api.Errorf("not_found", "there is no such page")
	}
	return nil
}

// unpacking is the one turn at unpacking a file of the page for readers that take no gzip. It costs a hundred times what a question
// does, and whoever asks for it shows no key: so one piece is unpacked at a time, and no turn is held while a reader is waited for.
var unpacking = make(chan struct{}, 1)

// A finder writes the files of the page, each piece in its turn. It keeps back the refusal of a file that is not there, which is
// in words of its own.
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
	<-unpacking
	defer func() {
		runtime.Gosched() // other work comes between two pieces
		unpacking <- struct{}{}
	}()
	return f.ResponseWriter.Write(b)
}
