package leancloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"rollcall/internal/credentials"
	"rollcall/internal/httpx"
	"rollcall/internal/seldom"
	"rollcall/presence"
)

// A Kicker closes connections that this server holds.
type Kicker interface {
	// Kick closes every session of peer and refuses what was signed for its login before. A peer that has none is no error.
	Kick(ctx context.Context, app presence.AppID, peer presence.PeerID, reason string) error
}

// Deps are what the dialect stands on.
type Deps struct {
	Service *presence.Service
	Keys    *credentials.Keyring
	Now     func() presence.Millis
	Log     *slog.Logger
	// Kicker closes connections on kick. Without one this server holds none, and a kick has nothing to close.
	Kicker Kicker
}

// A Handler answers the dialect.
type Handler struct {
	cfg Config
	Deps
	counters counters
	faulty   seldom.Line // the store did not answer
	scratch  sync.Pool
	words    [presence.Online + 1]word // by status
	ping     []byte
}

// New returns a handler. It returns an error matching [ErrConfig] for settings out of range.
func New(cfg Config, deps Deps) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	h := &Handler{cfg: cfg, Deps: deps, words: wordsOf(cfg.UnknownAsOffline)}
	h.scratch.New = func() any { return new(scratch) }
	h.ping = pingAnswer(cfg.Version)
	return h, nil
}

// Owns reports whether path belongs to the dialect.
func Owns(path string) bool {
	for _, prefix := range [...]string{"/1/", "/1.1/", "/1.2/", "/__engine/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// scratch is what one call needs and the next one can use again.
type scratch struct {
	body, plain []byte
	ids         [][]byte
	statuses    []presence.Status
	out         []byte
	age         time.Duration // of the statuses; 0 when they are fresh
}

// keep bounds what a scratch may hold while it waits: a few large calls must not pin their memory for ever.
const keep = 64 << 10

func (h *Handler) release(s *scratch) {
	if cap(s.body) > keep || cap(s.plain) > keep || cap(s.out) > keep || cap(s.ids) > 4096 {
		return
	}
	clear(s.ids)
	h.scratch.Put(s)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.scratch.Get().(*scratch)
	defer h.release(s)
	var a answer
	name, typed, ok := functionOf(r.URL.Path, r.URL.RawPath)
	switch {
	case r.Method == http.MethodOptions && !strings.HasPrefix(r.URL.Path, "/__engine/"):
		preflight(w.Header())
		a = answer{status: http.StatusOK}
	case ok:
		a = h.function(w, r, name, typed, s)
	default:
		a = h.other(w, r, s)
	}
	h.counters.answered(a.status)
	a.hangUp = a.hangUp && r.ProtoMajor < 2 // over HTTP/2 it would end every other call of the connection
	a.write(w, r.Header["Origin"])
}

// function answers a call of the cloud function name.
func (h *Handler) function(w http.ResponseWriter, r *http.Request, name string, typed bool, s *scratch) answer {
	c, fail := h.open(w, r, s)
	if fail != nil {
		return fail.answer()
	}
	if name == "" {
		return notFound("No function name or class name: " + r.URL.Path).answer()
	}
	c.name, c.typed = name, typed
	// Who stops listening once he has told us something has told it all the same.
	return h.call(context.WithoutCancel(r.Context()), &c, s)
}

// A call is an authenticated request, free of the way it came.
type call struct {
	name   string
	typed  bool // under /call
	app    presence.AppID
	rights credentials.Rights
	form   bool
	body   []byte
	remote func() string // who sent it, for telling
}

// open checks the credentials of r and reads its body, in this order unless the credentials are in the body.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, s *scratch) (c call, fail *fault) {
	kind, fail := contentOf(r.Header["Content-Type"])
	if kind == contentText {
		return h.openText(w, r, fail, s)
	}
	app, rights := h.Keys.Check(credentials.FromHeader(r.Header))
	if !rights.Has(credentials.Client) {
		return c, errUnauthorized
	}
	if fail != nil && r.ContentLength != 0 {
		return c, fail
	}
	c = call{app: presence.AppID(app.ID), rights: rights, form: kind == contentForm, remote: h.remote(r)}
	c.body, fail = h.read(w, r, s)
	return c, fail
}

// openText is open for text/plain, whose body may hold the credentials.
func (h *Handler) openText(w http.ResponseWriter, r *http.Request, fail *fault, s *scratch) (c call, _ *fault) {
	if fail != nil && r.ContentLength != 0 {
		return c, fail
	}
	body, fail := h.read(w, r, s)
	if fail != nil {
		return c, fail
	}
	shown := credentials.FromHeader(r.Header)
	params, fail := h.parse(body, false)
	if fail == nil {
		shown = fromBody(params, shown)
	}
	app, rights := h.Keys.Check(shown)
	if !rights.Has(credentials.Client) {
		if fail != nil && fail.code == codeMalformed {
			return c, fail // the keys may be in what could not be read
		}
		return c, errUnauthorized
	}
	return call{app: presence.AppID(app.ID), rights: rights, body: body, remote: h.remote(r)}, nil
}

func (h *Handler) remote(r *http.Request) func() string {
	return func() string { return httpx.ClientAddr(r, h.cfg.TrustedProxies) }
}

// fromBody takes the credentials of a text/plain body. When there are none, those of the headers count.
func fromBody(params params, header credentials.Presented) credentials.Presented {
	id, key, master := params.text("_ApplicationId"), params.text("_ApplicationKey"), params.text("_MasterKey")
	if id == "" && key == "" && master == "" {
		return header
	}
	return credentials.Presented{ID: id, BodyKey: key, MasterKey: master, Sign: header.Sign, HookKey: header.HookKey}
}
