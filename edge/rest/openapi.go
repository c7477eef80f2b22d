package rest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"hash/crc32"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5/static"
	"github.com/swaggest/swgui/v5emb"

	"rollcall/internal/api"
)

// openapiDoc is the description of every native call, written by hand; a test holds it against the
// routes.
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
	if !strings.Contains(strings.ToLower(r.Header.Get("Accept-Encoding")), "gzip") {
		if unpacked := files()[strings.TrimPrefix(r.URL.Path, "/openapi/")]; unpacked != nil {
			f, err := unpacked()
			if err == nil {
				f.serve(w, r)
			}
			return err
		}
	}
	f := finder{ResponseWriter: w}
	reader().ServeHTTP(&f, r)
	if f.missing {
		return api.Errorf("not_found", "there is no such page")
	}
	return nil
}

// A file of the page lies in this binary packed only. Readers that take no gzip are rare, but need
// no key: for them it is unpacked once and kept, 2.3 MB for all files, for unpacking costs a
// hundred times what a question does.
type file struct {
	kind string // its media type
	tag  string // its entity tag, for caches
	text []byte
}

// files returns what unpacks the files of the page, by their names in the path.
var files = sync.OnceValue(func() map[string]func() (*file, error) {
	all := map[string]func() (*file, error){}
	names, _ := fs.Glob(static.FS, "*.gz") // the pattern is well formed
	for _, name := range names {
		all[strings.TrimSuffix(name, ".gz")] = sync.OnceValues(func() (*file, error) { return unpack(name) })
	}
	return all
})

func unpack(name string) (*file, error) {
	raw, err := fs.ReadFile(static.FS, name)
	if err != nil {
		return nil, fmt.Errorf("read the page's %s: %w", name, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("unpack the page's %s: %w", name, err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		return nil, fmt.Errorf("unpack the page's %s: %w", name, err)
	}
	ext := path.Ext(strings.TrimSuffix(name, ".gz"))
	// Without the buffer's spare room.
	f := &file{kind: mime.TypeByExtension(ext), text: bytes.Clone(b.Bytes())}
	if ext == ".js" {
		// As it goes out packed, whatever the machine's tables say.
		f.kind = "application/javascript"
	}
	f.tag = fmt.Sprintf(`"%08x"`, crc32.ChecksumIEEE(f.text))
	return f, nil
}

// serve answers r with f.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Etag", f.tag)
	h.Add("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(f.text)))
	_, _ = w.Write(f.text)
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
