package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"rollcall/presence"
)

// A Query is one call of the API of a product.
type Query struct {
	Method string // POST when empty
	URL    string // it may hold a secret, so no error has it
	Header http.Header
	Body   []byte // JSON, or nil
	Max    int64  // the most bytes of the answer
}

// A StatusError is an answer with another status than 200.
type StatusError int

// Error names the status.
func (e StatusError) Error() string {
	return fmt.Sprintf("the product answers %d %s", int(e), http.StatusText(int(e)))
}

// Is matches [ErrRefused] for 401 and 403.
func (e StatusError) Is(target error) bool {
	return target == ErrRefused && (e == http.StatusUnauthorized || e == http.StatusForbidden)
}

// Do sends q and returns the body of the answer, and its Date in Unix milliseconds, 0 without one.
// An answer with another status than 200 is a [StatusError]. No error holds the address, a header
// or a part of a body.
func (q *Query) Do(ctx context.Context, client *http.Client) ([]byte, presence.Millis, error) {
	method := q.Method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return nil, 0, errors.New("the address of the product cannot be read")
	}
	for name, values := range q.Header {
		r.Header[name] = values
	}
	if q.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("the product cannot be asked: %w", bare(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, StatusError(res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, q.Max+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("the answer of the product ends early: %w", bare(err))
	case int64(len(body)) > q.Max:
		return nil, 0, fmt.Errorf("the answer of the product has more than %d bytes", q.Max)
	}
	var at presence.Millis
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil && date.UnixMilli() > 0 {
		at = presence.Millis(date.UnixMilli())
	}
	return body, at, nil
}

// bare returns err without the address, whose query may hold a signature.
func bare(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// errAnswer is all that an error says of an answer that cannot be read: it may hold secrets of the
// product's users.
var errAnswer = errors.New("the answer of the product cannot be read")

// ErrAnswer is an answer that is not what the product's documentation describes.
func ErrAnswer(what string) error { return fmt.Errorf("%w: %s", errAnswer, what) }

// DecodeAnswer reads body, an answer, into v. A member of another type than v's fails all of it,
// unless its type is Text or Number.
func DecodeAnswer(body []byte, v any) error {
	if json.Unmarshal(body, v) != nil {
		return ErrAnswer("it is not the JSON of this call")
	}
	return nil
}

// Findings collect what the calls of one [Auditor.Ask] say of the peers that were asked about.
type Findings struct {
	answer Answer
	asked  map[presence.PeerID]bool // true: the answers contradict each other
}

// InParts calls ask with at most n of peers at a time. It takes what the product says of them into
// the findings, and returns the time of its answer. The time of the whole is the earliest, and
// unknown when one is. The first error ends it.
func InParts(peers []presence.PeerID, n int, ask func(part []presence.PeerID, f *Findings) (presence.Millis, error)) (Answer, error) {
	f := &Findings{asked: make(map[presence.PeerID]bool, len(peers))}
	f.answer.Peers = make(map[presence.PeerID]Found, len(peers))
	for _, p := range peers {
		f.asked[p] = false
	}
	first := true
	for part := range slices.Chunk(peers, n) {
		at, err := ask(part, f)
		if err != nil {
			return Answer{}, err
		}
		if first || at < f.answer.At {
			f.answer.At = at
		}
		first = false
	}
	return f.answer, nil
}

// Asked reports whether peer was asked about.
func (f *Findings) Asked(peer presence.PeerID) bool {
	_, ok := f.asked[peer]
	return ok
}

// Add takes what the product says of peer. A peer that was not asked about is left out, and so is
// one about which two answers differ, or whose sessions no event could name.
func (f *Findings) Add(peer presence.PeerID, found Found) {
	contradicted, ok := f.asked[peer]
	if !ok || contradicted {
		return
	}
	for i := range found.Sessions {
		if !validSession(&found.Sessions[i]) {
			f.Drop(peer)
			return
		}
	}
	if before, ok := f.answer.Peers[peer]; ok && !sameFound(&before, &found) {
		f.Drop(peer)
		return
	}
	f.answer.Peers[peer] = found
}

// Drop leaves peer out of the answer, whatever else is said of it.
func (f *Findings) Drop(peer presence.PeerID) {
	if _, ok := f.asked[peer]; ok {
		f.asked[peer] = true
		delete(f.answer.Peers, peer)
	}
}

func validSession(s *FoundSession) bool {
	ok := func(name string) bool { return len(name) <= presence.MaxName && utf8.ValidString(name) }
	return s.ID != "" && ok(string(s.ID)) && ok(s.Platform)
}

func sameFound(f, g *Found) bool {
	return f.Online == g.Online && f.Listed == g.Listed && slices.Equal(f.Sessions, g.Sessions)
}

// maxSessions is how many sessions of a peer are listed: a state keeps some more.
const maxSessions = 1000

// Sessions returns the find of a peer that is online with the sessions list, each of which is there
// once. Of one with very many it is no more than that it is online.
func Sessions(list []FoundSession) Found {
	once := list[:0:0]
	for _, s := range list {
		if slices.ContainsFunc(once, func(o FoundSession) bool { return o.ID == s.ID }) {
			continue
		}
		if len(once) == maxSessions {
			return Found{Online: true}
		}
		once = append(once, s)
	}
	return Found{Online: true, Listed: true, Sessions: once}
}

// WithKey calls ask with the key of s and, when the product refuses it, with the old one.
func (r *Reconcile) WithKey(ask func(key string) (Answer, error)) (Answer, error) {
	a, err := ask(r.Key)
	if r.KeyOld != "" && errors.Is(err, ErrRefused) {
		if old, oldErr := ask(r.KeyOld); oldErr == nil {
			return old, nil
		}
	}
	return a, err
}

// CheckBase returns what is wrong with the address of an API below which calls have paths of their
// own. An example says that the product has no address unless one is set.
func (r *Reconcile) CheckBase(product, example string) error {
	switch {
	case r.URL == "" && example != "":
		return fmt.Errorf("reconcile.url is missing; of %s it is the address of its API, such as %s", product, example)
	case strings.Contains(r.URL, "?"):
		return fmt.Errorf("reconcile.url has a query; of %s it is the address of its API alone", product)
	}
	return nil
}

// CheckSecure returns that the address of an API on the Internet is not https: the key could be
// read on the way. An address of this machine may be http.
func (r *Reconcile) CheckSecure() error {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("reconcile.url is http; the key would be readable on the way, so it is https")
}

// CheckKey returns that the key is missing, when it is; what says where it is found.
func (r *Reconcile) CheckKey(what string) error {
	if r.Key == "" {
		return errors.New("reconcile.key is missing; it is " + what)
	}
	return nil
}

// Base returns the address of the product's API without a slash at its end; other when none is set.
func (r *Reconcile) Base(other string) string {
	if r.URL == "" {
		return other
	}
	return strings.TrimRight(r.URL, "/")
}

// Passes are the tokens that a product gives for its keys, kept from one call to the next.
type Passes struct {
	mu   sync.Mutex
	kept map[string]string // by key
}

// WithPass calls use with the token kept for key. Without one, and when the product refuses it,
// obtain makes one first, so a token is kept until the product says that it has ended. A nil p
// keeps nothing.
func (p *Passes) WithPass(key string, obtain func() (string, error), use func(token string) (presence.Millis, error)) (presence.Millis, error) {
	if token, ok := p.get(key); ok {
		if at, err := use(token); !errors.Is(err, ErrRefused) {
			return at, err
		}
	}
	token, err := obtain()
	if err != nil {
		return 0, err
	}
	at, err := use(token)
	if errors.Is(err, ErrRefused) {
		token = ""
	}
	p.put(key, token)
	return at, err
}

func (p *Passes) get(key string) (string, bool) {
	if p == nil {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	token := p.kept[key]
	return token, token != ""
}

func (p *Passes) put(key, token string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[string]string{}
	}
	if token == "" {
		delete(p.kept, key)
	} else {
		p.kept[key] = token
	}
}
