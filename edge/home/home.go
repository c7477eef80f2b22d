// Package home is the page at the root of the app listener: it says what answers here and where to
// read on. It shows no setting, no key and no count, since anybody may ask for it.
package home

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed page.html
var source string

//go:embed page.css
var style string

// Config says what the page shows.
type Config struct {
	Release string
	// Demo adds a link to /demo/.
	Demo bool
}

// Wants reports whether r asks for the page: a read of the root itself.
func Wants(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// New returns the handler of the page.
func New(cfg Config) http.Handler {
	var b bytes.Buffer
	page := template.Must(template.New("home").Parse(source))
	err := page.Execute(&b, struct {
		Config
		Style template.CSS
	}{cfg, template.CSS(style)})
	if err != nil { // the template is part of this binary, and a buffer takes all
		panic(err)
	}
	sum := sha256.Sum256([]byte(style))
	policy := fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:]))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(b.Len()))
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if r.Method != http.MethodHead {
			_, _ = w.Write(b.Bytes())
		}
	})
}
