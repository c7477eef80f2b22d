package rtm

import (
	"context"
	"fmt"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// serviceIM is the service that every answer of this wire belongs to; the others are push (0) and
// live query (1).
const (
	serviceIM        = 2
	serviceLiveQuery = 1
)

// A wire is what one connection remembers beyond its sessions.
type wire struct {
	srv    *Server
	format format
	first  presence.PeerID // the id that was opened first: a command without an id means it
}

// Message works on one command.
func (w *wire) Message(s *gateway.Socket, data []byte) {
	q, err := w.format.decode(data, w.srv.cfg.QueryIDs)
	if err != nil {
		s.Gateway().Refuse(gateway.RefusedMessage)
		s.Close(closeUnparseable, codeUnparseable.name)
		return
	}
	if q.beat {
		s.Send([]byte("{}"))
		return
	}
	switch q.cmd {
	case cmdSession:
		w.session(s, &q)
	case cmdEcho:
		// The peer of an echo is no peer: C# names its app there.
		w.send(s, &answer{cmd: cmdEcho, i: q.i})
	case cmdLogin:
		w.login(s, &q)
	case cmdLogout:
		if q.i.is {
			w.send(s, &answer{cmd: cmdLoggedout, i: q.i})
		}
	case cmdReport:
		w.report(s, &q)
	default:
		w.refuse(s, &q)
	}
}

// RateLimited refuses a command beyond the rate.
func (w *wire) RateLimited(s *gateway.Socket, data []byte) {
	if q, err := w.format.decode(data, 0); err == nil && q.i.is {
		w.fail(s, &q, q.peerID, codeRate, "")
	}
}

// Ended notifies the client that the server ended one of its sessions.
func (w *wire) Ended(ss *gateway.Session, cause presence.Cause, reason string) {
	c := codeConflict
	if cause == presence.CauseKicked {
		c = codeKicked
	}
	if reason == "" {
		reason = c.name
	}
	w.send(ss.Socket(), &answer{
		cmd: cmdSession, op: opClosed, peerID: ss.Peer(), service: serviceIM,
		session: &sessionAnswer{code: c.number, reason: reason},
	})
}

// GoAway asks the client to ask for a route again. Java takes it only with the id of a session.
func (w *wire) GoAway(s *gateway.Socket) bool {
	sessions := s.Sessions()
	if len(sessions) == 0 {
		return false
	}
	w.send(s, &answer{cmd: cmdGoaway, peerID: sessions[0].Peer(), service: serviceIM})
	return true
}

// Closed has nothing to release.
func (w *wire) Closed(*gateway.Socket) {}

func (w *wire) send(s *gateway.Socket, a *answer) {
	b, err := w.format.encode(a)
	if err != nil {
		s.Close(closeInternal, codeInternal.name)
		return
	}
	s.Send(b)
}

const closeInternal = 4200

// fail answers q with an error command. It has a number exactly if q has.
func (w *wire) fail(s *gateway.Socket, q *request, peer presence.PeerID, c code, detail string) {
	if !q.peer && peer == "" {
		peer = w.first // Java drops what names no peer
	}
	w.send(s, &answer{
		cmd: cmdError, peerID: peer, i: q.i, service: serviceIM,
		failure: &failure{code: c.number, reason: c.name, detail: detail},
	})
}

func (w *wire) session(s *gateway.Socket, q *request) {
	switch q.op {
	case opOpen:
		w.open(s, q)
		return
	case opClose, opQuery, opRefresh, opAdd, opRemove:
	default:
		w.refuse(s, q)
		return
	}
	ss := w.meant(s, q)
	if ss == nil {
		s.Gateway().Refuse(gateway.RefusedNoSession)
		w.fail(s, q, q.peerID, codeSession, "")
		return
	}
	switch q.op {
	case opClose:
		w.close(s, q, ss)
	case opQuery:
		w.query(s, q, ss)
	case opRefresh:
		w.refresh(s, q, ss)
	case opAdd:
		w.send(s, &answer{cmd: cmdSession, op: opAdded, peerID: ss.Peer(), i: q.i, service: serviceIM, session: &sessionAnswer{}})
	case opRemove:
		w.send(s, &answer{cmd: cmdSession, op: opRemoved, peerID: ss.Peer(), i: q.i, service: serviceIM, session: &sessionAnswer{}})
	}
}

// meant returns the session that q speaks for: of the id it names, else of the id opened first,
// else the only one.
func (w *wire) meant(s *gateway.Socket, q *request) *gateway.Session {
	sessions := s.Sessions()
	name := w.first
	if q.peer {
		name = q.peerID
	}
	for _, ss := range sessions {
		if ss.Peer() == name {
			return ss
		}
	}
	if !q.peer && len(sessions) == 1 {
		return sessions[0]
	}
	return nil
}

// unavailable answers a command that the store did not take. Logins are counted by the gateway.
func (w *wire) unavailable(s *gateway.Socket, q *request, err error) {
	if unsaid, due := w.srv.faulty.Due(int64(w.srv.Gateway.Now())); due {
		w.srv.Gateway.Log.Warn("socket command failed", "unsaid", unsaid, "err", err)
	}
	w.fail(s, q, q.peerID, codeInternal, "the store did not answer; try again")
}

func (w *wire) close(s *gateway.Socket, q *request, ss *gateway.Session) {
	if err := ss.End(s.Context()); err != nil {
		// The end is reported to the store as soon as it answers; the session is over either way.
		w.srv.Gateway.Log.Warn("reporting a logout failed; retrying", "err", err)
	}
	// Without a code: Java takes one for a session that the server closed.
	w.send(s, &answer{cmd: cmdSession, op: opClosed, peerID: ss.Peer(), i: q.i, service: serviceIM, session: &sessionAnswer{}})
}

func (w *wire) query(s *gateway.Socket, q *request, ss *gateway.Session) {
	if w.srv.AskByToken && !ss.Proven() {
		w.denied(s, q, codeSignature, "queries take a login by a user token or a signature (gate.ask)")
		return
	}
	var who presence.PeerID
	if ss.Proven() {
		who = ss.Peer()
	}
	app, peer := string(ss.Key().App), string(who)
	_, call := w.srv.Callers.TakeOf(limit.Ask, app, s.Remote(), peer, 1)
	if _, ids := w.srv.Callers.TakeOf(limit.AskPeers, app, s.Remote(), peer, float64(len(q.asked))); !call || !ids {
		w.fail(s, q, ss.Peer(), codeRate, "too many queries from this address")
		return
	}
	var answered ask.Answer[presence.Status]
	view := ask.ViewOf(ss.Key().App, false, who)
	if err := w.srv.Gateway.Ask.Statuses(s.Context(), view, q.asked, &answered); err != nil {
		w.srv.Gateway.Refuse(gateway.RefusedUnavailable)
		w.unavailable(s, q, fmt.Errorf("query: %w", err))
		return
	}
	statuses, _ := answered.Read() // the protocol has no field for the age
	online := q.asked[:0]
	for i, st := range statuses {
		if st == presence.Online {
			online = append(online, q.asked[i])
		}
	}
	w.send(s, &answer{
		cmd: cmdSession, op: opQueryResult, peerID: ss.Peer(), i: q.i, service: serviceIM,
		session: &sessionAnswer{online: online, query: true},
	})
}

func (w *wire) refresh(s *gateway.Socket, q *request, ss *gateway.Session) {
	app := w.srv.Keys.Lookup(ss.Key().App)
	if app == nil { // it is no longer configured, and its sessions are about to end
		w.denied(s, q, codeApp, "")
		return
	}
	now := w.srv.Gateway.Now()
	next, fail, err := w.next(s.Context(), q, app, ss, now)
	switch {
	case err != nil:
		w.srv.Gateway.Refuse(gateway.RefusedUnavailable)
		w.unavailable(s, q, err)
		return
	case fail.number != 0:
		w.denied(s, q, fail, "")
		return
	}
	st, ttl := w.srv.newToken(app, next, now)
	w.send(s, &answer{
		cmd: cmdSession, op: opRefreshed, peerID: ss.Peer(), i: q.i, service: serviceIM,
		session: &sessionAnswer{st: st, stTTL: ttl},
	})
}

// next returns what the next session token of ss says, by the session token or the user token of q.
func (w *wire) next(ctx context.Context, q *request, app *api.App, ss *gateway.Session, now presence.Millis) (token, code, error) {
	next := tokenOf(ss, platform(q.ua))
	switch {
	case q.st == "":
		return next, code{}, nil
	case usertoken.Likely(q.st):
		user, fail, err := w.user(ctx, q, app, ss.Key())
		next.proven, next.bound = true, user.Expires.Add(api.Grace)
		return next, fail, err
	}
	kicked, err := w.srv.Gateway.Kicked(ctx, ss.Key())
	if err != nil {
		return next, code{}, err
	}
	t, err := w.srv.open(q.st, app, ss.Peer(), now)
	if err != nil || t.issued <= kicked {
		return next, codeToken, nil //nolint:nilerr // why a token is invalid is not for its bearer
	}
	next.proven, next.bound = t.proven, t.bound
	return next, code{}, nil
}

// login refuses live queries. The login of push is the first thing that Android sends; it makes
// no peer online, and an answer could have the SDK hang up.
func (w *wire) login(s *gateway.Socket, q *request) {
	if !q.i.is && q.service.value != serviceLiveQuery {
		return
	}
	s.Gateway().Refuse(gateway.RefusedCommand)
	w.send(s, &answer{
		cmd: cmdError, i: q.i, service: int32(q.service.value), installation: q.installation,
		failure: &failure{code: codeApp.number, reason: codeApp.name, detail: notServed},
	})
}

// report takes the push token that Apple devices send after their login, and forgets it.
func (w *wire) report(s *gateway.Socket, q *request) {
	if !q.i.is {
		return
	}
	a := &answer{cmd: cmdReport, op: opUploaded, peerID: q.peerID, i: q.i, service: serviceIM}
	if ss := w.meant(s, q); ss != nil {
		a.peerID = ss.Peer()
	}
	w.send(s, a)
}

// refuse answers what belongs to conversations and messages, so that the call fails and nothing
// else does.
func (w *wire) refuse(s *gateway.Socket, q *request) {
	s.Gateway().Refuse(gateway.RefusedCommand)
	if !q.i.is {
		return
	}
	ss := w.meant(s, q)
	if ss == nil {
		w.fail(s, q, q.peerID, codeSession, "")
		return
	}
	c := codeConversation
	if q.cmd == cmdDirect || q.cmd == cmdPatch {
		c = codeTarget
	}
	w.fail(s, q, ss.Peer(), c, notServed)
}
