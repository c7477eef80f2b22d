package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/changes"
	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/edge/hookout"
	"rollcall/edge/leancloud"
	"rollcall/edge/rest"
	"rollcall/edge/sse"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/redisstore"
	"rollcall/watch"
)

// Config is everything that can be set. Start from [Default]; the zero value is not useful.
type Config struct {
	// Listen is the address of the app listener: what apps, IM servers and gateways reach. ":3000"
	// is port 3000 on every address of this machine; port 0 takes any free port.
	Listen string
	// ListenTLS is the address of the app listener for https and wss, beside listen, with the
	// certificate of tls. Unset, a proxy terminates TLS, or nothing does.
	ListenTLS string `config:"listen_tls"`
	// Admin is the address of the operator listener (health, metrics, status, and /v1 for every
	// app). It asks for no key, and a caller may report and erase, so keep it on loopback or on a
	// network of your own.
	Admin string
	// AdminHosts are further names by which the operator listener may be asked for, such as that of
	// a container. Its addresses and localhost always may; any other name could be one that a page
	// of the web points here.
	AdminHosts []string
	// Data is the directory that holds the keys and, with the embedded store, all state. Empty
	// keeps everything in memory: a restart forgets it.
	Data string
	// Store is the address of a Redis that keeps the state for several nodes, instead of the data
	// directory: redis://[user:password@]host[:6379][/db], rediss:// for TLS, several host:port
	// with commas for a Cluster, or redis+sentinel://host[:26379],…/master. Unset, the only
	// REDIS_URL_<name> of LeanEngine's environment is taken. A REDIS_URL_<name> may be written in
	// place of the address.
	Store Secret `config:",secret"`
	// Proxies are the addresses or networks (10.0.0.0/8) of the proxies in front. Their
	// X-Forwarded-For names the caller, from the right, to every limit, log line and error text;
	// their X-Forwarded-Host and X-Forwarded-Proto count for /v1/route. All callers behind any
	// other proxy have its address.
	Proxies []netip.Prefix `was:"gate.proxies,leancloud.trusted_proxies"`
	// Record is a directory that gets the last 1,000 calls of each of the sources whose origin was
	// proven, a file each for "rollcall ingest check": what proves them, passwords and the
	// addresses of machines are struck out, the ids of peers are not. Unset, none are kept.
	Record string
	// Profiling opens /debug/pprof/ on the operator listener.
	Profiling bool
	// Sweep is how often leases that have run out are looked for. A lease ends at most this late.
	Sweep time.Duration `range:"50ms..1s"`

	HTTP      HTTP
	TLS       TLS `config:"tls"`
	Log       Log
	Presence  presence.Config
	Embedded  embedded.Config
	Redis     redisstore.Config
	LeanCloud leancloud.Config `config:"leancloud"`
	Gateway   gateway.Config
	RTM       rtm.Config     `config:"rtm"`
	Hooks     hookout.Config `config:"hooks"`

	Watch watch.Config
	Feed  changes.Config
	REST  rest.Config
	SSE   sse.Config
	Gate  api.Config

	// Apps are the tenants, each with its own keys. When none is written here nor in the
	// environment, an app with fresh keys is made at the first start and kept in the data
	// directory.
	Apps []App `config:",live"`
	// Sources are the IM products that report by webhooks.
	Sources []Source `config:",live"`
	// Changes are the servers that what changes in an app is posted to.
	Changes []Receiver `config:",live"`
}

// HTTP are the limits of both listeners.
type HTTP struct {
	// HeaderTimeout is how long a client may take to send the head of a request.
	HeaderTimeout time.Duration `range:"1s..1m"`
	// BodyTimeout is how long a client may take to send a whole request, from its first byte.
	BodyTimeout time.Duration `range:"1s..5m"`
	// AnswerTimeout is how long an answer may take from the end of the request's head until the
	// client has read it. Streams lift it when they begin.
	AnswerTimeout time.Duration `range:"1s..1h"`
	// IdleTimeout is how long a connection may wait for its next request.
	IdleTimeout time.Duration `range:"1s..1h"`
	// MaxConnections is how many connections the app listener has open, sockets and streams among
	// them. When there are as many, the one that has been idle longest makes room; one address that
	// is no proxy has at most half of what the others leave. 0 takes nine tenths of the descriptors
	// that this process may have.
	MaxConnections int `range:"0.."`
	// BodyMemory is the memory that bodies under way may take altogether, but for those of callers
	// that show a secret key. One address has at most half of what the others leave.
	BodyMemory int `config:",bytes" range:"4MiB.."`
	// MaxHeader is the largest head of a request.
	MaxHeader int `config:",bytes" range:"4KiB..1MiB"`
	// StopTimeout is how long requests under way may take when the server stops.
	StopTimeout time.Duration `range:"0s..1m"`
}

// Log says how the log is written. It goes to standard error.
type Log struct {
	// Format is text or json.
	Format string `range:"text,json"`
	// Level is the least level that is written: debug, info, warn or error.
	Level string `config:",live" range:"debug,info,warn,error"`
	// Peers is how what names a person is written, the ids of peers and of their sessions: plain,
	// hash (the first 12 hexadecimal digits of the SHA-256 of an id; an id that can be guessed can
	// be tested against it) or off, which leaves it out. Addresses are those of proxies and of
	// Redis, and at the level debug those of clients whose requests were broken.
	Peers string `range:"plain,hash,off"`
}

// An App is a tenant: peers of two apps never meet. A key that is left out shuts the door it would
// open.
type App struct {
	// ID is what clients send as X-LC-Id: 1 to 128 ASCII letters, digits, "-", "_" and ".".
	ID string
	// AppKey lets apps ask. It is inside every copy of the app, so it is no secret against users.
	AppKey Secret `config:",secret"`
	// MasterKey lets the app's servers do everything.
	MasterKey Secret `config:",secret"`
	// HookKey lets the IM service report.
	HookKey Secret `config:",secret"`
	// AndroidKey signs the requests of Android apps built with safe initialisation.
	AndroidKey Secret `config:",secret"`
	// AppKeyOld is right beside app_key while that is being replaced. Of the two, app_key is the
	// one that the server signs with and sends.
	AppKeyOld Secret `config:",secret"`
	// MasterKeyOld is right beside master_key while that is being replaced.
	MasterKeyOld Secret `config:",secret"`
	// HookKeyOld is right beside hook_key while that is being replaced.
	HookKeyOld Secret `config:",secret"`
	// AndroidKeyOld is right beside android_key while that is being replaced.
	AndroidKeyOld Secret `config:",secret"`
	// TokenSecret signs user tokens with HS256: by such a token, which the app's backend makes, a
	// caller is one peer. At least 32 bytes, none of the keys. docs/user-tokens.md.
	TokenSecret Secret `config:",secret"`
	// TokenSecretOld is right beside token_secret while that is being replaced.
	TokenSecretOld Secret `config:",secret"`
	// TokenKey has the public keys, as PEM, that verify user tokens: RSA keys those of RS256, P-256
	// keys those of ES256, Ed25519 keys those of EdDSA.
	TokenKey string
	// TokenJWKS is the https:// address of a JSON Web Key Set that verifies user tokens of
	// token_algorithm.
	TokenJWKS string `config:"token_jwks"`
	// TokenAlgorithm is the algorithm of token_jwks: RS256, ES256 or EdDSA.
	TokenAlgorithm string
}

// MinSecret is the fewest bytes that a key may have, MinTokenSecret those of a token_secret.
const (
	MinSecret      = 16
	MinTokenSecret = 32
)

// Default returns the defaults.
func Default() Config {
	return Config{
		Listen: ":3000",
		Admin:  "127.0.0.1:3001",
		Data:   "rollcall-data",
		Sweep:  500 * time.Millisecond,
		HTTP: HTTP{
			HeaderTimeout: 5 * time.Second,
			BodyTimeout:   10 * time.Second,
			AnswerTimeout: 30 * time.Second,
			IdleTimeout:   60 * time.Second,
			BodyMemory:    64 << 20,
			MaxHeader:     16 << 10,
			StopTimeout:   1500 * time.Millisecond,
		},
		TLS:      defaultTLS(),
		Log:      Log{Format: "text", Level: "info", Peers: "plain"},
		Presence: presence.DefaultConfig(),
		Embedded: embedded.DefaultConfig(),
		Redis:    redisstore.DefaultConfig(),

		LeanCloud: leancloud.DefaultConfig(),
		Gateway:   gateway.DefaultConfig(),
		RTM:       rtm.DefaultConfig(),
		Hooks:     hookout.DefaultConfig(),

		Watch: watch.DefaultConfig(),
		Feed:  changes.DefaultConfig(),
		REST:  rest.DefaultConfig(),
		SSE:   sse.DefaultConfig(),
		Gate:  api.DefaultConfig(),
	}
}

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	var f configload.Faults
	f.Add(address("listen", c.Listen))
	f.Add(address("admin", c.Admin))
	f.Add(c.TLS.validate(c))
	f.Add(c.checkStore())
	f.When(c.RTM.TokenLife > c.Gateway.Kicked || c.RTM.SignatureLife > c.Gateway.Kicked,
		"gateway.kicked is shorter than rtm.token_life or rtm.signature_life; a kick must outlive them")
	f.When(c.Gate.UserTokenLife+2*usertoken.Skew > c.Gateway.Kicked, "gateway.kicked is shorter than gate.user_token_life and two minutes; a kick must outlive user tokens")
	f.When(c.HTTP.AnswerTimeout < c.HTTP.BodyTimeout, "http.answer_timeout is shorter than http.body_timeout, which it covers")
	f.When(c.HTTP.HeaderTimeout > c.HTTP.BodyTimeout, "http.header_timeout is longer than http.body_timeout, which covers it")
	f.When(c.Listen == c.Admin && !strings.HasSuffix(c.Listen, ":0"), "admin is the same address as listen; the operator listener needs one of its own")
	return f.Err()
}

// Validate returns every mistake in a, joined; each begins with the key of its setting.
func (a *App) Validate() error {
	var f configload.Faults
	f.When(a.ID == "", "id is missing; it is what clients send as X-LC-Id")
	if err := presence.CheckApp(presence.AppID(a.ID)); a.ID != "" && err != nil {
		f.Add(fmt.Errorf("id is %.80q: %w", a.ID, err))
	}
	keys := a.keys()
	for i, k := range keys {
		if *k.value == "" {
			continue
		}
		least := MinSecret
		if strings.HasPrefix(k.setting, tokenSecret) {
			least = MinTokenSecret
		}
		f.When(len(*k.value) < least, "%s has %d bytes; a key has at least %d", k.setting, len(*k.value), least)
		f.When(strings.ContainsAny(k.value.Reveal(), " \t\r\n,"), "%s has a space or a comma in it, which no header can carry", k.setting)
		kind, old := strings.CutSuffix(k.setting, leancloud.OldSetting)
		f.When(old && *a.key(kind) == "", "%s is set and %s is not; the only key goes into %s", k.setting, kind, kind)
		for _, other := range keys[:i] {
			f.When(*other.value == *k.value, "%s is the same as %s; a caller with one would have the rights of both", k.setting, other.setting)
		}
	}
	a.validateTokens(&f)
	return f.Err()
}

// tokenSecret is the setting of the secret of user tokens.
const tokenSecret = "token_secret"

// validateTokens adds what is wrong with the public keys of user tokens.
func (a *App) validateTokens(f *configload.Faults) {
	if a.TokenKey != "" {
		if _, err := usertoken.ParsePEM(a.TokenKey); err != nil {
			f.Add(fmt.Errorf("token_key is not a list of public keys as PEM: %w", err))
		}
	}
	if a.TokenJWKS != "" {
		if err := usertoken.CheckURL(a.TokenJWKS); err != nil {
			f.Add(fmt.Errorf("token_jwks is %.200q: %w", a.TokenJWKS, err))
		}
		f.When(!slices.Contains(usertoken.Algorithms, a.TokenAlgorithm), "token_algorithm is %.40q; with token_jwks it is RS256, ES256 or EdDSA", a.TokenAlgorithm)
	}
	f.When(a.TokenJWKS == "" && a.TokenAlgorithm != "", "token_algorithm is set and token_jwks is not; a key in token_key has the algorithm of its kind")
}

// Present returns who may be present on a socket, as gate.present has it, or rtm.signatures, its
// older name.
func (c *Config) Present() string {
	if c.RTM.Signatures {
		return api.ByToken
	}
	return c.Gate.Present
}

// PresentByToken reports whether a peer must be proven to be present.
func (c *Config) PresentByToken() bool { return c.Present() == api.ByToken }

// checkStore returns what is wrong with the address of the store, or with the files for TLS to it.
func (c *Config) checkStore() error {
	if c.Store == "" {
		return nil
	}
	err := c.Redis.CheckURL(c.Store.Reveal())
	if errors.Is(err, redisstore.ErrURL) {
		return fmt.Errorf("store is %w", err)
	}
	return err
}

func address(key, value string) error {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		if _, numeric := strconv.Atoi(value); numeric == nil {
			return fmt.Errorf("%s is %q; did you mean %q?", key, value, ":"+value)
		}
		return fmt.Errorf("%s is %.60q, not an address such as :3000 or 127.0.0.1:3000", key, value)
	}
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > 65535 {
		return fmt.Errorf("%s is %.60q; a port is a number from 0 to 65535", key, value)
	}
	return nil
}
