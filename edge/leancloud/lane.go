package leancloud

import (
	"bytes"
	"context"
	"crypto/subtle"
	"net/netip"
	"time"
	"unsafe"

	"rollcall/internal/api"
	"rollcall/internal/fastlane"
	"rollcall/internal/limit"
	"rollcall/internal/trace"
	"rollcall/presence"
)

// The fields of a request that the lane reads, in the order of laneFields.
const (
	fieldID = iota
	fieldKey
	fieldSign
	fieldHookKey
	fieldType
	fieldOrigin
	fieldForwarded
	fieldTrace
)

var laneFields = []string{"X-LC-Id", "X-LC-Key", "X-LC-Sign", "X-LC-Hook-Key", "Content-Type", "Origin", "X-Forwarded-For", trace.Header}

// laneForeign are credentials of other families; who sends them takes the long way.
var laneForeign = []string{
	"X-AVOSCloud-Application-Id", "X-Uluru-Application-Id", "X-AVOSCloud-Application-Key", "X-Uluru-Application-Key",
	"X-AVOSCloud-Master-Key", "X-Uluru-Master-Key", "X-AVOSCloud-Request-Sign",
	"X-Parse-Application-Id", "X-Parse-JavaScript-Key", "X-Parse-Client-Key", "X-Parse-REST-API-Key", "X-Parse-Windows-Key", "X-Parse-Master-Key",
}

type laneTarget struct {
	target string
	name   string
	typed  bool
}

var laneTargets = []laneTarget{
	{"POST /1.1/functions/getOnOffStatus", "getOnOffStatus", false},
	{"POST /1.1/call/getOnOffStatus", "getOnOffStatus", true},
	{"POST /1.1/functions/_clientOnline", "_clientOnline", false},
	{"POST /1.1/functions/_clientOffline", "_clientOffline", false},
	{"POST /1/functions/getOnOffStatus", "getOnOffStatus", false},
	{"POST /1/call/getOnOffStatus", "getOnOffStatus", true},
}

// maxLaneBody is the largest body that the lane takes: some thousand ids.
const maxLaneBody = 64 << 10

// Lane returns the routes of the fast lane: questions and hooks in the shape that SDKs send them.
// They end in the same code as ServeHTTP, and a fuzz test holds the answers together.
func (h *Handler) Lane() fastlane.Routes {
	r := fastlane.Routes{
		Fields: laneFields, Foreign: laneForeign, MaxBody: min(maxLaneBody, h.cfg.MaxBody), Answer: h.laneAnswer,
	}
	for _, t := range laneTargets {
		r.Targets = append(r.Targets, t.target)
	}
	return r
}

// A caller is what was let in last on a connection, by what it showed, and what it owes.
type caller struct {
	shown  []byte
	app    presence.AppID
	rights api.Rights
	keys   uint64 // the generation of keys that it was judged by

	address netip.Addr
	owed    [limit.Serve + 1]*limit.Bucket // by class; of app and address
}

func (h *Handler) laneAnswer(r *fastlane.Request, out []byte) (_ []byte, last, ok bool) {
	if !laneType(r.Fields[fieldType]) {
		return out, false, false
	}
	target := &laneTargets[r.Target]
	known, rights := h.letIn(r)
	if target.name != "getOnOffStatus" && rights.Has(api.Client) && !rights.Has(api.Hook) {
		// The refusal names the client's address, which may be in fields that the lane skips.
		return out, false, false
	}
	if rights.Has(api.Client) && h.needsToken(rights) {
		return out, false, false // the lane does not read the token
	}
	ctx, begun := traced(r)
	var a answer
	s := h.scratch.Get().(*scratch)
	c := &s.call
	*c = call{
		name: target.name, typed: target.typed, rights: rights, body: bytes.TrimPrefix(r.Body, []byte("\xef\xbb\xbf")),
		address: known.address, lane: known,
	}
	if !rights.Has(api.Client) {
		a = h.unauthorized(c).answer()
	} else {
		c.app = known.app
		a = h.laneCall(ctx, c, s)
	}
	if begun != (time.Time{}) && h.Traces != nil {
		h.Traces.Note(trace.From(ctx), "leancloud", a.status, time.Since(begun))
	}
	h.counters.answered(a.status)
	out = a.append(out, r.Fields[fieldOrigin], r.Date)
	h.release(s)
	return out, a.hangUp, true
}

// traced returns the context of r, and when r came if it has a trace.
func traced(r *fastlane.Request) (context.Context, time.Time) {
	if r.Fields[fieldTrace] == nil {
		return context.Background(), time.Time{}
	}
	c, ok := trace.Parse(string(r.Fields[fieldTrace]))
	if !ok {
		return context.Background(), time.Time{}
	}
	return trace.With(context.Background(), c), time.Now()
}

func (h *Handler) laneCall(ctx context.Context, c *call, s *scratch) answer {
	fail := h.takeCall(c)
	if fail == nil {
		fail = h.takeBytes(c, len(c.body))
	}
	if fail != nil {
		return fail.answer()
	}
	return h.call(ctx, c, s)
}

// letIn checks the credentials of r. Who shows the same as before on this connection is known; both
// are compared in constant time.
func (h *Handler) letIn(r *fastlane.Request) (*caller, api.Rights) {
	known, _ := (*r.Conn).(*caller)
	if known == nil {
		known = &caller{address: r.Remote}
		*r.Conn = known
	}
	h.locate(known, r)
	var room [256]byte
	shown := room[:0]
	for _, f := range r.Fields[fieldID : fieldHookKey+1] {
		shown = append(append(shown, f...), '\n') // which no field can hold
	}
	keys := h.Keys.Generation() // before the check: a reload may come between
	if known.rights != api.None && known.keys == keys && keys != 0 && subtle.ConstantTimeCompare(shown, known.shown) == 1 {
		return known, known.rights
	}
	app, rights := h.Keys.Check(api.Presented{
		ID: presence.AppID(text(r.Fields[fieldID])), Key: text(r.Fields[fieldKey]), Sign: text(r.Fields[fieldSign]), HookKey: text(r.Fields[fieldHookKey]),
	})
	if rights == api.None {
		return known, rights
	}
	known.shown, known.app, known.rights, known.keys = append(known.shown[:0], shown...), app.ID, rights, keys
	clear(known.owed[:])
	return known, rights
}

// locate sets the address by which the caller is held to a rate: a proxy speaks for many on one
// connection.
func (h *Handler) locate(known *caller, r *fastlane.Request) {
	forwarded := r.Fields[fieldForwarded]
	if forwarded == nil && known.address == r.Remote {
		return
	}
	address := limit.AddressOf(r.Remote, text(forwarded), h.Proxies)
	if forwarded != nil && h.Unnamed != nil && !limit.Within(r.Remote, h.Proxies) {
		h.Unnamed(r.Remote)
	}
	if address != known.address {
		known.address = address
		clear(known.owed[:])
	}
}

// text returns b as a string that is good as long as b is.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// laneType reports whether a content type is plainly JSON in UTF-8.
func laneType(b []byte) bool {
	switch string(b) {
	case "", "application/json", "application/json;charset=UTF-8", "application/json; charset=utf-8", "application/json;charset=utf-8", "application/json; charset=UTF-8":
		return true
	}
	return false
}
