package leancloud

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/ask"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/configload"
	"rollcall/internal/limit"
	"rollcall/internal/lograte"
	"rollcall/internal/trace"
	"rollcall/presence"
)

// A Kicker closes connections that this server holds.
type Kicker interface {
	// Kick closes every session of peer and refuses what was signed for its login before. A peer
	// that has none is no error.
	Kick(ctx context.Context, app presence.AppID, peer presence.PeerID, reason string) error
}

// Deps are what the dialect stands on.
type Deps struct {
	Intake *intake.Intake // takes the hooks
	Ask    *ask.Reader
	Keys   *api.Keyring
	Now    func() presence.Millis
	Log    *slog.Logger

	Version     string         // what the ping of the engine answers
	BodyTimeout time.Duration  // how long a body may take to arrive; zero is no limit
	Proxies     []netip.Prefix // those whose X-Forwarded-For is trusted
	// Callers holds callers to their rates, as every door does. Nil is no rate.
	Callers *limit.Callers
	// Bodies is the memory that bodies under way share. Nil is without bound.
	Bodies *limit.Shared
	// Unnamed is called with the address of a proxy that is not trusted, when the fast lane meets
	// one; nil is not called.
	Unnamed func(netip.Addr)
	// Kicker closes connections on kick. Without one this server holds none, and a kick has nothing
	// to close.
	Kicker Kicker
	// Users verifies user tokens. Nil lets none in.
	Users *usertoken.Verifier
	// AskByToken has a caller with the app key show a user token in X-LC-Session.
	AskByToken bool
	// Traces has the lines of requests with a trace that the lane answers. Nil writes none.
	Traces *trace.Log
}

// A Handler answers the dialect.
type Handler struct {
	cfg Config
	Deps
	counters counters
	faulty   lograte.Line // the store did not answer
	scratch  sync.Pool
	manyIDs  sync.Pool                 // lists that are too long for a scratch to keep
	words    [presence.Online + 1]word // by status
	ping     []byte
}

// New returns a handler. It returns an error matching [ErrConfig] for settings out of range.
func New(cfg Config, deps Deps) (*Handler, error) {
	if err := configload.Ranges(&cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	h := &Handler{cfg: cfg, Deps: deps, words: wordsOf(cfg.UnknownAsOffline)}
	h.scratch.New = func() any { return new(scratch) }
	h.ping = pingAnswer(deps.Version)
	return h, nil
}

// scratch is what one call needs and the next one can use again.
type scratch struct {
	call        call
	body, plain []byte
	ids         [][]byte
	statuses    ask.Answer[presence.Status]
	out         []byte
}

// keep bounds what a scratch may hold while it waits: a few large calls must not pin their memory
// for ever.
const keep = 64 << 10

func (h *Handler) release(s *scratch) {
	s.call.memory.Release()
	s.call = call{}
	if cap(s.ids) > fewIDs {
		ids := s.ids[:0]
		clear(ids[:cap(ids)])
		h.manyIDs.Put(&ids)
		s.ids = nil
	}
	clear(s.ids)
	for _, b := range [...]*[]byte{&s.body, &s.plain, &s.out} {
		if cap(*b) > keep {
			api.Recycle(*b)
			*b = nil
		}
	}
	h.scratch.Put(s)
}

// fewIDs is how many ids a scratch has room for while it waits.
const fewIDs = 4096

// roomFor returns the list of ids of s, with room for n. A long one is borrowed: it is what costs
// most of a question about many.
func (h *Handler) roomFor(n int, s *scratch) [][]byte {
	if n > fewIDs && cap(s.ids) < n {
		if kept, ok := h.manyIDs.Get().(*[][]byte); ok {
			s.ids = *kept
		}
	}
	return slices.Grow(s.ids[:0], n)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.scratch.Get().(*scratch)
	defer h.release(s)
	var a answer
	name, typed, ok := functionOf(r.URL.Path, r.URL.RawPath)
	switch {
	case r.Method == http.MethodOptions && !strings.HasPrefix(r.URL.Path, "/__engine/"):
		preflight(w.Header(), r.Header["Access-Control-Request-Headers"])
		a = answer{status: http.StatusOK}
	default:
		c := &s.call
		c.address = limit.Address(r, h.Proxies)
		if ok {
			a = h.function(w, r, name, typed, c, s)
		} else {
			a = h.other(w, r, c, s)
		}
	}
	h.counters.answered(a.status)
	// Over HTTP/2 it would end every other call of the connection.
	a.hangUp = a.hangUp && r.ProtoMajor < 2
	a.write(w, r.Header.Get("Origin"))
}

// function answers a call of the cloud function name.
func (h *Handler) function(w http.ResponseWriter, r *http.Request, name string, typed bool, c *call, s *scratch) answer {
	if r.Method == http.MethodHead && name != "_ops/metadatas" {
		a := (&fault{status: http.StatusMethodNotAllowed, code: codeBad, text: "Method not allowed."}).answer()
		a.allow = "POST, GET, PUT, PATCH, DELETE, OPTIONS"
		return a
	}
	if fail := h.open(w, r, c, s); fail != nil {
		return fail.answer()
	}
	if name == "" {
		return notFound("No function name or class name: " + r.URL.Path).answer()
	}
	c.name, c.typed = name, typed
	// A hook is applied even if the client disconnects first.
	return h.call(context.WithoutCancel(r.Context()), c, s)
}

// A call is an authenticated request, free of the way it came.
type call struct {
	name   string
	typed  bool // under /call
	app    presence.AppID
	rights api.Rights
	peer   presence.PeerID // that its user token names; "" is none
	signs  bool            // it asks for a signature, and shows its user token inside
	form   bool
	body   []byte

	address netip.Addr // by which it is held to a rate
	lane    *caller    // what its connection keeps, in the lane
	memory  limit.Hold // of its body
	paid    int        // peers that the size of its body was charged as
}

// view returns what c sees. The dialect shows every caller what a client may know, whatever its
// key.
func (c *call) view() ask.View { return ask.ViewOf(c.app, false, c.peer) }

// open checks the credentials of r and reads its body, in this order unless the credentials are in
// the body.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, c *call, s *scratch) (fail *fault) {
	kind, fail := contentOf(r.Header["Content-Type"])
	if kind == contentText {
		return h.openText(w, r, fail, c, s)
	}
	if !h.admit(r.Context(), c, api.FromHeader(r.Header)) {
		return h.unauthorized(c)
	}
	if fail != nil && r.ContentLength != 0 {
		return fail
	}
	c.form = kind == contentForm
	if fail := h.takeCall(c); fail != nil {
		return fail
	}
	// Who asks too often is refused before the body is read.
	if fail := h.takeBytes(c, int(min(r.ContentLength, int64(h.cfg.MaxBody)))); fail != nil {
		return fail
	}
	if c.body, fail = h.read(w, r, c, s, h.cfg.MaxBody); fail != nil {
		return fail
	}
	return h.takeBytes(c, len(c.body))
}

// admit fills in the app and the rights of shown and reports whether they let a caller in.
func (h *Handler) admit(ctx context.Context, c *call, shown api.Presented) bool {
	app, rights := h.Keys.Check(shown)
	if !rights.Has(api.Client) {
		return false
	}
	c.app, c.rights, c.peer = app.ID, rights, ""
	if c.signs || !h.needsToken(rights) {
		return true
	}
	token, err := api.VerifyUser(ctx, h.Users, app, shown.UserToken)
	c.peer = token.Peer
	return err == nil
}

// needsToken reports whether a caller with rights has to show a user token beside its key.
func (h *Handler) needsToken(rights api.Rights) bool {
	return h.AskByToken && !rights.Has(api.Master) && !rights.Has(api.Hook)
}

// maxStrange is how many bytes a compressed body may unpack to before the keys are known.
const maxStrange = 8 << 10

// openText is open for text/plain, whose body may hold the credentials. Those go before what the
// headers show.
func (h *Handler) openText(w http.ResponseWriter, r *http.Request, fail *fault, c *call, s *scratch) *fault {
	w.Header()["Access-Control-Expose-Headers"] = headerExposed
	if fail != nil && r.ContentLength != 0 {
		return fail
	}
	shown := api.FromHeader(r.Header)
	unpacked := maxStrange
	if h.admit(r.Context(), c, shown) {
		unpacked = h.cfg.MaxBody
	}
	c.body, fail = h.read(w, r, c, s, unpacked)
	if fail == errTooLarge && unpacked == maxStrange && r.ContentLength <= int64(h.cfg.MaxBody) {
		return h.unauthorized(c) // no client compresses a body that has the keys in it
	}
	if fail != nil {
		return fail
	}
	if fail := h.takeBytes(c, len(c.body)); fail != nil {
		return fail
	}
	params, fail := h.parse(c.body, false)
	if fail == nil {
		shown = fromBody(params, shown)
	}
	if !h.admit(r.Context(), c, shown) {
		if refused := h.unauthorized(c); refused != errUnauthorized || fail == nil || fail.code != codeMalformed {
			return refused
		}
		return fail // the keys may be in what could not be read
	}
	return h.takeCall(c)
}

// fromBody takes the credentials of a text/plain body, as the SDKs of LeanCloud or of Parse write
// them. When there are none, those of the headers count.
func fromBody(params params, header api.Presented) api.Presented {
	id, master := params.text("_ApplicationId"), params.text("_MasterKey")
	key := cmp.Or(params.text("_ApplicationKey"), params.text("_JavaScriptKey"), params.text("_ClientKey"), params.text("_RESTAPIKey"))
	token := header.UserToken
	if session := params.text("_SessionToken"); usertoken.Likely(session) {
		token = session
	}
	if id == "" && key == "" && master == "" {
		header.UserToken = token
		return header
	}
	return api.Presented{ID: presence.AppID(id), BodyKey: key, MasterKey: master, Sign: header.Sign, HookKey: header.HookKey, UserToken: token}
}
