package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"rollcall/client/js"
)

var (
	//go:embed page.html
	pageHTML []byte
	//go:embed page.css
	pageCSS []byte
	//go:embed page.js
	pageJS []byte
)

// policy lets the page load its own files and speak with its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; img-src data:; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler answers what is under /demo/. Pages of other origins cannot press its buttons.
func (d *Demo) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, f := range map[string]struct {
		kind string
		text []byte
	}{
		"/demo/{$}":         {"text/html; charset=utf-8", pageHTML},
		"/demo/page.css":    {"text/css; charset=utf-8", pageCSS},
		"/demo/page.js":     {"text/javascript; charset=utf-8", pageJS},
		"/demo/rollcall.js": {"text/javascript; charset=utf-8", js.File},
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", f.kind)
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Cache-Control", "no-cache")
			_, _ = w.Write(f.text)
		})
	}
	mux.HandleFunc("GET /demo/state", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		pid := d.jerry.pid()
		d.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{
			"app": d.cfg.App, "key": d.cfg.Key, "hour": d.hour(), "jerry": pid, "people": d.why.all(r.Context(), d),
		})
	})
	mux.HandleFunc("POST /demo/do/{action}", func(w http.ResponseWriter, r *http.Request) {
		if err := d.do(r.Context(), r.PathValue("action")); err != nil {
			answer(w, http.StatusConflict, map[string]any{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{})
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// most is how many tabs spike may have.
const most = 10

// do does what a button says.
func (d *Demo) do(ctx context.Context, action string) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life == nil || d.life.Err() != nil {
		return errors.New("the demo is not running")
	}
	d.tabs = slices.DeleteFunc(d.tabs, (*device).ended)
	switch action {
	case "jerry-kill":
		d.jerry.kill()
	case "jerry-start":
		if d.jerry.pid() == 0 {
			d.jerry, err = d.spawn("jerry")
		}
	case "tom-phone": // the server ends the phone before
		d.phone++
		before := d.tom
		if d.tom, err = d.login(ctx, "tom", fmt.Sprintf("phone-%d", d.phone), "phone"); err == nil {
			before.die()
		}
	case "tom-logout":
		d.tom.logout()
	case "spike-open":
		if len(d.tabs) == most {
			return fmt.Errorf("spike has %d tabs, which is enough", most)
		}
		var tab *device
		if tab, err = d.login(ctx, "spike", "", ""); err == nil {
			d.tabs = append(d.tabs, tab)
		}
	case "spike-close":
		if n := len(d.tabs); n > 0 {
			d.tabs[n-1].die() // closing a tab says nothing either
			d.tabs = d.tabs[:n-1]
		}
	default:
		return fmt.Errorf("there is no button %q", action)
	}
	return err
}

// Someone is a person as the page shows them, with the server's explanation.
type someone struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// whys keeps the explanations for a second, however many pages are open.
type whys struct {
	mu   sync.Mutex
	read time.Time
	list []someone
}

func (w *whys) all(ctx context.Context, d *Demo) []someone {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.read) < time.Second {
		return w.list
	}
	list := make([]someone, 0, len(stars)+len(crowd))
	for _, id := range slices.Concat(stars, crowd) {
		e, err := d.api.Why(ctx, id)
		if err != nil {
			e.Why = err.Error()
		}
		list = append(list, someone{ID: id, Why: e.Why})
	}
	if ctx.Err() == nil {
		w.read, w.list = time.Now(), list
	}
	return list
}
