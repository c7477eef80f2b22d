package rtm

import (
	"rollcall/internal/api"
	"rollcall/presence"
)

// signature returns the signature of q.
func (q *request) signature() api.LoginSignature {
	return api.LoginSignature{Time: q.t, Nonce: q.n, Sign: q.s}
}

// signed reports whether q carries a good signature for its peer that is not too old at now.
func (s *Server) signed(q *request, app *api.App, now presence.Millis) bool {
	sig := q.signature()
	return sig.Right(app, q.peerID) && sig.Fresh(s.cfg.SignatureLife, int64(now))
}
