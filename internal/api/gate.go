package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/internal/trace"

	"rollcall/presence"
)

// Config are the settings of a [Gate]. Start from [DefaultConfig].
type Config struct {
	// AppDetail shows since, last seen and cause also to callers with the app key only, which is
	// inside every copy of the app.
	AppDetail bool
	// Origins are the web origins that a browser may call from; "*" is any. Nothing here relies on
	// cookies.
	Origins []string
	// Ask says who may ask and watch. With anyone that is each caller that shows the app key, with
	// token those that show a user token, and the app's own servers. It holds at every door.
	Ask string `range:"anyone,token"`
	// Present says who may be present on a socket. With anyone a client with the app key may be as
	// any peer; token takes a user token of the peer, a login signature of LeanCloud's protocol, or
	// the master key. It holds for /v1/socket and for LeanCloud's realtime protocol.
	Present string `range:"anyone,token"`
	// UserTokenLife is how far ahead a user token may expire. A kick must be remembered for longer.
	UserTokenLife time.Duration `range:"1m..7d"`
	// Limits are how often callers may call, by key and address; an IPv6 address counts by its /64.
	// They hold at every door.
	Limits limit.Limits
}

// Deps are what a [Gate] is given beside its settings.
type Deps struct {
	Keys *Keyring     // the apps and their keys
	Now  func() int64 // the time in Unix milliseconds
	Log  *slog.Logger // receives the errors that are the server's fault

	Proxies     []netip.Prefix // those whose X-Forwarded-For is trusted
	BodyTimeout time.Duration  // how long a body may take to arrive; zero is no limit
	// Callers holds callers to the limits; the doors of a server share it. Nil makes one.
	Callers *limit.Callers
	// Users verifies user tokens. Nil lets none in.
	Users *usertoken.Verifier
	// Bodies is the memory that bodies under way share, but for those of callers that showed a
	// secret key. Nil is without bound.
	Bodies *limit.Shared
	// Watchers and Watched are how many watchers there may be, and how many peers they may follow
	// altogether. Nil is without bound.
	Watchers, Watched *limit.Shared
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{Origins: []string{"*"}, Ask: Anyone, Present: Anyone, UserTokenLife: 24 * time.Hour, Limits: limit.DefaultLimits()}
}

// A Gate lets callers through to routes. All doors of the native API share one.
type Gate struct {
	cfg     Config
	deps    Deps
	Tickets *Tickets
	replays replays
	stats   gateCounters

	operator *http.CrossOriginProtection // nil: callers show keys
}

// NewGate returns a gate.
func NewGate(cfg Config, deps Deps) *Gate {
	if deps.Callers == nil {
		deps.Callers = limit.NewCallers(cfg.Limits)
	}
	g := &Gate{cfg: cfg, deps: deps, Tickets: NewTickets()}
	g.stats.codes = map[string]*atomic.Int64{}
	for _, c := range Codes {
		g.stats.codes[c.Code] = new(atomic.Int64)
	}
	return g
}

// Handle returns a handler for the routes of one path, one for each method.
func (g *Gate) Handle(routes ...Route) http.Handler {
	methods := make([]string, 0, len(routes)+2)
	for _, rt := range routes {
		methods = append(methods, rt.Method)
		if rt.Method == http.MethodGet && !rt.Stream {
			methods = append(methods, http.MethodHead)
		}
	}
	allow := strings.Join(append(methods, http.MethodOptions), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.cors(w, r, allow)
		if r.Method == http.MethodOptions {
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		for i := range routes {
			rt := &routes[i]
			if r.Method != rt.Method && (r.Method != http.MethodHead || rt.Method != http.MethodGet || rt.Stream) {
				continue
			}
			if err := g.serve(w, r, rt); err != nil {
				g.refuse(w, r, err)
			}
			return
		}
		w.Header().Set("Allow", allow)
		g.refuse(w, r, Errorf("method_not_allowed", "this call takes %s", allow))
	})
}

func (g *Gate) serve(w http.ResponseWriter, r *http.Request, rt *Route) error {
	c, err := g.Admit(r, rt)
	if err != nil {
		return err
	}
	if !rt.Inside {
		defer c.Release()
	}
	defer c.FreeBody()
	if g.operator != nil && c.App != nil {
		w.Header().Set(AppHeader, string(c.App.ID))
	}
	if r.URL.RawQuery != "" && !rt.Loose {
		known := append([]string{"app"}, rt.Query...)
		if rt.Ticket {
			known = append(known, "ticket")
		}
		if c.Query, err = Query(r.URL.RawQuery, known...); err != nil {
			return Errorf("invalid", "%v", err)
		}
	}
	if rt.Stream && r.Method == http.MethodGet {
		if err := skipBody(r); err != nil {
			return err
		}
	}
	return rt.Handler(w, r, c)
}

func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := err.(*Error)
	if !ok {
		e = Errorf("internal", "internal error")
		g.deps.Log.Error("call failed", "path", r.Pattern, "err", err, trace.Attr(r.Context()))
	}
	g.Count(e.Code)
	WriteError(w, e)
}

// Count counts a refusal by its code, for those who answer one past the gate: sockets, and the
// server below the doors.
func (g *Gate) Count(code string) {
	if n := g.stats.codes[code]; n != nil {
		n.Add(1)
	}
}

// Admit finds out who calls and whether it may.
func (g *Gate) Admit(r *http.Request, rt *Route) (*Caller, error) {
	if g.operator != nil {
		return g.admitOperator(r, rt)
	}
	c := &Caller{Address: limit.Address(r, g.deps.Proxies), gate: g}
	if rt.Need == NeedProof {
		return c, nil
	}
	if rt.Need == NeedAnyone || rt.Inside {
		class := limit.Anyone
		if rt.Stream {
			class = limit.Streams
		}
		return c, g.take(class, c, max(rt.Cost, 1))
	}
	if err := g.identify(r, rt, c); err != nil {
		return nil, err
	}
	if err := g.permit(c, rt.Need); err != nil {
		return nil, err
	}
	switch {
	case rt.Stream:
		if err := g.take(limit.Streams, c, 1); err != nil {
			c.Release()
			return nil, err
		}
		return c, nil
	case c.Rights.Has(Master) || c.Rights.Has(Hook):
		return c, g.take(limit.Serve, c, 1)
	}
	return c, g.take(limit.Ask, c, 1)
}

// permit answers whether c, identified or not, may do what need asks.
func (g *Gate) permit(c *Caller, need Need) error {
	ok := false
	switch need {
	case NeedAsker:
		ok = c.Rights.Has(Client) && (g.cfg.Ask != ByToken || c.vouched())
	case NeedReporter:
		ok = c.Rights.Has(Hook) || c.Master()
	case NeedMaster:
		ok = c.Master()
	}
	if ok {
		return nil
	}
	if err := g.Unproven(c); err != nil {
		return err
	}
	if c.Rights == None {
		return Errorf("unauthorized", "no key, signature, ticket or user token that is right was presented")
	}
	if need == NeedAsker && c.Rights.Has(Client) {
		return Errorf("forbidden", "this server takes user tokens (gate.ask); the app key is not enough")
	}
	return Errorf("forbidden", "this key may not do that; it takes the right of %s", need)
}

// Proven says that a caller of a call that needs a proof has proven to speak for app, and charges
// the call to it.
func (g *Gate) Proven(c *Caller, app presence.AppID) error {
	c.App, c.Rights = g.deps.Keys.Lookup(app), Hook
	return g.take(limit.Serve, c, 1)
}

// Unproven charges the address of a caller whose proof is missing or wrong, whatever app it names;
// the error says that it has come too often.
func (g *Gate) Unproven(c *Caller) error {
	return g.take(limit.Refused, &Caller{Address: c.Address, gate: g}, 1)
}

// identify fills in who calls. Keys go before a user token, which may stand beside an app key; an
// error says why the token lets no caller in.
func (g *Gate) identify(r *http.Request, rt *Route, c *Caller) error {
	p := FromRequest(r)
	if p.UserToken != "" {
		named, err := g.identifyNamed(r.Context(), c, &p)
		if named || err != nil {
			return err
		}
	} else {
		c.App, c.Rights = g.deps.Keys.Check(p)
	}
	if c.Rights == None {
		g.identifyKeyless(r, rt, c, &p)
	}
	return nil
}

// identifyKeyless fills in who calls that shows no key which is right for an app.
func (g *Gate) identifyKeyless(r *http.Request, rt *Route, c *Caller, p *Presented) {
	app := g.deps.Keys.Lookup(p.ID)
	if app == nil {
		app = &App{} // no secret is right for it
	}
	switch {
	case rt.Need == NeedReporter && rt.Raw && r.Header.Get(SignatureHeader) != "" && app.HookKey != "":
		c.App, c.Rights, c.Signed = app, Hook, true
	case rt.Ticket:
		c.App = app
		// A browser that connects again sends the spent ticket of its address and, in a header, the
		// renewal.
		if _, renewal, ok := strings.Cut(r.Header.Get("Last-Event-Id"), RenewalMark); ok {
			c.Pass = g.Tickets.Renew(app, renewal, g.deps.Now())
		}
		if c.Pass == nil {
			c.Pass, c.release = g.Tickets.Redeem(r.Context(), app, r.URL.Query().Get("ticket"), g.deps.Now())
		}
		g.admitPass(r.Context(), c)
	}
	if c.Rights == None {
		c.App = nil
		if g.showsHook(p) {
			c.App, c.Rights = app, Hook // so that the answer is "valid key, wrong call"
		}
	}
}

// Current returns the app of c as it is configured now, so that what c signs next is signed with
// its present key; the app as it was when c came, when it is configured no more.
func (g *Gate) Current(c *Caller) *App {
	if app := g.deps.Keys.Lookup(c.App.ID); app != nil {
		return app
	}
	return c.App
}

// Now returns the time by which tickets are judged, in Unix milliseconds.
func (g *Gate) Now() int64 { return g.deps.Now() }

// RenewalMark parts a token from the renewal behind it in an event id.
const RenewalMark = "."

// A Hello is what a socket presents inside: an app with its app key or master key, a user token, or
// a ticket.
type Hello struct {
	App                    presence.AppID
	Key, UserToken, Ticket string
}

// Login checks what a socket presents. A master key goes before a user token.
func (g *Gate) Login(ctx context.Context, c *Caller, h Hello) error {
	switch {
	case h.Ticket != "":
		if c.App = g.deps.Keys.Lookup(h.App); c.App != nil {
			c.Pass, c.release = g.Tickets.Redeem(ctx, c.App, h.Ticket, g.deps.Now())
			g.admitPass(ctx, c)
		}
	default:
		c.App, c.Rights = g.deps.Keys.Check(Presented{ID: h.App, Key: h.Key, Bearer: h.Key})
		if h.UserToken != "" && !c.Master() {
			if err := g.name(ctx, c, h.App, h.UserToken); err != nil {
				return err
			}
		}
	}
	return g.permit(c, NeedAsker)
}

// showsHook reports whether p holds the hook key of its app.
func (g *Gate) showsHook(p *Presented) bool {
	app := g.deps.Keys.Lookup(p.ID)
	return app != nil && (app.hasHook(p.Bearer) || app.hasHook(p.HookKey))
}

// hasHook reports whether key is a hook key of a.
func (a *App) hasHook(key string) bool {
	return equalSecret(a.HookKey, key) || equalSecret(a.Old.HookKey, key)
}

func equalSecret(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// OriginAllowed reports whether a page of origin may call. No origin at all is not a browser.
func (g *Gate) OriginAllowed(origin string) bool {
	if origin == "" {
		return true
	}
	for _, o := range g.cfg.Origins {
		if o == "*" || o == origin {
			return true
		}
	}
	return false
}

func (g *Gate) cors(w http.ResponseWriter, r *http.Request, allow string) {
	origin := r.Header.Get("Origin")
	if origin == "" || g.operator != nil || !g.OriginAllowed(origin) {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", origin) // never with credentials: there are no cookies
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, X-LC-Id, X-LC-Key, X-LC-Session, X-LC-Sign")
		h.Set("Access-Control-Max-Age", "86400")
	} else {
		h.Set("Access-Control-Expose-Headers", "Retry-After, Rollcall-Stale")
	}
}

// GateStats are the refusals since the start.
type GateStats struct {
	Limited int64
	Refused map[string]int64 // by code
}

type gateCounters struct {
	codes map[string]*atomic.Int64
}

// Stats returns the refusals of g.
func (g *Gate) Stats() GateStats {
	st := GateStats{Limited: g.deps.Callers.Limited(), Refused: map[string]int64{}}
	for code, n := range g.stats.codes {
		st.Refused[code] = n.Load()
	}
	return st
}
