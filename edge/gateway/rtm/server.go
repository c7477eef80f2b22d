package rtm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/configload"
	"rollcall/internal/limit"
	"rollcall/internal/lograte"
)

// Config are the settings of a [Server].
type Config struct {
	// TokenLife is how long a session token lets its client come back without a signature.
	TokenLife time.Duration `range:"1m..30d"`
	// Signatures is gate.present: token by its older name.
	Signatures bool
	// SignatureLife is how long a signature is good, on either side of its time. A kick ends it.
	SignatureLife time.Duration `range:"1m..30d"`
	// Anonymous lets a client log in without an id; it is given one.
	Anonymous bool
	// QueryIDs is how many ids of one query are looked at; the rest is ignored, as LeanCloud does.
	QueryIDs int `range:"1..10000"`
	// PublicURL is where clients reach this server's WebSocket, as "wss://im.example.com/rtm";
	// empty is derived from the request for the route.
	PublicURL string
	// RouteTTL is how long clients may keep a route.
	RouteTTL time.Duration `range:"1s..7d"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{TokenLife: 48 * time.Hour, SignatureLife: 6 * time.Hour, Anonymous: true, QueryIDs: 20, RouteTTL: time.Hour}
}

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	var f configload.Faults
	f.When(c.PublicURL != "" && !validPublic(c.PublicURL), "public_url is %.80q, not a ws:// or wss:// URL without a query", c.PublicURL)
	return f.Err()
}

// Path is where the WebSocket is, unless the public URL says otherwise.
const Path = "/rtm"

// Deps are what a [Server] is given beside its settings.
type Deps struct {
	Gateway *gateway.Gateway
	Keys    *api.Keyring // of the apps
	// Users verifies user tokens. Nil lets none in.
	Users *usertoken.Verifier
	// Proof has a login need a signature, a user token, or a session token that was given for one.
	Proof bool
	// AskByToken has a query need such a login.
	AskByToken bool
	// Callers holds the queries of clients and logins with an app that is none to the rates of
	// every door. Nil is no rate.
	Callers *limit.Callers
	// Proxies are those whose X-Forwarded-Host and X-Forwarded-Proto count for the route.
	Proxies []netip.Prefix
}

// A Server is the realtime dialect over one gateway.
type Server struct {
	Deps
	cfg    Config
	random [32]byte     // signs the tokens of apps that have no master key
	faulty lograte.Line // socket command failed
}

// New returns a server.
func New(cfg Config, deps Deps) (*Server, error) {
	err := configload.Validate(&cfg)
	if kicked := deps.Gateway.Config().Kicked; cfg.TokenLife > kicked || cfg.SignatureLife > kicked {
		err = errors.Join(err, fmt.Errorf("tokens or signatures live longer than a kick is remembered, %v", kicked))
	}
	if err != nil {
		return nil, fmt.Errorf("rtm settings: %w", err)
	}
	s := &Server{cfg: cfg, Deps: deps}
	_, _ = rand.Read(s.random[:]) // never fails
	return s, nil
}

// Wants reports whether r asks for a WebSocket of this wire, whatever its path: clients may be
// given the bare address of a server.
func Wants(r *http.Request) bool {
	if !frame.Asked(r) {
		return false
	}
	for _, p := range frame.Offered(r) {
		if strings.HasPrefix(p, "lc.") {
			return true
		}
	}
	return strings.HasPrefix(r.URL.Query().Get("subprotocol"), "lc.")
}

// ServeHTTP makes a connection of r.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, name, ok := choose(r)
	if !ok {
		s.Gateway.Refuse(gateway.RefusedHandshake)
		http.Error(w, "none of the subprotocols of this server is offered", http.StatusBadRequest)
		return
	}
	s.Gateway.Upgrade(w, r, s.upgrade(f, name))
}

// Upgrade returns how the gateway serves a connection of subprotocol, which must be one that is
// spoken.
func (s *Server) Upgrade(subprotocol string) gateway.Upgrade {
	return s.upgrade(subprotocols[subprotocol], subprotocol)
}

func (s *Server) upgrade(f format, name string) gateway.Upgrade {
	return gateway.Upgrade{
		Handler: &wire{srv: s, format: f}, Subprotocol: name, Text: f != formatProto, AdmitForeign: true, TooBig: closeTooLong,
	}
}

// The close codes of this wire that are not RFC 6455's.
const (
	closeTooLong     = 4109
	closeUnparseable = 4114
)

// choose returns the first subprotocol offered that is spoken. Some old clients put it in the
// address.
func choose(r *http.Request) (f format, name string, ok bool) {
	for _, p := range frame.Offered(r) {
		if f, ok := subprotocols[p]; ok {
			return f, p, true
		}
	}
	f, ok = subprotocols[r.URL.Query().Get("subprotocol")]
	return f, "", ok
}
