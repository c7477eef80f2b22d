package webhook

import (
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"rollcall/intake"
	"rollcall/presence"
)

// A Kind reads and answers the webhooks of one IM product. Its methods are called by many
// goroutines at once.
type Kind interface {
	// Name is what a source names as its kind, in lower case.
	Name() string
	// Defaults returns the lease and the hold of a source that sets none.
	Defaults() Defaults
	// Check returns what is wrong with the settings of a source beyond their ranges, or nil; each
	// begins with the name of the setting.
	Check(*Source) error
	// Verify returns nil when c comes from the product, by its bytes alone; an error matching
	// [ErrUnproven] or [ErrExpired] otherwise.
	Verify(*Call) error
	// Sign gives r the proof of the present secret of s at a time, as the product does, in place of
	// one that it has. An error says that r cannot be a call of the product.
	Sign(r *Request, s *Source, at presence.Millis) error
	// Read adds the events of c, which is verified, to b. What it does not know is ignored, never
	// an error; an error says that the body is none of the product, and matches [ErrShape].
	Read(c *Call, b *Batch) error
	// Reply returns the answer that the product expects.
	Reply(*Call, Outcome) Reply
}

// An AppNamer is a kind whose calls name the app at the product.
type AppNamer interface {
	// OfApp reports whether c, which has an AppID, is of that app.
	OfApp(c *Call) bool
}

// A Maker is a kind that is made anew for each source, of the settings that only it has: Map and
// Sign.
type Maker interface {
	Kind
	// Make returns the kind of s, or what [Kind.Check] returns.
	Make(s *Source) (Kind, error)
}

// Defaults are those of a kind.
type Defaults struct {
	Lease, Hold time.Duration
	// Open says that the proof of origin does not cover the body, or that there is none but a
	// secret that every call shows: such calls are taken over TLS, or from allowed networks.
	Open bool
	// ProofInBody says that Verify looks at the body; else it is read only once Verify is content.
	ProofInBody bool
	// Many says that a call may carry many events, so that its body may be large.
	Many bool
	// Elsewhere names the paths of another door to which the product reports: a source of the kind
	// has no webhook, and can only be asked.
	Elsewhere string
}

// The reasons for which a call is refused.
var (
	// ErrUnproven: the signature or secret is missing or wrong.
	ErrUnproven = errors.New("the signature or secret is missing or wrong")
	// ErrExpired: the proof is right and too old, or from the future.
	ErrExpired = errors.New("the time of the signature is too far from now")
	// ErrShape: the body is not what the product sends.
	ErrShape = errors.New("the body is not what this product sends")
	// ErrBusy: the call may be right, and could not be read in time.
	ErrBusy = errors.New("the call was not read in time")
)

// A Source is one sender: an IM product of an app.
type Source struct {
	App  presence.AppID
	ID   presence.Source // names it in paths, and as the source of its reports
	Kind Kind

	// Secret proves calls, and SecretOld beside it while it is replaced. Empty: the kind needs
	// none, and calls are taken from allowed networks only.
	Secret, SecretOld string
	// AppID is the id of the app at the product, for kinds that name it in every call.
	AppID string
	// Map is the program by which a kind without a format of its own reads calls, and Sign how they
	// are signed.
	Map  string
	Sign Sign
	// User says which field is the peer, for kinds with a choice.
	User  string
	Lease time.Duration
	Hold  time.Duration
	// Policy says how events without a session and a time are counted.
	Policy presence.Policy
	Allow  []netip.Prefix // networks that calls may come from; none: all
	// Insecure takes calls whose body is not signed over plain HTTP, from any network.
	Insecure bool
	// Reconcile is how the product is asked; it is zero for one that is not.
	Reconcile Reconcile

	counts *counts // set by the door
}

// Sign says how a sender signs a body: with an HMAC by Hash (sha256 when empty) in Header, behind
// Prefix. Without a header it shows the secret instead.
type Sign struct{ Header, Hash, Prefix string }

// Sender returns how the events of s are read.
func (s *Source) Sender() intake.Sender {
	return intake.Sender{App: s.App, Source: s.ID, Hold: s.Hold, Lease: s.Lease, Policy: s.Policy}
}

// Secrets returns the secrets that are right, the present one first.
func (s *Source) Secrets() []string {
	switch {
	case s.Secret == "":
		return nil
	case s.SecretOld == "":
		return []string{s.Secret}
	}
	return []string{s.Secret, s.SecretOld}
}

// Verify has the kind prove the origin of c, and compares the app that c names. A source without a
// secret is proven by its network, which the door looks at.
func (s *Source) Verify(c *Call) error {
	if s.Secret != "" {
		if err := s.Kind.Verify(c); err != nil {
			return err
		}
	}
	if named, ok := s.Kind.(AppNamer); ok && s.AppID != "" && !named.OfApp(c) {
		return ErrUnproven
	}
	return nil
}

// needsBody reports whether Verify looks at the body.
func (s *Source) needsBody() bool {
	return s.Kind.Defaults().ProofInBody && (s.Secret != "" || s.AppID != "")
}

// Proven reports whether ok holds for one of the secrets. It tries all of them either way.
func (s *Source) Proven(ok func(secret string) bool) bool {
	proven := false
	for _, secret := range s.Secrets() {
		if ok(secret) {
			proven = true
		}
	}
	return proven
}

// A Call is one request of a product.
type Call struct {
	Source *Source
	Method string
	// Rest is the path below the source, without its first slash: some products append what the
	// call is about, and those that sign nothing have a secret there.
	Rest   string
	Target string // the path with its query, as it was sent
	Query  url.Values
	Header http.Header
	Body   []byte // the raw bytes, which signatures are over
	Now    presence.Millis
	// Parsed is for what Verify has read of the body where the proof is inside, so that Read need
	// not do it again.
	Parsed any
}

// Bearer returns nil when c shows the secret as "Authorization: Bearer SECRET".
func (c *Call) Bearer() error {
	got, ok := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ErrUnproven
	}
	return c.Shown(got)
}

// PathSecret returns nil when the first part of the path below the source is the secret, for
// products that can show it nowhere else.
func (c *Call) PathSecret() error {
	got, _, _ := strings.Cut(c.Rest, "/")
	return c.Shown(got)
}

// Command returns the last part of the path below the source.
func (c *Call) Command() string { return c.Rest[strings.LastIndex(c.Rest, "/")+1:] }

// Shown returns nil when got is one of the secrets.
func (c *Call) Shown(got string) error {
	if !c.Source.Proven(func(secret string) bool { return subtle.ConstantTimeCompare([]byte(secret), []byte(got)) == 1 }) {
		return ErrUnproven
	}
	return nil
}

// Hex returns nil when got is, for one of the secrets, sum of it in hexadecimal.
func (c *Call) Hex(got string, sum func(secret string) []byte) error {
	b, err := hex.DecodeString(got)
	if err != nil || !c.Source.Proven(func(secret string) bool { return subtle.ConstantTimeCompare(b, sum(secret)) == 1 }) {
		return ErrUnproven
	}
	return nil
}

// Near returns nil when t, in Unix milliseconds, is within window of the receipt of c, and
// [ErrExpired] otherwise.
func (c *Call) Near(t int64, window time.Duration) error {
	if away := int64(c.Now) - t; away > window.Milliseconds() || -away > window.Milliseconds() {
		return ErrExpired
	}
	return nil
}

// Decode reads the body as JSON into v. Members that v does not have are let be, and one of another
// type than v's is as if it were missing. The error matches [ErrShape].
func (c *Call) Decode(v any) error { return decode(c.Body, v) }

func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) && t.Field != "" {
		return nil // all other members have been read
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	return nil
}

// Shape returns an error that matches [ErrShape].
func Shape(what string) error { return fmt.Errorf("%w: %s", ErrShape, what) }

// A Batch takes the events of one call.
type Batch struct {
	in      *intake.Batch
	ignored int
}

// Fill returns a batch whose events go to in.
func Fill(in *intake.Batch) *Batch { return &Batch{in: in} }

// Ignored returns how many events were ignored by [Batch.Ignore].
func (b *Batch) Ignored() int { return b.ignored }

// Add adds an event. One that cannot be used, such as one without a peer, is counted as ignored.
func (b *Batch) Add(e *intake.Event) { b.in.Add(e) }

// AddJSON adds an event in the JSON of POST /v1/events.
func (b *Batch) AddJSON(raw []byte) { b.in.AddJSON(raw) }

// AddMade is [Batch.AddJSON] for an object that the kind wrote itself, which has no member twice.
func (b *Batch) AddMade(raw []byte) { b.in.AddMade(raw) }

// Ignore counts an event that says nothing about presence, or that this release does not know.
func (b *Batch) Ignore() { b.ignored++ }

// An Outcome is what became of a call.
type Outcome struct {
	// Err is nil when every event that could be used is kept. Otherwise it is what [Kind.Verify] or
	// [Kind.Read] returned, or matches presence.ErrUnavailable or presence.ErrFull.
	Err   error
	Tally intake.Tally
}

// Status is the status of an answer in HTTP's terms.
func (o *Outcome) Status() int {
	switch {
	case o.Err == nil:
		return http.StatusOK
	case errors.Is(o.Err, ErrUnproven), errors.Is(o.Err, ErrExpired):
		return http.StatusUnauthorized
	case errors.Is(o.Err, ErrShape):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

// Code is the code of the API for a call that failed, for answers in the words of a product.
func (o *Outcome) Code() string {
	switch {
	case errors.Is(o.Err, ErrExpired):
		return "signature_expired"
	case errors.Is(o.Err, ErrUnproven):
		return "unauthorized"
	case errors.Is(o.Err, ErrShape):
		return "bad_json"
	case errors.Is(o.Err, presence.ErrFull):
		return "full"
	}
	return "unavailable"
}

// A Reply is an answer. An empty body of a failed call is filled with the error of the API.
type Reply struct {
	Status int
	Body   []byte // JSON
}

// PlainReply answers with the status of o and an empty object, for products that look at the status
// only.
func PlainReply(o Outcome) Reply {
	if o.Err != nil {
		return Reply{Status: o.Status()}
	}
	return Reply{Status: http.StatusOK, Body: []byte("{}\n")}
}

// JSONReply answers a call whose events are kept with v.
func JSONReply(v any) Reply {
	body, err := json.Marshal(v)
	if err != nil {
		return Reply{Status: http.StatusInternalServerError}
	}
	return Reply{Status: http.StatusOK, Body: append(body, '\n')}
}
