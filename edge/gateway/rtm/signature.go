package rtm

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // LeanCloud's login signature is HMAC-SHA1
	"encoding/hex"
	"strconv"
	"strings"

	"rollcall/presence"
)

// Sign returns the login signature that LeanCloud's servers and signing functions make: HMAC-SHA1 by the master key. The
// timestamp is written as it is sent, in milliseconds or seconds.
func Sign(masterKey, app, peer string, timestamp int64, nonce string) string {
	mac := hmac.New(sha1.New, []byte(masterKey))
	// Two colons: between them other actions name members.
	mac.Write([]byte(app + ":" + peer + "::" + strconv.FormatInt(timestamp, 10) + ":" + nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

// seconds is the size below which a timestamp counts seconds.
const seconds = 100_000_000_000

// signedAt returns when a signature was made.
func signedAt(timestamp int64) presence.Millis {
	if timestamp < seconds {
		return presence.Millis(timestamp * 1000)
	}
	return presence.Millis(timestamp)
}

// signed reports whether q carries a good signature for peer that is not too old at now.
func (s *Server) signed(q *request, masterKey string, now presence.Millis) bool {
	if masterKey == "" || q.s == "" {
		return false
	}
	want := Sign(masterKey, q.appID, q.peerID, q.t, q.n)
	if !hmac.Equal([]byte(want), []byte(strings.ToLower(q.s))) {
		return false
	}
	at := signedAt(q.t)
	return at > now.Add(-s.cfg.SignatureLife) && at < now.Add(s.cfg.SignatureLife)
}
