package leancloud

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// hook takes the word of the IM service that a client came or left. It answers once the report is kept.
func (h *Handler) hook(ctx context.Context, c *call, kind presence.Kind) answer {
	if !c.rights.Has(api.Hook) {
		f := *h.unauthorized(c)
		if f.status != http.StatusUnauthorized {
			return f.answer()
		}
		f.text = "Hook key check failed, request from " + c.remote()
		return f.answer()
	}
	h.counters.hooks.Add(1)
	fields, fail := h.hookFields(c)
	if fail != nil {
		return fail.answer()
	}
	r, fail := h.report(c.app, kind, &fields)
	if fail != nil {
		return fail.answer()
	}
	reports, outcomes := [1]presence.Report{r}, [1]presence.Outcome{}
	switch err := h.Service.Report(ctx, reports[:], r.At, outcomes[:]); {
	case errors.Is(err, presence.ErrInvalid):
		return bad(err.Error()).answer()
	case err != nil:
		return h.storeFault("keep a hook", err).answer()
	case outcomes[0].Verdict == presence.Full:
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

// report makes a report of the parameters of a hook. The peer id is judged strictly; what else the hook says is taken where it makes
// sense and left where it does not, since the sender neither repeats nor corrects.
func (h *Handler) report(app presence.AppID, kind presence.Kind, f *hookFields) (presence.Report, *fault) {
	r := presence.Report{
		App: app, Source: presence.SourceLeanCloud, Kind: kind, At: h.Now(),
		Tag: cut(textOf(f.tag), presence.MaxName), Policy: h.cfg.Policy, Lease: h.cfg.HookLease,
	}
	id := f.peerID
	switch {
	case len(id) == 0 || string(id) == "null":
		return r, bad("The parameter peerId is missing.")
	case id[0] == '"':
		r.Peer = presence.PeerID(textOf(id))
	case isNumber(id):
		r.Peer = presence.PeerID(decimal(id))
	default:
		return r, bad("The parameter peerId is neither a string nor a number.")
	}
	switch {
	case r.Peer == "":
		return r, bad("The parameter peerId is empty.")
	case len(r.Peer) > presence.MaxHookPeer:
		return r, bad("The parameter peerId is too long.")
	}
	if kind == presence.KindOnline {
		r.Reconnect = number(f.reconnect) == "1"
	} else {
		r.Cause = causeOf(f.closeCode)
		if r.Cause == presence.CauseLost {
			r.Hold = h.cfg.Hold
		}
	}
	return r, nil
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

// number returns the text of a number that may be written as a string, as senders written by hand do; true is 1.
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
