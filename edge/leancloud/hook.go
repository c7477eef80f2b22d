package leancloud

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// hook takes a report of the IM service that a client logged in or out. It answers once the report
// is kept.
func (h *Handler) hook(ctx context.Context, c *call, kind presence.Kind) answer {
	if !c.rights.Has(api.Hook) {
		f := *h.unauthorized(c)
		if f.status != http.StatusUnauthorized {
			return f.answer()
		}
		f.text = "Hook key check failed, request from " + c.address.String()
		return f.answer()
	}
	h.counters.hooks.Add(1)
	fields, fail := h.hookFields(c)
	if fail != nil {
		return fail.answer()
	}
	e, fail := h.event(kind, &fields)
	if fail != nil {
		return fail.answer()
	}
	from := intake.Sender{App: c.app, Source: presence.SourceLeanCloud, Policy: h.cfg.Policy, Lease: h.cfg.HookLease}
	if e.Cause == presence.CauseLost {
		from.Hold = h.cfg.Hold
	}
	switch out, err := h.Intake.Take(ctx, &from, &e); {
	case errors.Is(err, presence.ErrInvalid):
		return bad(err.Error()).answer()
	case err != nil:
		return h.storeFault(ctx, "keep a hook", err).answer()
	case out.Verdict == presence.Full:
		return (&fault{status: http.StatusTooManyRequests, code: codeTooMany, text: "The peer has too many open sessions.", wait: 1}).answer()
	}
	if c.typed {
		return answer{status: http.StatusOK, body: answerEmptyResult}
	}
	return answer{status: http.StatusOK, body: answerEmpty}
}

var (
	answerEmpty       = []byte(`{}`)
	answerEmptyResult = []byte(`{"result":{}}`)
)

// hookFields are the parameters of a hook that mean something here, as JSON; nil when absent.
type hookFields struct{ peerID, tag, closeCode, reconnect json.RawMessage }

func (h *Handler) hookFields(c *call) (f hookFields, fail *fault) {
	if !c.form && plainjson.Flat(c.body, f.set) {
		return f, nil
	}
	h.counters.unusual.Add(1)
	p, fail := h.parse(c.body, c.form)
	return hookFields{p["peerId"], p["tag"], p["closeCode"], p["reconnect"]}, fail
}

func (f *hookFields) set(name, value []byte) {
	switch string(name) {
	case "peerId":
		f.peerID = value
	case "tag":
		f.tag = value
	case "closeCode":
		f.closeCode = value
	case "reconnect":
		f.reconnect = value
	}
}

// event makes an event of the parameters of a hook. The peer id is judged strictly; what else the
// hook says is taken where it makes sense and left where it does not, since the sender neither
// repeats nor corrects.
func (h *Handler) event(kind presence.Kind, f *hookFields) (intake.Event, *fault) {
	e := intake.Event{Kind: kind, Tag: cut(textOf(f.tag), presence.MaxName)}
	id := f.peerID
	switch {
	case len(id) == 0 || string(id) == "null":
		return e, bad("The parameter peerId is missing.")
	case id[0] == '"':
		e.Peer = presence.PeerID(textOf(id))
	case isNumber(id):
		e.Peer = presence.PeerID(decimal(id))
	default:
		return e, bad("The parameter peerId is neither a string nor a number.")
	}
	switch {
	case e.Peer == "":
		return e, bad("The parameter peerId is empty.")
	case len(e.Peer) > presence.MaxHookPeer:
		return e, bad("The parameter peerId is too long.")
	}
	if kind == presence.KindOnline {
		e.Reconnect = number(f.reconnect) == "1"
	} else {
		e.Cause = causeOf(f.closeCode)
	}
	return e, nil
}

// causeOf reads a closeCode. One that the documentation does not know is a break.
func causeOf(raw json.RawMessage) presence.Cause {
	switch number(raw) {
	case "":
		return presence.CauseUnknown
	case "1":
		return presence.CauseLogout
	case "3":
		return presence.CauseReplaced
	case "4":
		return presence.CauseKicked
	}
	return presence.CauseLost
}

// number returns the text of a number that may be written as a string, as senders written by hand
// do; true is 1.
func number(raw json.RawMessage) string {
	s := string(raw)
	if strings.HasPrefix(s, `"`) {
		s = strings.TrimSpace(textOf(raw))
	}
	switch s {
	case "null":
		return ""
	case "true":
		return "1"
	}
	return s
}

// cut returns s, or its start when it has more than most bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
