package usertoken

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// Why a token lets no caller in. The errors of [Verifier.Verify] match one of them.
var (
	// ErrInvalid: it is none, or not by a key of the app, or a claim breaks a rule.
	ErrInvalid = errors.New("the user token is not valid")
	// ErrEnded: it was right, and has expired or is from before a kick. Another one may be.
	ErrEnded = errors.New("the user token has ended")
	// ErrKeys: the keys that would prove it cannot be fetched.
	ErrKeys = errors.New("the keys for user tokens cannot be fetched")
)

// Skew is how far the clock of an issuer may be from ours.
const Skew = 60 * time.Second

// maxText is the longest token, in bytes.
const maxText = 4 << 10

// A Token is what a token says that was right.
type Token struct {
	Peer    presence.PeerID
	Issued  presence.Millis // without iat 1, which any kick is after
	Expires presence.Millis
	// Old says that the old secret proved it, just now.
	Old bool
}

// Likely reports whether text may be a token: three parts with dots between.
func Likely(text string) bool { return strings.Count(text, ".") == 2 && len(text) > 2 }

// Deps are what a [Verifier] is given.
type Deps struct {
	Life time.Duration // how far ahead exp may lie
	Now  func() int64  // the time in Unix milliseconds
	Log  *slog.Logger
	// Kicked returns when a peer was kicked last, zero when never; nil: there are no kicks.
	Kicked func(ctx context.Context, key presence.Key) (presence.Millis, error)
	// HTTP fetches keys; nil is a client of its own. Redirects are never followed.
	HTTP *http.Client
}

// A Verifier verifies the tokens of all apps.
type Verifier struct {
	deps   Deps
	parser *jwt.Parser
	client *http.Client
	cache  cache

	ctx     context.Context // ends with the verifier
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	mu      sync.Mutex
	remotes map[[2]string]*remote // by URL and algorithm
}

// New returns a verifier. End it with [Verifier.Close].
func New(deps Deps) *Verifier {
	v := &Verifier{deps: deps, remotes: map[[2]string]*remote{}}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.parser = jwt.NewParser(
		jwt.WithValidMethods(append([]string{"HS256"}, Algorithms...)), jwt.WithLeeway(Skew), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(func() time.Time { return time.UnixMilli(deps.Now()) }),
	)
	client := http.Client{}
	if deps.HTTP != nil {
		client = *deps.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	v.client = &client
	return v
}

// Close ends fetches under way.
func (v *Verifier) Close() {
	v.cancel()
	v.fetches.Wait()
	v.client.CloseIdleConnections()
}

// Verify returns what text says, a token of app by keys. keys are compared by their address: others
// prove anew. ctx bounds the wait for keys that must be fetched, and for the kicks.
//
// The error matches [ErrInvalid], [ErrEnded] or [ErrKeys].
func (v *Verifier) Verify(ctx context.Context, app presence.AppID, keys *Keys, text string) (Token, error) {
	if keys.None() || len(text) > maxText || !Likely(text) {
		return Token{}, ErrInvalid
	}
	now := v.deps.Now()
	hash := hashOf(app, text)
	p := v.cache.get(hash, keys, now)
	first := p == nil
	if first {
		token, err := v.prove(ctx, app, keys, text)
		if err != nil {
			return Token{}, err
		}
		until := min(now+cacheLife.Milliseconds(), int64(token.Expires)+Skew.Milliseconds())
		p = &proven{token: token, keys: keys, until: until}
	}
	if v.kicked(ctx, app, p, now) {
		return Token{}, fmt.Errorf("%w: its peer was kicked since", ErrEnded)
	}
	token := p.token
	if first {
		p.token.Old = false
		v.cache.put(hash, p, now)
	}
	return token, nil
}

// kickAge is how long a look at the kicks of a peer stands.
const kickAge = 5 * time.Second

// kicked reports whether the peer of p was kicked after p was made, as of a moment ago. A store
// that does not answer keeps no caller from asking: what makes a peer present asks by itself.
func (v *Verifier) kicked(ctx context.Context, app presence.AppID, p *proven, now int64) bool {
	looked := p.looked.Load()
	if v.deps.Kicked == nil || now >= looked && now-looked < kickAge.Milliseconds() {
		return false
	}
	at, err := v.deps.Kicked(ctx, presence.Key{App: app, Peer: p.token.Peer})
	if err != nil {
		return false
	}
	if at >= p.token.Issued {
		return true
	}
	p.looked.Store(now)
	return false
}

// Kicked reports whether the peer of key was kicked since a token of it was issued. A store that
// does not answer is no kick.
func (v *Verifier) Kicked(ctx context.Context, key presence.Key, issued presence.Millis) bool {
	if v.deps.Kicked == nil {
		return false
	}
	at, err := v.deps.Kicked(ctx, key)
	return err == nil && at >= issued
}

// prove verifies text without the cache.
func (v *Verifier) prove(ctx context.Context, app presence.AppID, keys *Keys, text string) (Token, error) {
	token, err := v.parse(ctx, app, keys, keys.Secret, text)
	if keys.OldSecret != "" && errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		token, err = v.parse(ctx, app, keys, keys.OldSecret, text)
		token.Old = true
	}
	switch {
	case err == nil:
		return token, nil
	case errors.Is(err, ErrKeys), errors.Is(err, ErrInvalid):
		return Token{}, err
	case errors.Is(err, jwt.ErrTokenExpired):
		return Token{}, fmt.Errorf("%w: it has expired", ErrEnded)
	}
	return Token{}, fmt.Errorf("%w: %w", ErrInvalid, err)
}

// claims are those that count. They are read as numbers: reading the library's own costs as much
// again as the HMAC.
type claims struct {
	Subject  string
	Audience audience
	Expires  *float64
	Before   *float64
	Issued   *float64
	Reserved bool
}

// UnmarshalJSON implements json.Unmarshaler. The case of names counts, as RFC 7519 has it, which
// encoding/json disregards: an issuer may let its users choose claims, and EXP is not exp.
func (c *claims) UnmarshalJSON(b []byte) error {
	var wrong error
	if plainjson.Flat(b, func(name, value []byte) { wrong = cmp.Or(wrong, c.take(name, value)) }) {
		return wrong
	}
	*c = claims{}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for name, value := range all {
		if err := c.take([]byte(name), value); err != nil {
			return err
		}
	}
	return nil
}

// take takes the claim called name. value is JSON.
func (c *claims) take(name, value []byte) (err error) {
	switch string(name) {
	case "sub":
		err = json.Unmarshal(value, &c.Subject)
	case "aud":
		err = json.Unmarshal(value, &c.Audience)
	case "exp":
		c.Expires, err = number(value)
	case "nbf":
		c.Before, err = number(value)
	case "iat":
		c.Issued, err = number(value)
	case "rollcall":
		c.Reserved = true
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// number returns the number that value, which is JSON, holds; nil for null.
func number(value []byte) (*float64, error) {
	if string(value) == "null" {
		return nil, nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	return &f, err
}

// An audience is a text or a list of texts.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = audience{""}
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func dateOf(seconds *float64) (*jwt.NumericDate, error) {
	switch {
	case seconds == nil:
		return nil, nil
	case *seconds < 0 || *seconds > maxSeconds:
		return nil, fmt.Errorf("%w: a time is no time", ErrInvalid)
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(*seconds * 1000))}, nil
}

// maxSeconds is in the year 9999.
const maxSeconds = 253_402_300_799

// GetExpirationTime implements jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return dateOf(c.Expires) }

// GetNotBefore implements jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return dateOf(c.Before) }

// GetIssuedAt implements jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return dateOf(c.Issued) }

// GetAudience implements jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return jwt.ClaimStrings(c.Audience), nil }

// GetIssuer implements jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return "", nil }

// GetSubject implements jwt.Claims.
func (c *claims) GetSubject() (string, error) { return c.Subject, nil }

func (v *Verifier) parse(ctx context.Context, app presence.AppID, keys *Keys, secret, text string) (Token, error) {
	var c claims
	var broken error
	_, err := v.parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		key, err := v.keyOf(ctx, keys, secret, t)
		broken = err
		return key, err
	})
	switch {
	case broken != nil:
		return Token{}, broken
	case err != nil:
		return Token{}, err
	case c.Reserved:
		return Token{}, fmt.Errorf("%w: the claim rollcall is reserved", ErrInvalid)
	case len(c.Audience) > 0 && !slices.Contains(c.Audience, string(app)):
		return Token{}, fmt.Errorf("%w: aud does not name this app", ErrInvalid)
	case millis(c.Expires) > presence.Millis(v.deps.Now()).Add(v.deps.Life+Skew):
		return Token{}, fmt.Errorf("%w: exp lies more than %v ahead", ErrInvalid, v.deps.Life)
	}
	if err := presence.CheckPeer(presence.PeerID(c.Subject)); err != nil {
		return Token{}, fmt.Errorf("%w: sub: %w", ErrInvalid, err)
	}
	token := Token{Peer: presence.PeerID(strings.Clone(c.Subject)), Issued: 1, Expires: millis(c.Expires)}
	if c.Issued != nil {
		token.Issued = max(millis(c.Issued), 1)
	}
	return token, nil
}

func millis(seconds *float64) presence.Millis { return presence.Millis(*seconds * 1000) }

// keyOf returns what proves t: a key that the settings of the app tie to the algorithm which t
// names.
func (v *Verifier) keyOf(ctx context.Context, keys *Keys, secret string, t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, fmt.Errorf("%w: the header crit is not understood", ErrInvalid)
	}
	algorithm := t.Method.Alg()
	if algorithm == "HS256" {
		if secret == "" {
			return nil, fmt.Errorf("%w: the app has no token_secret", ErrInvalid)
		}
		return []byte(secret), nil
	}
	var set jwt.VerificationKeySet
	for _, k := range keys.Public {
		if k.Algorithm == algorithm {
			set.Keys = append(set.Keys, k.Key)
		}
	}
	if len(set.Keys) > 0 && (keys.URL == "" || keys.Algorithm != algorithm) {
		return set, nil
	}
	if keys.URL == "" || keys.Algorithm != algorithm {
		return nil, fmt.Errorf("%w: the app has no key for %s", ErrInvalid, algorithm)
	}
	id, ok := t.Header["kid"].(string)
	if !ok && t.Header["kid"] != nil {
		return nil, fmt.Errorf("%w: kid is not a text", ErrInvalid)
	}
	key, err := v.remote(keys).find(ctx, v, id)
	switch {
	case err == nil:
		set.Keys = append(set.Keys, key)
	case len(set.Keys) == 0:
		return nil, err
	}
	return set, nil
}

// remote returns the keys at the URL of keys.
func (v *Verifier) remote(keys *Keys) *remote {
	name := [2]string{keys.URL, keys.Algorithm}
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.remotes[name]
	if r == nil {
		r = &remote{url: keys.URL, algorithm: keys.Algorithm}
		v.remotes[name] = r
	}
	return r
}

// Make returns a token of peer for app by the secret of HS256, good from now until now+life.
func Make(secret string, app presence.AppID, peer presence.PeerID, now time.Time, life time.Duration) (string, error) {
	if err := presence.CheckPeer(peer); err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: string(peer), Audience: jwt.ClaimStrings{string(app)}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}).SignedString([]byte(secret))
}
