package api

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // LeanCloud's login signature is HMAC-SHA1
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"rollcall/presence"
)

// A LoginSignature lets one peer be present: LeanCloud's, as a server of the app makes it with the
// master key.
type LoginSignature struct {
	Time  int64 // Unix milliseconds or seconds, as it was signed
	Nonce string
	Sign  string // hexadecimal
}

// SignLogin returns the signature of peer that a server of app makes: HMAC-SHA1 by the master key.
// The time is written as it is sent, in milliseconds or seconds.
func SignLogin(masterKey string, app presence.AppID, peer presence.PeerID, at int64, nonce string) string {
	mac := hmac.New(sha1.New, []byte(masterKey))
	// Two colons: between them other actions name members.
	mac.Write([]byte(string(app) + ":" + string(peer) + "::" + strconv.FormatInt(at, 10) + ":" + nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

// seconds is the size below which a time counts seconds.
const seconds = 100_000_000_000

// Made returns when s says that it was made, in Unix milliseconds.
func (s *LoginSignature) Made() int64 {
	if s.Time < seconds {
		return s.Time * 1000
	}
	return s.Time
}

// Right reports whether s is a's for peer, whatever its time. Without a master key none is.
//
// A nonce with two colons is refused, or one that follows a colon with another: the signature of a
// peer called "tom::TIME:x" is also that of tom at TIME, with such a nonce, and anybody may be able
// to choose a name.
func (s *LoginSignature) Right(a *App, peer presence.PeerID) bool {
	if strings.Contains(":"+s.Nonce, "::") || s.Sign == "" {
		return false
	}
	by := func(key string) bool {
		return key != "" && hmac.Equal([]byte(SignLogin(key, a.ID, peer, s.Time, s.Nonce)), []byte(strings.ToLower(s.Sign)))
	}
	if by(a.MasterKey) {
		return true
	}
	if !by(a.Old.MasterKey) {
		return false
	}
	a.UsedOld(OldMasterKey)
	return true
}

// Fresh reports whether s was made less than life before or after now, in Unix milliseconds.
func (s *LoginSignature) Fresh(life time.Duration, now int64) bool {
	made := s.Made()
	return made > now-life.Milliseconds() && made < now+life.Milliseconds()
}
