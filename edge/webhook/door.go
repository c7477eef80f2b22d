package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// Prefix is where the calls of products arrive: Prefix + APP + "/" + SOURCE.
const Prefix = "/ingest/"

const (
	// maxBody is the largest body of a call; no product sends as much.
	maxBody = 1 << 20
	// maxProof is the largest body of a call of one event whose origin only the body proves.
	maxProof = 64 << 10
	// answerWithin is how long the reports of a call may take to be kept: the strictest product
	// waits two seconds.
	answerWithin = 1500 * time.Millisecond
)

// Deps are what a [Door] is given.
type Deps struct {
	Intake  *intake.Intake
	Gate    *api.Gate
	Now     func() presence.Millis
	Proxies []netip.Prefix // whose X-Forwarded-Proto is believed
	// Record keeps a call whose origin is proven, and reports whether it does. It does not wait.
	// Nil: no calls are kept.
	Record func(*Call) bool
}

// A Door takes the calls of the products.
type Door struct {
	deps    Deps
	sources atomic.Pointer[sources]
}

type name struct {
	app presence.AppID
	id  presence.Source
}

type sources struct {
	byName map[name]*Source
	list   []*Source
}

// New returns a door for the sources of a configuration that has been checked.
func New(list []Source, deps Deps) *Door {
	d := &Door{deps: deps}
	d.Replace(list)
	return d
}

// Replace puts list in the place of the sources before. One of the same app, id and kind goes on
// with its counts.
func (d *Door) Replace(list []Source) {
	before := d.sources.Load()
	next := &sources{byName: map[name]*Source{}}
	for i := range list {
		s := list[i]
		s.counts = &counts{}
		n := name{s.App, s.ID}
		if before != nil {
			if old := before.byName[n]; old != nil && old.Kind.Name() == s.Kind.Name() {
				s.counts = old.counts
			}
		}
		next.byName[n] = &s
		next.list = append(next.list, &s)
	}
	d.sources.Store(next)
}

// Stats returns the counts of every source, in the order of the settings.
func (d *Door) Stats() []Stats {
	var all []Stats
	for _, s := range d.sources.Load().list {
		all = append(all, s.stats())
	}
	return all
}

// Routes returns the calls of the door.
func (d *Door) Routes() []api.Route {
	var routes []api.Route
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		for _, path := range []string{Prefix + "{app}/{source}", Prefix + "{app}/{source}/{rest...}"} {
			routes = append(routes, api.Route{Method: method, Path: path, Need: api.NeedProof, Loose: true, Handler: d.take})
		}
	}
	return routes
}

// take takes one call. Nothing of it is parsed before its origin is proven, and it is answered once
// what it says is kept.
func (d *Door) take(w http.ResponseWriter, r *http.Request, c *api.Caller) error {
	s := d.sources.Load().byName[name{presence.AppID(r.PathValue("app")), presence.Source(r.PathValue("source"))}]
	if s == nil {
		if err := d.deps.Gate.Unproven(c); err != nil {
			return err
		}
		return api.Errorf("not_found", "there is no such source")
	}
	if elsewhere := s.Kind.Defaults().Elsewhere; elsewhere != "" {
		if err := d.deps.Gate.Unproven(c); err != nil {
			return err
		}
		return api.Errorf("not_found", "a source of kind %s is asked and takes no webhooks; its hooks report to %s", s.Kind.Name(), elsewhere)
	}
	call := &Call{
		Source: s, Method: r.Method, Rest: r.PathValue("rest"), Target: r.URL.RequestURI(), Query: r.URL.Query(), Header: r.Header, Now: d.deps.Now(),
	}
	if err := d.reachable(r, c, s); err != nil {
		s.counts.count(call.Now, &Outcome{Err: ErrUnproven}, 0)
		return err
	}
	if done, err := d.prove(w, r, c, call); done || err != nil {
		return err
	}
	if d.deps.Record != nil {
		s.counts.record(d.deps.Record(call))
	}
	batch := Fill(d.deps.Intake.Batch(s.Sender(), 1))
	if err := s.Kind.Read(call, batch); err != nil {
		return d.answer(w, call, Outcome{Err: err}, 0)
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	o := Outcome{}
	if o.Tally, o.Err = batch.in.Send(ctx); o.Err == nil {
		s.counts.lags(call.Now, batch.in.Reports())
	}
	return d.answer(w, call, o, batch.ignored)
}

// prove reads the body of call and has its origin proven, in this order only where the body is the
// proof: else a stranger's body is not read. It reports whether the call has been refused.
func (d *Door) prove(w http.ResponseWriter, r *http.Request, c *api.Caller, call *Call) (refused bool, err error) {
	s := call.Source
	most := maxBody
	inBody := s.needsBody()
	if inBody {
		if !s.Kind.Defaults().Many {
			most = maxProof
		}
		if call.Body, err = c.ReadAny(w, r, most); err != nil {
			return true, err
		}
	}
	if err := s.Verify(call); err != nil {
		s.counts.count(call.Now, &Outcome{Err: err}, 0)
		if limited := d.deps.Gate.Unproven(c); limited != nil {
			return true, limited
		}
		return true, d.reply(w, call, Outcome{Err: err})
	}
	if err := d.deps.Gate.Proven(c, s.App); err != nil {
		return true, err
	}
	if !inBody {
		call.Body, err = c.ReadAny(w, r, most)
	}
	return err != nil, err
}

// reachable refuses a call from a network that s does not allow, and one whose body nothing
// protects on the way.
func (d *Door) reachable(r *http.Request, c *api.Caller, s *Source) error {
	if len(s.Allow) > 0 {
		if limit.Within(c.Address, s.Allow) {
			return nil
		}
		if err := d.deps.Gate.Unproven(c); err != nil {
			return err
		}
		return api.Errorf("forbidden", "this address is in none of the networks that the source allows")
	}
	if !s.Kind.Defaults().Open || s.Insecure || d.secure(r) {
		return nil
	}
	return api.Errorf("forbidden", "%s does not sign the body, so the call must come over https, or from a network that the source allows", s.Kind.Name())
}

// secure reports whether r came over TLS, to this process or to a proxy that is trusted. Of two
// headers one is the caller's own.
func (d *Door) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto := r.Header["X-Forwarded-Proto"]
	return len(proto) == 1 && strings.EqualFold(proto[0], "https") && limit.Within(limit.Socket(r), d.deps.Proxies)
}

// answer counts a call and answers it as its kind says.
func (d *Door) answer(w http.ResponseWriter, c *Call, o Outcome, ignored int) error {
	c.Source.counts.count(c.Now, &o, ignored)
	return d.reply(w, c, o)
}

// reply answers a call as its kind says.
func (d *Door) reply(w http.ResponseWriter, c *Call, o Outcome) error {
	reply := c.Source.Kind.Reply(c, o)
	if len(reply.Body) > 0 {
		api.WriteBytes(w, reply.Status, reply.Body)
		return nil
	}
	return refusal(o.Err)
}

// refusal puts why a call was refused into the words of the API.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrExpired):
		return api.Errorf("signature_expired", "%v", ErrExpired)
	case errors.Is(err, ErrUnproven):
		return api.Errorf("unauthorized", "%v", ErrUnproven)
	case errors.Is(err, ErrShape):
		return api.Errorf("bad_json", "%v", err)
	case errors.Is(err, ErrBusy):
		return api.Errorf("unavailable", "%v; sending again is safe", err).WithRetry(time.Second)
	case errors.Is(err, presence.ErrFull):
		return api.Errorf("full", "a limit of the store is reached; sending again is safe").WithRetry(5 * time.Second)
	}
	return api.Errorf("unavailable", "the store did not answer in time; sending again is safe").WithRetry(time.Second)
}

// Find returns the kind called name among kinds, or nil.
func Find(kinds []Kind, name string) Kind {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name() == name })
	if i < 0 {
		return nil
	}
	return kinds[i]
}
