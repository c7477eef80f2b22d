package rtm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"

	"rollcall/edge/gateway"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// maxPeer is the longest client id, in characters.
const maxPeer = 64

func (w *wire) open(s *gateway.Socket, q *request) {
	app := w.srv.Keys.Lookup(presence.AppID(q.appID))
	switch {
	case app == nil:
		c := codeApp
		if _, ok := w.srv.Callers.Take(limit.Refused, "", s.Remote(), 1); !ok {
			c = codeRate
		}
		w.denied(s, q, c, "")
		return
	case s.Foreign():
		w.srv.Gateway.Refuse(gateway.RefusedOrigin)
		w.fail(s, q, q.peerID, codeOrigin, "")
		return
	}
	if !q.peer && w.srv.cfg.Anonymous {
		q.peerID = anonymous()
	}
	if presence.CheckPeer(q.peerID) != nil || utf8.RuneCountInString(string(q.peerID)) > maxPeer || len(q.tag) > gateway.MaxTag {
		w.denied(s, q, codeLogin, "")
		return
	}
	now := w.srv.Gateway.Now()
	login := gateway.Login{
		Key: presence.Key{App: app.ID, Peer: presence.PeerID(strings.Clone(string(q.peerID)))},
		Tag: q.tag, Device: firstOf(q.deviceID, q.deviceToken, q.installation), Platform: platform(q.ua), Auto: q.r,
	}
	if c, err := w.admit(s.Context(), q, app, &login, now); err != nil || c.number != 0 {
		if err != nil {
			w.srv.Gateway.Refuse(gateway.RefusedUnavailable)
			w.unavailable(s, q, err)
			return
		}
		w.denied(s, q, c, "")
		return
	}
	ss, err := s.Open(s.Context(), login)
	switch {
	case err == nil:
		w.opened(s, q, ss, app, login.Platform, now)
	case errors.Is(err, gateway.ErrConflict):
		w.ousted(s, q, codeConflict)
	case errors.Is(err, gateway.ErrKicked) && login.Made > 0:
		w.denied(s, q, voided(q), "")
	case errors.Is(err, gateway.ErrKicked):
		w.srv.Gateway.Refuse(gateway.RefusedLogin)
		w.ousted(s, q, codeKicked)
	case errors.Is(err, gateway.ErrRate):
		w.fail(s, q, q.peerID, codeQuota, "too many logins; try again later")
	case errors.Is(err, gateway.ErrFull):
		w.fail(s, q, q.peerID, codeQuota, "too many sessions")
	case errors.Is(err, gateway.ErrGone):
		// The socket is closing; no answer would arrive.
	case errors.Is(err, presence.ErrInvalid):
		w.denied(s, q, codeLogin, "")
	default:
		w.unavailable(s, q, err)
	}
}

// ousted answers a login whose place another session has, or that was kicked meanwhile.
func (w *wire) ousted(s *gateway.Socket, q *request, c code) {
	if !q.r {
		w.fail(s, q, q.peerID, c, "")
		return
	}
	// Not an error command: SDKs take this one for "it happened while you were away".
	w.send(s, &answer{
		cmd: cmdSession, op: opClosed, peerID: q.peerID, i: q.i, service: serviceIM,
		session: &sessionAnswer{code: c.number, reason: c.name},
	})
}

// admit judges the token or the signature of q. A session token brings back the session it was made
// for; a user token stands where SDKs have a session token.
func (w *wire) admit(ctx context.Context, q *request, app *api.App, l *gateway.Login, now presence.Millis) (code, error) {
	if q.st == "" && !w.srv.Proof && !(w.srv.AskByToken && w.srv.signed(q, app, now)) {
		return code{}, nil
	}
	if usertoken.Likely(q.st) {
		return w.admitUser(ctx, q, app, l)
	}
	kicked, err := w.srv.Gateway.Kicked(ctx, l.Key)
	if err != nil {
		return code{}, err
	}
	if q.st == "" {
		sig := q.signature()
		l.Made = presence.Millis(sig.Made())
		if !w.srv.signed(q, app, now) || l.Made <= kicked {
			return voided(q), nil
		}
		l.Proven = true
		return code{}, nil
	}
	t, err := w.srv.open(q.st, app, q.peerID, now)
	if err != nil || t.issued <= kicked || w.srv.Proof && !t.proven {
		return voided(q), nil //nolint:nilerr // why a token is invalid is not for its bearer
	}
	l.Session, l.Made, l.Proven, l.Until = t.session, t.issued, t.proven, t.bound
	if l.Platform == "" {
		l.Platform = t.platform
	}
	return code{}, nil
}

// admitUser judges the user token of q.
func (w *wire) admitUser(ctx context.Context, q *request, app *api.App, l *gateway.Login) (code, error) {
	token, fail, err := w.user(ctx, q, app, l.Key)
	if err != nil || fail.number != 0 {
		return fail, err
	}
	l.Made, l.Proven, l.Until = token.Issued, true, token.Expires.Add(api.Grace)
	return code{}, nil
}

// user returns what the user token of q says, which must be of the peer of key.
func (w *wire) user(ctx context.Context, q *request, app *api.App, key presence.Key) (usertoken.Token, code, error) {
	kicked, err := w.srv.Gateway.Kicked(ctx, key)
	if err != nil {
		return usertoken.Token{}, code{}, err
	}
	token, err := api.VerifyUser(ctx, w.srv.Users, app, q.st)
	var refused *api.Error
	if errors.As(err, &refused) && refused.Code == "unavailable" {
		return token, code{}, err
	}
	if err != nil || token.Peer != key.Peer || token.Issued <= kicked {
		return token, codeToken, nil
	}
	return token, code{}, nil
}

// voided is the code for a login whose token or signature does not let it in.
func voided(q *request) code {
	if q.st != "" {
		return codeToken
	}
	return codeSignature
}

func (w *wire) opened(s *gateway.Socket, q *request, ss *gateway.Session, app *api.App, platform string, now presence.Millis) {
	if w.first == "" {
		w.first = ss.Peer()
	}
	st, ttl := w.srv.newToken(app, tokenOf(ss, platform), now)
	w.send(s, &answer{
		cmd: cmdSession, op: opOpened, peerID: q.peerID, i: q.i, service: serviceIM, serverTs: int64(now),
		session: &sessionAnswer{st: st, stTTL: ttl},
	})
	ss.Answered()
}

// tokenOf returns what the token of ss says.
func tokenOf(ss *gateway.Session, platform string) token {
	return token{peer: ss.Peer(), session: ss.ID(), platform: platform, proven: ss.Proven(), bound: ss.Until()}
}

func (w *wire) denied(s *gateway.Socket, q *request, c code, detail string) {
	w.srv.Gateway.Refuse(gateway.RefusedLogin)
	w.fail(s, q, q.peerID, c, detail)
}

func anonymous() presence.PeerID {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return presence.PeerID("anon-" + hex.EncodeToString(b[:]))
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// platform keeps what is worth showing of a user agent.
func platform(ua string) string {
	const most = 40
	if len(ua) > most {
		ua = ua[:most]
		for !utf8.ValidString(ua) {
			ua = ua[:len(ua)-1]
		}
	}
	return strings.Clone(ua)
}
