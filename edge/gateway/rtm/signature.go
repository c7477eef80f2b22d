package rtm

import (
	"rollcall/internal/api"
	"rollcall/presence"
)

// Sign returns the login signature that LeanCloud's servers and signing functions make, see
// [api.SignLogin].
func Sign(masterKey, app, peer string, timestamp int64, nonce string) string {
	return api.SignLogin(masterKey, app, peer, timestamp, nonce)
}

// signature returns the signature of q.
func (q *request) signature() api.LoginSignature {
	return api.LoginSignature{Time: q.t, Nonce: q.n, Sign: q.s}
}

// signed reports whether q carries a good signature for its peer that is not too old at now.
func (s *Server) signed(q *request, app *api.App, now presence.Millis) bool {
	sig := q.signature()
	return sig.Right(app, q.peerID) && sig.Fresh(s.cfg.SignatureLife, int64(now))
}
